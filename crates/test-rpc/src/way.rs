//! A way to a server that can be blocked.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A port of its own that leads to a server over TCP. While it is blocked, connections are cut and whoever connects is turned away, though
/// the server itself is well. Dropped, it is closed.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
    _passing: JoinSet<()>,
}

impl Way {
    /// Opens a blocked one on loopback.
    ///
    /// # Errors
    /// There is no port left.
    pub async fn blocked() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, to) = (listener.local_addr()?, watch::Sender::new(None));
        let mut passing = JoinSet::new();
        passing.spawn(pass(listener, to.subscribe()));
        Ok(Self { address, to, _passing: passing })
    }

    /// Returns where it begins.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets it lead to `server`.
    pub fn lead_to(&self, server: SocketAddr) {
        self.to.send_replace(Some(server));
    }

    /// Blocks it.
    pub fn block(&self) {
        self.to.send_replace(None);
    }
}

async fn pass(listener: TcpListener, to: watch::Receiver<Option<SocketAddr>>) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _from)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let mut to = to.clone();
        let Some(server) = *to.borrow_and_update() else { continue };
        connections.spawn(async move {
            tokio::select! {
                _changed = to.changed() => {}
                _ended = join(caller, server) => {}
            }
        });
    }
}

async fn join(mut caller: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut caller, &mut server).await?;
    Ok(())
}
