//! What asks the process to stop.

use std::io;
use std::os::fd::AsFd as _;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGTERM and SIGINT from the moment it is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals from the system, which would end the process. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them and returns its name.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The pipe from the process that started this one, as its standard input.
#[derive(Debug)]
pub(crate) struct Parent {
    pipe: pipe::Receiver,
}

impl Parent {
    /// Takes standard input. Needs a tokio runtime.
    ///
    /// # Errors
    /// Standard input is not a pipe.
    pub(crate) fn watch() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(stdin)? })
    }

    /// Waits until the parent is gone, however it went: the system closes its end of the pipe.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn gone(&mut self) {
        let mut bytes = [0; 64];
        // Nothing is ever sent; an error says as much as the end does.
        while matches!(self.pipe.read(&mut bytes).await, Ok(read) if read > 0) {}
    }
}
