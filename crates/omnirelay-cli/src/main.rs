//! The `omnirelay` command: speaks only the control API.
//!
//! Standard output is data, standard error is for people. Exit codes: 0 done, 1 it failed, 2 it was called
//! wrongly.

mod args;
mod benchmark;
mod by_node;
mod client;
mod credentials;
mod duration;
mod endpoint;
mod error;
mod introspect;
mod labels;
mod lifecycle;
mod output;
mod peers;
mod request;
mod rpc;
mod table;
mod upgrade;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command, MeshCommand, PeersCommand, UpgradeCommand};
use crate::client::Client;
use crate::error::CliError;
use crate::labels::LabelChanges;
use crate::output::Output;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(&cli).map_or_else(|error| error.report(), |()| ExitCode::SUCCESS),
        Err(error) => show_usage(&error),
    }
}

/// Shows help, the version, or what is wrong with the command line.
fn show_usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    match (error.exit_code(), shown) {
        (0, Ok(())) => ExitCode::SUCCESS,
        (0, Err(error)) => CliError::from(error).report(),
        // Nobody can be told that telling failed.
        (_, Ok(()) | Err(_)) => ExitCode::from(error::USAGE),
    }
}

fn run(cli: &Cli) -> Result<(), CliError> {
    let mut output = Output::stdout(cli.global.color);
    match &cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "omnirelay", &mut script);
            output.write(&script)?;
            Ok(())
        }
        Command::Introspect(args) => block_on(introspect::introspect(&cli.global, &args.via, &mut output)),
        Command::Request(args) => block_on(request::request(&cli.global, args, &mut output)),
        Command::Benchmark(args) => block_on(benchmark::benchmark(&cli.global, args, &mut output)),
        Command::Serve { arguments } => by_node::serve(arguments),
        Command::Config(command) | Command::Mesh(MeshCommand::Config(command)) => by_node::ask(command),
        Command::Mesh(command) => {
            // What is wrong with the call is told before a certificate is looked for.
            let changes = match command {
                MeshCommand::Peers(PeersCommand::Label(label)) => labels::changes(&label.changes)?,
                _ => LabelChanges::new(),
            };
            let client = Client::new(&cli.global)?;
            block_on(mesh(&client, command, changes, &mut output))
        }
    }
}

async fn mesh(
    client: &Client,
    command: &MeshCommand,
    changes: LabelChanges,
    output: &mut Output,
) -> Result<(), CliError> {
    match command {
        MeshCommand::Peers(PeersCommand::List(list)) => peers::list(client, list, output).await,
        MeshCommand::Peers(PeersCommand::Label(label)) => labels::label(client, label, changes, output).await,
        MeshCommand::Peers(PeersCommand::Drain(args)) => lifecycle::drain(client, args, output).await,
        MeshCommand::Peers(PeersCommand::Cordon(args)) => lifecycle::cordon(client, args, output).await,
        MeshCommand::Peers(PeersCommand::Uncordon(args)) => lifecycle::uncordon(client, args, output).await,
        MeshCommand::Upgrade(UpgradeCommand::Status { output: format }) => {
            upgrade::status(client, *format, output).await
        }
        MeshCommand::Upgrade(UpgradeCommand::Drain(args)) => upgrade::drain(client, args, output).await,
        MeshCommand::Upgrade(UpgradeCommand::Resume(target)) => upgrade::resume(client, target, output).await,
        MeshCommand::Config(command) => by_node::ask(command),
    }
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = started.map_err(|source: io::Error| CliError::Runtime { source })?;
    runtime.block_on(work)
}
