//! `omnirelay-node dev`: a mesh of real processes on this machine, to look at and to break.

mod api;
mod child;
mod error;
mod follow;
mod load;
mod mesh;
mod rehearsal;
mod screen;
mod show;
mod workspace;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use crate::args::DevArgs;
use crate::signals::Signals;

pub(crate) use error::DevError;
use load::Load;
use mesh::{Discovery, Mesh};
use workspace::{ControlSecurity, RpcUse, Workspace};

/// Longest wait until all nodes see all.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Runs a development mesh until it is to stop, and leaves nothing behind; or only makes the certificates for one.
///
/// # Errors
/// A node did not start, the nodes did not find one another in time, or something could not be removed.
pub(crate) fn dev(args: &DevArgs) -> Result<(), DevError> {
    #[expect(clippy::disallowed_methods, reason = "the edge, where the wall clock comes in")]
    let now = SystemTime::now();
    match &args.prepare {
        Some(folder) => prepare(args, folder, &names(args.nodes), now),
        None => run(args, now),
    }
}

/// Writes certificates and says how to start a node with them.
fn prepare(args: &DevArgs, folder: &Path, names: &[String], now: SystemTime) -> Result<(), DevError> {
    fs::create_dir_all(folder).map_err(DevError::Directory)?;
    match &args.rehearse {
        Some(last) => rehearsal::issue(names, last, folder, now)?,
        None => drop(workspace::issue(names, folder, now)?),
    }
    let of = |name: &str, ending| folder.join(format!("{name}.{ending}"));
    let Some(first) = names.first() else { return Ok(()) };
    say(&format!(
        "certificates of {} nodes and an operator are in {}; start a node with\n  \
         omnirelay-node run --certificate {} --key {} --trust-bundle {}",
        names.len(),
        folder.display(),
        of(first, "pem").display(),
        of(first, "key").display(),
        of("ca", "pem").display(),
    ))
}

fn run(args: &DevArgs, now: SystemTime) -> Result<(), DevError> {
    // One thread: it waits for children and asks them for their members.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DevError::Runtime)?;
    runtime.block_on(async {
        let mut signals = Signals::listen().map_err(DevError::Signals)?;
        let names = names(args.nodes);
        let security = if args.tls_control { ControlSecurity::MutualTls } else { ControlSecurity::Plaintext };
        let rpc = if args.once || args.calls_per_second == 0 { RpcUse::None } else { RpcUse::Demo };
        let workspace = Workspace::create(&names, (security, rpc), now)?;
        let mut mesh = Mesh::new(workspace.credentials(now)?);
        let shown = session(args, &names, &workspace, &mut mesh, &mut signals).await;
        let stopped = mesh.stop().await;
        let removed = workspace.remove();
        shown.and(stopped).and(removed)
    })
}

/// Everything between the making of the directory and its removal.
async fn session(
    args: &DevArgs,
    names: &[String],
    workspace: &Workspace,
    mesh: &mut Mesh,
    signals: &mut Signals,
) -> Result<(), DevError> {
    let started = tokio::select! {
        started = timeout(START_LIMIT, start(names, workspace, mesh)) => started,
        signal = signals.next() => return Err(DevError::Interrupted { signal }),
    };
    let discovery = match started {
        Ok(started) => started?,
        Err(_elapsed) => return Err(mesh.not_discovered(names, START_LIMIT, workspace).await),
    };
    if args.json {
        let line = show::json(&discovery).map_err(|error| DevError::Output(error.into()))?;
        return say(&line);
    }
    say(&show::summary(&discovery, mesh, workspace))?;
    if args.once {
        return Ok(());
    }
    say(&show::hints(mesh, workspace))?;
    watch(args, workspace, mesh, signals).await
}

/// Makes calls, and shows what happens to the nodes and to the calls, until a signal or the end of all nodes.
async fn watch(args: &DevArgs, workspace: &Workspace, mesh: &mut Mesh, signals: &mut Signals) -> Result<(), DevError> {
    #[expect(clippy::disallowed_methods, reason = "the edge, where the wall clock comes in")]
    let now = SystemTime::now();
    let load = match args.calls_per_second {
        0 => None,
        per_second => Some(Load::start(workspace.operator(now)?, per_second)?),
    };
    let mut screen = follow::screen();
    let watched = tokio::select! {
        ended = follow::follow(mesh, load.as_ref(), &mut screen) => ended,
        _ = signals.next() => write(screen.end()).and_then(|()| say("stopping all nodes")),
    };
    if let Some(load) = load {
        // Before the nodes: a call that fails because all is over tells nothing.
        say(&load.stop().await.to_string())?;
    }
    watched
}

async fn start(names: &[String], workspace: &Workspace, mesh: &mut Mesh) -> Result<Discovery, DevError> {
    mesh.start(names, workspace).await?;
    mesh.discover().await
}

/// Names nodes by letters, or by numbers where letters run out.
fn names(count: u8) -> Vec<String> {
    match count {
        0..=26 => ('a'..='z').take(usize::from(count)).map(|letter| format!("node-{letter}")).collect(),
        _ => (1..=count).map(|number| format!("node-{number:03}")).collect(),
    }
}

/// Writes lines to standard output.
fn say(text: &str) -> Result<(), DevError> {
    write(&format!("{text}\n"))
}

/// Writes to standard output as it is.
fn write(text: &str) -> Result<(), DevError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(DevError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_name_of_its_own_up_to_the_highest_number() {
        assert_eq!(names(3), ["node-a", "node-b", "node-c"]);
        assert_eq!(names(26).last().map(String::as_str), Some("node-z"));
        assert_eq!(names(27).last().map(String::as_str), Some("node-027"));
        assert_eq!(names(200).last().map(String::as_str), Some("node-200"));
    }
}
