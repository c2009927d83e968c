//! A server before it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use identity::{CredentialSource, Credentials, PeerRefused};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::bind::{BindError, Sockets};
use crate::call::Calls;
use crate::handle::Handle;
use crate::meter::Meter;
use crate::options::Options;
use crate::peer::{PeerIdentity, Protocol};
use crate::quic;
use crate::registry::{Registered, Registry, wall_clock};

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    pub(crate) sockets: Sockets,
    pub(crate) quic: Option<quinn::ServerConfig>,
    pub(crate) options: Options,
    pub(crate) source: Arc<dyn CredentialSource>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) registry: Registry,
}

impl Server {
    /// Takes [`Options::address`] on TCP, and the port that it got on UDP. Each handshake uses the credentials that
    /// `source` has then.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub fn bind(options: Options, source: Arc<dyn CredentialSource>) -> Result<Self, BindError> {
        let quic = quic::server_config(&options, &source.current())?;
        let sockets = Sockets::bind(&options, quic.as_ref())?;
        let meter = Arc::new(Meter::new());
        let registry = Registry::new(&meter);
        Ok(Self { sockets, quic, options, source, meter, registry })
    }

    /// Returns the address it listens on, on TCP and on UDP.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.sockets.local_addr
    }

    /// Returns what others may ask of it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { local_addr: self.local_addr(), registry: self.registry.clone(), source: Arc::clone(&self.source) }
    }

    /// Returns what answers over TCP say of HTTP/3.
    pub(crate) fn alt_svc(&self) -> Option<HeaderValue> {
        let age = self.options.advertise_http3.filter(|_| self.quic.is_some())?;
        let text = format!("h3=\":{}\"; ma={}", self.local_addr().port(), age.as_secs());
        Some(HeaderValue::try_from(text).expect("digits and punctuation"))
    }
}

/// What all connections of a running server share.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) service: S,
    pub(crate) options: Options,
    pub(crate) source: Arc<dyn CredentialSource>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) registry: Registry,
    pub(crate) alt_svc: Option<HeaderValue>,
    pub(crate) quic: Option<quinn::ServerConfig>,
    pub(crate) shutdown: CancellationToken,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, or with all its calls finished.
    Finished,
    /// With calls under way.
    CutOff,
}

impl<S> Shared<S> {
    /// Enters a connection whose handshake was made with `credentials`, if its peer may come in.
    pub(crate) fn admit(
        &self,
        credentials: &Arc<Credentials>,
        revocations: u64,
        chain: Vec<CertificateDer<'static>>,
        (address, protocol): (SocketAddr, Protocol),
    ) -> Result<Registered, PeerRefused> {
        let id = credentials.verify_peer(&chain)?;
        let not_after = credentials.peer_not_after(&chain);
        let registered = self.registry.enter(PeerIdentity::new(id, chain, address, protocol), not_after);
        // A sweep in the middle of the handshake has not seen this one.
        let current = self.source.current();
        if !Arc::ptr_eq(&current, credentials) || current.revocations().version() != revocations {
            current.recheck(identity::Side::Client, registered.peer().chain(), wall_clock())?;
        }
        Ok(registered)
    }

    /// Resolves when a connection that begins now is to end: with the server, or when it is too old.
    pub(crate) async fn is_to_leave(&self, peer: &PeerIdentity) {
        let age = self.options.max_connection_age.map(|age| spread(age, peer.address()));
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = sleep_or_not(age) => {}
        }
    }
}

impl<S: Clone> Shared<S> {
    pub(crate) fn calls(&self, peer: &PeerIdentity) -> Calls<S> {
        let alt_svc = self.alt_svc.clone().filter(|_| peer.protocol() != Protocol::Http3);
        Calls { service: self.service.clone(), peer: peer.clone(), meter: Arc::clone(&self.meter), alt_svc }
    }
}

async fn sleep_or_not(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Older than any connection: a hundred years.
const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Returns `age`, a tenth more or less, so that clients that came together do not leave together.
fn spread(age: Duration, address: SocketAddr) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    // Chance spreads load here; it protects nothing.
    let chance = RandomState::new().hash_one(address) >> 32;
    let share = f64::from(u32::try_from(chance).unwrap_or_default()) / f64::from(u32::MAX);
    age.min(AGE_MAX).mul_f64(0.2f64.mul_add(share, 0.9))
}
