//! The OmniRelay node.

mod args;
mod chain;
mod config;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, ConfigArgs, PrintConfigArgs};
use chain::Chain;
use config::{Config, Purpose, Settings};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(_args) => Ok(()),
        Command::Dev(_args) => Ok(()),
        Command::PrintConfig(args) => print_config(args),
        Command::CheckConfig(args) => check_config(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a command line program")]
fn report(error: &(dyn std::error::Error + 'static)) {
    eprintln!("error: {}", Chain(error));
}

#[expect(clippy::print_stdout, reason = "what the user asked to see")]
fn print_config(args: PrintConfigArgs) -> anyhow::Result<()> {
    let (settings, problems) = Settings::gather(&args.config.sources(std::env::vars_os()));
    Config::read(&settings, problems, Purpose::Show)?;
    print!("{}", config::print(&settings, args.output));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what the user asked to see")]
fn check_config(args: ConfigArgs) -> anyhow::Result<()> {
    Config::load(&args.sources(std::env::vars_os()), Purpose::Run)?;
    println!("configuration is valid");
    Ok(())
}
