//! The UDP sockets of a factory.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use h3_transport::bind_udp;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};

/// The UDP sockets of a factory: one for each family of addresses, bound when it is first needed.
#[derive(Debug)]
pub(crate) struct Udp {
    buffer_bytes: usize,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

impl Udp {
    pub(crate) fn new(buffer_bytes: usize) -> Self {
        Self { buffer_bytes, sockets: Mutex::default() }
    }

    /// Returns what connections to `address` are made from. Call it within the runtime.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, unspecified) = match address {
            SocketAddr::V4(_) => (&mut sockets.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&mut sockets.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        if let Some(endpoint) = place {
            return Ok(endpoint.clone());
        }
        let socket = bind_udp(unspecified, self.buffer_bytes)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        Ok(place.insert(endpoint).clone())
    }

    /// Closes all connections, tells their servers, and gives the sockets back.
    pub(crate) async fn close(&self) {
        let Sockets { v4, v6 } = std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        for endpoint in [v4, v6].into_iter().flatten() {
            endpoint.close(VarInt::from_u32(NO_ERROR), b"closed");
            endpoint.wait_idle().await;
        }
    }
}

/// `H3_NO_ERROR` (RFC 9114 §8.1).
pub(crate) const NO_ERROR: u32 = 0x100;
