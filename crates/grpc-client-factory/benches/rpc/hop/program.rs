//! A program between client and server.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::BoxError;

/// A running program. Dropped, it is told to end, and waited for.
#[derive(Debug)]
pub(crate) struct Program(Child);

impl Program {
    /// Starts `command` in `folder`, with its output thrown away unless something else was set.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Result<Self, BoxError> {
        let name = command.get_program().to_owned();
        let started = command.current_dir(folder).stdin(Stdio::null()).spawn();
        started.map(Self).map_err(|error| format!("cannot start {}: {error}", name.display()).into())
    }

    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.stdout.take()
    }

    /// Returns its process, and all those that it has started.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn processes(&self) -> io::Result<Vec<u32>> {
        let mut all = vec![self.0.id()];
        let mut looked_at = 0;
        while let Some(process) = all.get(looked_at) {
            let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            looked_at += 1;
        }
        Ok(all)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM, and not SIGKILL: what it has started ends with it.
        let process = i32::try_from(self.0.id()).map(Pid::from_raw).expect("numbers of processes are small");
        if let Err(error) = kill(process, Signal::SIGTERM) {
            eprintln!("cannot end process {process}: {error}");
        }
        self.0.wait().expect("a process of ours that nobody else waits for");
    }
}
