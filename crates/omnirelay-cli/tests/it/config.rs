//! `serve`, `config` and `mesh config`, which the node does.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::command::{Run, finish};
use crate::node::Failure;

type Outcome = Result<(), Failure>;

/// Makes a copy of `program` that can be executed. Another process writes it: what this one has open for writing is open as well in each
/// process that another test is just starting, and nobody can execute it meanwhile.
fn copy_program(program: &Path, to: &Path) -> Outcome {
    let installed = std::process::Command::new("install").args(["-m", "755"]).arg(program).arg(to).status()?;
    if installed.success() { Ok(()) } else { Err(format!("install ended with {installed}").into()) }
}

/// Copies the command into `dir`, where nothing is beside it but what the test puts there.
fn install(dir: &Path) -> Result<Command, Failure> {
    let installed = dir.join("omnirelay");
    copy_program(Path::new(env!("CARGO_BIN_EXE_omnirelay")), &installed)?;
    let mut command = Command::new(installed);
    command.env("PATH", dir.join("nothing")).kill_on_drop(true);
    Ok(command)
}

/// Puts a node into `dir` that says how it was called, and ends with 1.
fn install_node(dir: &Path) -> Outcome {
    let script = dir.join("script");
    fs::write(&script, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 1\n")?;
    copy_program(&script, &dir.join("omnirelay-node"))
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
