//! `serve`, `config` and `mesh config`, which the node does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::command::{Run, finish};
use crate::node::Failure;

type Outcome = Result<(), Failure>;

/// Copies the command into `dir`, where nothing is beside it but what the test puts there.
fn install(dir: &Path) -> Result<Command, Failure> {
    let installed = dir.join("omnirelay");
    fs::copy(env!("CARGO_BIN_EXE_omnirelay"), &installed)?;
    let mut command = Command::new(installed);
    command.env("PATH", dir.join("nothing")).kill_on_drop(true);
    Ok(command)
}

/// Puts a node into `dir` that says how it was called, and ends with 1.
fn install_node(dir: &Path) -> Outcome {
    let node = dir.join("omnirelay-node");
    fs::write(&node, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 1\n")?;
    Ok(fs::set_permissions(&node, fs::Permissions::from_mode(0o755))?)
}

#[tokio::test]
async fn the_node_that_is_beside_the_command_or_on_the_path_answers() -> Outcome {
    let (dir, elsewhere) = (TempDir::new()?, TempDir::new()?);
    install_node(dir.path())?;
    install_node(elsewhere.path())?;
    for (args, called) in [
        (&["config", "validate", "a.toml", "b.toml"][..], "<check-config><--config><a.toml><--config><b.toml>"),
        (&["mesh", "config", "validate", "a.toml", "--set", "k=v"], "<check-config><--config><a.toml><--set><k=v>"),
        (&["config", "scaffold"], "<print-config><--output><toml>"),
        (&["serve", "--config", "a.toml", "--port", "7"], "<run><--config><a.toml><--port><7>"),
    ] {
        let expected = Run { code: Some(1), stdout: called.to_owned(), stderr: String::new() };
        let mut beside = install(dir.path())?;
        beside.args(args);
        assert_eq!(finish(beside).await?, expected);
        let alone = TempDir::new()?;
        let mut on_path = install(alone.path())?;
        on_path.args(args).env("PATH", elsewhere.path());
        assert_eq!(finish(on_path).await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_node_it_is_said_what_is_missing() -> Outcome {
    let dir = TempDir::new()?;
    let mut alone = install(dir.path())?;
    alone.args(["config", "validate", "a.toml"]);
    let told = "error: `omnirelay-node`, which reads configurations, is neither beside this program nor on PATH\n";
    assert_eq!(finish(alone).await?, Run { code: Some(1), stdout: String::new(), stderr: told.to_owned() });
    Ok(())
}
