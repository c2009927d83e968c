//! The process of the servers, seen from the client.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use identity::ExpectedPeer;
use test_authority::{Authority, Holder};

use crate::observe::Observed;
use crate::{BoxError, serve};

/// A running process of servers. It ends when this is dropped, or this process is gone.
#[derive(Debug)]
pub(crate) struct Servers {
    process: Child,
    /// Where tonic's own server listens.
    pub(crate) tonic: SocketAddr,
    /// Where the same does without TLS.
    pub(crate) plain: SocketAddr,
    /// Where mesh-server does, on TCP and UDP.
    pub(crate) mesh: SocketAddr,
    /// The port at which mesh-server listens on all addresses of this machine.
    pub(crate) anywhere: u16,
}

impl Servers {
    /// Starts this program once more, and waits until it serves.
    pub(crate) fn start(authority: &Authority, observed: Observed) -> Result<Self, BoxError> {
        let issued = authority.issue(&Holder::new(serve::NODE))?;
        let mut command = Command::new(std::env::current_exe()?);
        if observed == Observed::Yes {
            command.env(serve::OBSERVED, "1");
        }
        let mut process = command
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
        let [tonic, plain, mesh, anywhere] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("the servers have not started".into());
        };
        let (tonic, plain, mesh) = (tonic.parse()?, plain.parse()?, mesh.parse()?);
        Ok(Self { tonic, plain, mesh, anywhere: anywhere.parse()?, process })
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
