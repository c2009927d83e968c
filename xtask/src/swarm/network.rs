//! Where the agents talk: a network namespace with nothing but loopback, or the machine's own loopback.

use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::doctor;
use crate::process::succeeds;

/// Group of the processes of the first half, of the range that systems leave alone; the second half's is the next.
const FIRST_GROUP: u32 = 64_001;

/// Which network the agents share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// A namespace of their own: nobody else's bytes are in it, and packets can be dropped.
    Own,
    /// The loopback of this machine: other programs' bytes are counted with theirs.
    Shared,
}

/// One half of a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    /// Returns the third byte of the addresses of this half.
    pub(crate) const fn octet(self) -> u8 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// Returns the group of the processes of this half.
    pub(crate) const fn group(self) -> u32 {
        match self {
            Self::A => FIRST_GROUP,
            Self::B => FIRST_GROUP + 1,
        }
    }
}

impl Network {
    /// Moves this process, and with it all that it starts, into a namespace of its own if it may. Call it before there is
    /// a second thread.
    ///
    /// # Errors
    /// The namespace cannot be made ready.
    pub(crate) fn enter() -> anyhow::Result<Self> {
        if !geteuid().is_root() || doctor::find("ip").is_none() {
            println!("network: shared loopback; as root, and with `ip`, a namespace of its own");
            return Ok(Self::Shared);
        }
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let up = succeeds(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        ensure!(up, "loopback of the namespace does not come up");
        Ok(Self::Own)
    }

    /// Has the loopback of the namespace carry packets of at most `bytes`, as wires do: in its own of 64 KiB, TCP has fewer to lose.
    ///
    /// # Errors
    /// The network is not a namespace of its own, or cannot be changed.
    pub(crate) fn limit_packets(self, bytes: u16) -> anyhow::Result<()> {
        ensure!(self == Self::Own, "the loopback of this machine is left as it is");
        let limited = succeeds(Command::new("ip").args(["link", "set", "lo", "mtu", &bytes.to_string()]))?;
        ensure!(limited, "loopback of the namespace does not take smaller packets");
        Ok(())
    }
}
