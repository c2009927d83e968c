//! The process of the servers, seen from the client.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use identity::ExpectedPeer;
use test_authority::{Authority, Holder};

use crate::{BoxError, serve};

/// A running process of servers. It ends when this is dropped, or this process is gone.
#[derive(Debug)]
pub(crate) struct Servers {
    process: Child,
    /// Where tonic's own server listens.
    pub(crate) tonic: SocketAddr,
    /// Where mesh-server does, on TCP and UDP.
    pub(crate) mesh: SocketAddr,
}

impl Servers {
    /// Starts this program once more, and waits until it serves.
    pub(crate) fn start(authority: &Authority) -> Result<Self, BoxError> {
        let issued = authority.issue(&Holder::new(serve::NODE))?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg(serve::FLAG)
            .env(serve::CERTIFICATE, issued.certificate_pem())
            .env(serve::KEY, issued.key_pem())
            .env(serve::TRUST_BUNDLE, authority.trust_bundle_pem())
            // It serves until this end is closed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the servers have no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let (tonic, mesh) = line.trim().split_once(' ').ok_or("the servers have not started")?;
        Ok(Self { tonic: tonic.parse()?, mesh: mesh.parse()?, process })
    }

    /// Returns the process's number.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("a process of ours that nobody else waits for");
    }
}

/// Returns who has to answer.
pub(crate) fn expected() -> Result<ExpectedPeer, BoxError> {
    Ok(ExpectedPeer::Node(serve::NODE.parse()?))
}
