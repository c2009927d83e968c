//! `omnirelay serve`, `config` and `mesh config`: what the node does itself.
//!
//! It is the one program that reads configurations, so that no two have an opinion of them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::args::ConfigCommand;
use crate::error::CliError;

/// Name of the program that reads configurations.
const NODE: &str = "omnirelay-node";

/// Becomes a node that runs.
pub(crate) fn serve(arguments: &[OsString]) -> Result<(), CliError> {
    Err(become_node(&[&[OsString::from("run")], arguments].concat()))
}

/// Becomes the node, which answers in our place; its exit code is ours.
pub(crate) fn ask(command: &ConfigCommand) -> Result<(), CliError> {
    let arguments = match command {
        ConfigCommand::Validate { files, settings } => {
            let files = files.iter().flat_map(|file| [OsString::from("--config"), file.into()]);
            let settings = settings.iter().flat_map(|setting| [OsString::from("--set"), setting.into()]);
            [OsString::from("check-config")].into_iter().chain(files).chain(settings).collect()
        }
        ConfigCommand::Scaffold => ["print-config", "--output", "toml"].map(OsString::from).to_vec(),
    };
    Err(become_node(&arguments))
}

/// Returns only if it fails.
fn become_node(arguments: &[OsString]) -> CliError {
    let program = beside_us().unwrap_or_else(|| NODE.into());
    let source = Command::new(&program).args(arguments).exec();
    match source.kind() {
        io::ErrorKind::NotFound => CliError::NoNode,
        _ => CliError::Node { program, source },
    }
}

/// Returns the node that was installed with us, if there is one; else it is looked for as any other command.
fn beside_us() -> Option<PathBuf> {
    // Where we are is not known everywhere, and then it is no help.
    let own = env::current_exe().ok()?;
    let node = own.with_file_name(OsStr::new(NODE));
    node.is_file().then_some(node)
}
