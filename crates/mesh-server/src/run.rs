//! A server while it runs.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use h3::error::Code;
use identity::Presented;
use lanes::{Lanes, Seat};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::audit::Applicant;
use crate::follow::follow;
use crate::handle::DrainReport;
use crate::serve::Serve;
use crate::server::{Ended, Server, Shared};
use crate::{quic, tcp};

/// Pause after a failed accept: the usual cause is no free file descriptor, and that needs time to cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much longer than their calls connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl Server {
    /// Serves `service` until `shutdown`, then finishes the calls under way for at most
    /// [`Options::drain_timeout`](crate::Options::drain_timeout) and tells clients to send others elsewhere. No task is
    /// left when it returns.
    ///
    /// # Cancel safety
    /// Dropping the future closes the port and cuts all connections off.
    pub async fn run<S: Serve>(self, service: S, shutdown: CancellationToken) -> DrainReport {
        let alt_svc = self.alt_svc();
        let Self { sockets, quic, options, source, meter, registry } = self;
        let shared = Arc::new(Shared { service, options, source, meter, registry, alt_svc, quic, shutdown });
        let mut follower = JoinSet::new();
        follower.spawn(follow(Arc::clone(&shared.source), shared.registry.clone()));
        let mut running = Running::new(shared, sockets.quic);
        running.accept(&sockets.tcp).await;
        drop(sockets.tcp);
        let report = running.drain().await;
        follower.shutdown().await;
        report
    }
}

/// The connections of a server that runs.
struct Running<S> {
    shared: Arc<Shared<S>>,
    endpoint: Option<Endpoint>,
    connections: JoinSet<Ended>,
    rooms: Arc<Semaphore>,
    tcp_handshakes: Arc<Semaphore>,
    quic_handshakes: Arc<Semaphore>,
}

impl<S: Serve> Running<S> {
    fn new(shared: Arc<Shared<S>>, endpoint: Option<Endpoint>) -> Self {
        let limits = &shared.options.limits;
        let slots = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let rooms = slots(limits.max_connections);
        let (tcp_handshakes, quic_handshakes) = (slots(limits.max_handshakes), slots(limits.max_handshakes));
        Self { shared, endpoint, connections: JoinSet::new(), rooms, tcp_handshakes, quic_handshakes }
    }

    /// Takes connections in until the server is to stop.
    async fn accept(&mut self, listener: &TcpListener) {
        let endpoint = self.endpoint.clone();
        loop {
            tokio::select! {
                () = self.shared.shutdown.cancelled() => return,
                Some(ended) = self.connections.join_next() => drop(unless_panicked(ended)),
                (slot, accepted) = accept_tcp(listener, &self.tcp_handshakes) => match accepted {
                    Ok((tcp, address)) => self.begin_tcp(slot, tcp, address),
                    Err(error) => pause_after(&error).await,
                },
                incoming = accept_quic(endpoint.as_ref()) => self.begin_quic(incoming),
            }
        }
    }

    fn begin_tcp(&mut self, handshake: OwnedSemaphorePermit, tcp: TcpStream, address: SocketAddr) {
        match Arc::clone(&self.rooms).try_acquire_owned() {
            Ok(room) => {
                self.begin(room, tcp::serve(Arc::clone(&self.shared), tcp, address, handshake));
            }
            Err(_full) => applicant(address, "tcp").no_room("too_many_connections"),
        }
    }

    fn begin_quic(&mut self, incoming: Incoming) {
        let Some(config) = self.shared.quic.clone() else { return };
        let limits = &self.shared.options.limits;
        let handshakes = limits.max_handshakes.saturating_sub(self.quic_handshakes.available_permits());
        if handshakes >= limits.retry_above && incoming.may_retry() {
            self.shared.meter.address_checks.increment(1);
            if let Err(error) = incoming.retry() {
                tracing::debug!(%error, "an address is proven already");
            }
            return;
        }
        let room = Arc::clone(&self.rooms).try_acquire_owned();
        let handshake = Arc::clone(&self.quic_handshakes).try_acquire_owned();
        match (room, handshake) {
            (Ok(room), Ok(handshake)) => {
                self.begin(room, quic::serve(Arc::clone(&self.shared), config, incoming, handshake));
            }
            (room, _) => {
                let applicant = applicant(incoming.remote_address(), "quic");
                applicant.no_room(if room.is_err() { "too_many_connections" } else { "too_many_handshakes" });
                incoming.refuse();
            }
        }
    }

    /// Serves a connection where it is to be served.
    fn begin(&mut self, room: OwnedSemaphorePermit, served: impl Future<Output = Ended> + Send + 'static) {
        let seat = self.shared.options.lanes.as_ref().map(Lanes::deal);
        let runtime = seat.as_ref().map_or_else(Handle::current, |seat| seat.runtime().clone());
        self.connections.spawn_on(within((room, seat), served), &runtime);
    }

    /// Waits for the connections to end by themselves, which know that the server stops; then ends them.
    async fn drain(mut self) -> DrainReport {
        let began = Instant::now();
        let connections = self.shared.registry.len();
        if let Some(endpoint) = &self.endpoint {
            // Who comes now is refused, and goes elsewhere.
            endpoint.set_server_config(None);
        }
        let mut cut_off = 0;
        let all_ended = async {
            while let Some(ended) = self.connections.join_next().await {
                cut_off += usize::from(unless_panicked(ended) == Some(Ended::CutOff));
            }
        };
        if timeout(self.shared.options.drain_timeout.saturating_add(CLOSE_TIMEOUT), all_ended).await.is_err() {
            cut_off += self.connections.len();
            self.connections.shutdown().await;
        }
        if let Some(endpoint) = &self.endpoint {
            endpoint.close(VarInt::from_u64(Code::H3_NO_ERROR.value()).unwrap_or_default(), b"");
            if timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await.is_err() {
                tracing::debug!("some clients have not heard that the server has stopped");
            }
        }
        let took = began.elapsed();
        self.shared.meter.drain_seconds.record(took.as_secs_f64());
        if cut_off > 0 {
            tracing::warn!(connections, cut_off, ?took, "connections cut off: their calls did not end in time");
        }
        DrainReport { connections, cut_off, took }
    }
}

/// Holds the place of a connection for as long as that lasts.
async fn within(place: (OwnedSemaphorePermit, Option<Seat>), served: impl Future<Output = Ended> + Send) -> Ended {
    let ended = served.await;
    drop(place);
    ended
}

/// Waits for room for a handshake first: meanwhile clients wait in the system's queue.
async fn accept_tcp(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>) {
    let slot = Arc::clone(handshakes).acquire_owned().await.expect("it is never closed");
    let accepted = listener.accept().await;
    // Whichever runtime serves it takes it in.
    (slot, accepted.and_then(|(tcp, address)| Ok((tcp.into_std()?, address))))
}

async fn accept_quic(endpoint: Option<&Endpoint>) -> Incoming {
    match endpoint {
        Some(endpoint) => match endpoint.accept().await {
            Some(incoming) => incoming,
            // It is closed: its socket is gone.
            None => pending().await,
        },
        None => pending().await,
    }
}

async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

fn applicant(address: SocketAddr, transport: &'static str) -> Applicant {
    Applicant { address, transport, presented: Presented::default() }
}

fn unless_panicked(ended: Result<Ended, JoinError>) -> Option<Ended> {
    match ended {
        Ok(ended) => Some(ended),
        Err(error) => {
            tracing::error!(%error, "the task of a connection failed");
            None
        }
    }
}
