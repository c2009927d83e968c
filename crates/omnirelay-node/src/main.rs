//! The OmniRelay node.

mod args;
mod chain;
mod change;
mod config;
mod demo;
mod dev;
mod dev_child;
mod events;
mod health;
mod node;
mod node_secret;
mod peer_metrics;
mod rpc;
mod run;
mod signals;
mod standalone;
mod traces;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser as _;
use identity::CredentialSource as _;

use args::{Cli, Command, ConfigArgs, PrintConfigArgs, RunArgs};
use chain::Chain;
use config::{Config, Purpose, Settings};
use run::Mode;

fn main() -> ExitCode {
    // Wrong usage ends here with exit code 2; everything that fails later with 1.
    let cli = Cli::parse();
    match execute(cli.command.unwrap_or(Command::Run(cli.run)), std::env::vars_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command, variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run(args, variables),
        Command::Dev(args) => Ok(dev::dev(&args)?),
        Command::PrintConfig(args) => print_config(args, variables),
        Command::ExplainConfig => {
            explain_config();
            Ok(())
        }
        Command::CheckConfig(args) => check_config(args, variables),
    }
}

fn run(args: RunArgs, variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<()> {
    let (purpose, mode) =
        if args.dev_child { (Purpose::RunInDev, Mode::DevChild) } else { (Purpose::Run, Mode::Alone) };
    let config = Config::load(&args.config.sources(variables), purpose)?;
    Ok(run::run(&config, mode, args.events)?)
}

#[expect(clippy::print_stdout, reason = "what the user asked to see")]
fn print_config(args: PrintConfigArgs, variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<()> {
    let (settings, problems) = Settings::gather(&args.config.sources(variables));
    Config::read(&settings, problems, Purpose::Show)?;
    print!("{}", config::print(&settings, args.output));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the user asked to see")]
fn explain_config() {
    print!("{}", config::explain());
}

#[expect(clippy::print_stdout, reason = "what the user asked to see")]
fn check_config(args: ConfigArgs, variables: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<()> {
    let config = Config::load(&args.sources(variables), Purpose::Run)?;
    #[expect(clippy::disallowed_methods, reason = "the edge, where the wall clock comes in")]
    let credentials = node::load_credentials(&config, SystemTime::now())?;
    println!("configuration is valid for {}", credentials.source().current().spiffe_id());
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the last word of a command line program")]
fn report(error: &(dyn Error + 'static)) {
    eprintln!("error: {}", Chain(error));
}
