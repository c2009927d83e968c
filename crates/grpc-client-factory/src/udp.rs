//! The UDP sockets of a factory.

mod refusals;

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use h3_transport::{GatheredTimers, bind_udp};
use lanes::PerLane;
use quinn::{Endpoint, EndpointConfig, VarInt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::tasks::Tasks;
use refusals::Refusals;

/// Refusals that wait to be heard; of more, the oldest are not.
const REFUSALS: usize = 64;

/// The UDP sockets of a factory: one for each family of addresses and each lane, bound when it is first needed.
#[derive(Debug)]
pub(crate) struct Udp {
    buffer_bytes: usize,
    sockets: PerLane<Mutex<Sockets>>,
    refused: broadcast::Sender<SocketAddr>,
}

#[derive(Debug, Default)]
struct Sockets {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

impl Udp {
    pub(crate) fn new(buffer_bytes: usize) -> Self {
        Self { buffer_bytes, sockets: PerLane::new(), refused: broadcast::Sender::new(REFUSALS) }
    }

    /// Returns a view of the addresses at which nobody listens, as their hosts say from now on.
    pub(crate) fn refusals(&self) -> broadcast::Receiver<SocketAddr> {
        self.refused.subscribe()
    }

    /// Waits until the host of `address` says that nobody listens there; what it has said before this was called does not count.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) fn refused(&self, address: SocketAddr) -> impl Future<Output = ()> + use<> {
        let mut refusals = self.refusals();
        async move {
            loop {
                match refusals.recv().await {
                    Ok(refused) if is_same(refused, address) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => pending().await,
                }
            }
        }
    }

    /// Returns what connections to `address` are made from. Call it on the lane that they are for.
    pub(crate) fn endpoint(&self, address: SocketAddr, tasks: &Weak<Tasks>) -> io::Result<Endpoint> {
        let sockets = self.sockets.get_or_make(Mutex::default);
        let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, unspecified) = match address {
            SocketAddr::V4(_) => (&mut sockets.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&mut sockets.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        if let Some(endpoint) = place {
            return Ok(endpoint.clone());
        }
        let socket = bind_udp(unspecified, self.buffer_bytes)?;
        let refusals = Refusals::of(&socket)?;
        if let Some(tasks) = tasks.upgrade() {
            tasks.spawn(refusals.tell(self.refused.clone()));
        }
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(GatheredTimers::new()))?;
        Ok(place.insert(endpoint).clone())
    }

    /// Closes all connections, tells their servers, and gives the sockets back.
    pub(crate) async fn close(&self) {
        let take =
            |sockets: &Mutex<Sockets>| std::mem::take(&mut *sockets.lock().unwrap_or_else(PoisonError::into_inner));
        for Sockets { v4, v6 } in self.sockets.all().map(take) {
            for endpoint in [v4, v6].into_iter().flatten() {
                endpoint.close(VarInt::from_u32(NO_ERROR), b"closed");
                endpoint.wait_idle().await;
            }
        }
    }
}

/// Returns whether both mean one port of one host: the system tells more of an address of IPv6 than we need to know.
pub(crate) fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// `H3_NO_ERROR` (RFC 9114 §8.1).
pub(crate) const NO_ERROR: u32 = 0x100;
