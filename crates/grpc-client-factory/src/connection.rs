//! One connection, whatever it speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use identity::{Credentials, PeerRefused};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::alarm::Alarm;
use crate::error::{Cause, FactoryError};
use crate::http2::{Http2, Unanswered};
use crate::http3::Http3;
use crate::request_body::{Fault, RequestBody};
use crate::response_body::{Broken, Source};
use crate::target::{Protocol, Target};

/// One connection to a target. Calls under way hold it; it closes when nobody does.
#[derive(Debug)]
pub(crate) struct Connection {
    target: Target,
    wire: Wire,
    /// One permit for each call that may be under way.
    slots: Arc<Semaphore>,
    slots_max: u32,
    /// Calls begun, for who looks whether the connection is used.
    begun: AtomicU64,
    /// Rung by each call that begins.
    alarm: Arc<Alarm>,
    is_retired: AtomicBool,
    is_proven: AtomicBool,
    /// What the server has shown.
    chain: Vec<CertificateDer<'static>>,
    /// What we showed, and judged the server by.
    credentials: Arc<Credentials>,
    /// How long it took to connect.
    pub(crate) took: Duration,
}

/// What a connection is made of.
pub(crate) struct Made {
    pub(crate) wire: Wire,
    /// Most calls at a time.
    pub(crate) slots_max: u32,
    /// The certificates that the server has shown.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) credentials: Arc<Credentials>,
    /// How long it took to connect.
    pub(crate) took: Duration,
    pub(crate) alarm: Arc<Alarm>,
}

#[derive(Debug)]
pub(crate) enum Wire {
    Http2(Http2),
    Http3(Http3),
}

/// A call's place on a connection: while it lives, so does the connection.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) connection: Arc<Connection>,
    /// What was wrong with the caller's own stream, if that ended the call.
    pub(crate) fault: Option<Fault>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Says what an error means that ended an answer.
    pub(crate) fn explain(&self, error: Broken) -> Arc<FactoryError> {
        if let Some(fault) = self.fault.as_ref().and_then(Fault::read) {
            return fault;
        }
        let Connection { target, wire, .. } = &*self.connection;
        Arc::new(match (wire, error) {
            (Wire::Http2(http2), Broken::Http2(error)) => http2.explain(target, error),
            (Wire::Http3(http3), Broken::Http3(error)) => http3.explain(target, error),
            (_, Broken::Http2(error)) => self.connection.explain_end(Arc::new(error)),
            (_, Broken::Http3(error)) => self.connection.explain_end(Arc::new(error)),
        })
    }
}

impl Connection {
    pub(crate) fn new(target: Target, made: Made) -> Self {
        let Made { wire, slots_max, chain, credentials, took, alarm } = made;
        let slots = Arc::new(Semaphore::new(usize::try_from(slots_max).unwrap_or(Semaphore::MAX_PERMITS)));
        let (is_retired, is_proven, begun) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        Self { target, wire, slots, slots_max, begun, alarm, is_retired, is_proven, chain, credentials, took }
    }

    /// Returns whether it was made with the certificate that `credentials` show.
    pub(crate) fn shows(&self, credentials: &Credentials) -> bool {
        self.credentials.shows_same_certificate(credentials)
    }

    /// Judges the server anew; if it is not trusted any more, ends the connection and all calls on it. Returns whether it goes on.
    pub(crate) fn recheck(&self, credentials: &Credentials, now: SystemTime) -> bool {
        let Err(refusal) = credentials.recheck_expected(&self.target.peer, &self.chain, now) else { return true };
        tracing::warn!(target = %self.target, error = &refusal as &dyn std::error::Error, "server is not trusted any more");
        self.retire();
        let error = match refusal {
            PeerRefused::Certificate { source } => source,
            _ => rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure),
        };
        match &self.wire {
            Wire::Http2(http2) => http2.condemn(error),
            Wire::Http3(http3) => http3.condemn(error),
        }
        false
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        match self.wire {
            Wire::Http2(_) => Protocol::Http2,
            Wire::Http3(_) => Protocol::Http3,
        }
    }

    /// Returns whether new calls may be made on it.
    pub(crate) fn is_usable(&self) -> bool {
        let is_closed = match &self.wire {
            Wire::Http2(http2) => http2.is_closed(),
            Wire::Http3(http3) => http3.is_closed(),
        };
        !is_closed && !self.is_retired.load(Ordering::Acquire)
    }

    /// Lets no new calls begin; those under way go on.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// Notes that the server has answered on it. Returns whether that is news.
    pub(crate) fn prove(&self) -> bool {
        !self.is_proven.load(Ordering::Relaxed) && !self.is_proven.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// Returns how many calls are under way.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.slots_max).unwrap_or(usize::MAX).saturating_sub(self.slots.available_permits())
    }

    /// Returns how many calls have begun, under way or over.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until no call is under way. Call it once the connection is retired.
    pub(crate) async fn finished(&self) {
        drop(self.slots.acquire_many(self.slots_max).await);
    }

    /// Waits for a slot; `None` if the connection is retired meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue, and nothing else.
    pub(crate) async fn slot(self: &Arc<Self>, fault: Option<Fault>) -> Option<Slot> {
        let permit = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return None,
            Err(TryAcquireError::NoPermits) => {
                let Ok(permit) = Arc::clone(&self.slots).acquire_owned().await else { return None };
                permit
            }
        };
        if self.is_retired.load(Ordering::Acquire) {
            return None;
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.alarm.ring();
        Some(Slot { connection: Arc::clone(self), fault, _permit: permit })
    }

    /// Makes a call.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Source>, Unanswered> {
        let answer = match &self.wire {
            Wire::Http2(http2) => http2.send(&self.target, request).await?.map(Source::Http2),
            Wire::Http3(http3) => http3.send(&self.target, request).await?.map(Source::Http3),
        };
        Ok(answer)
    }

    /// Says what the end of the connection means.
    pub(crate) fn explain_end(&self, cause: Cause) -> FactoryError {
        match &self.wire {
            Wire::Http2(http2) => http2.explain_end(&self.target, cause),
            Wire::Http3(http3) => http3.explain_end(&self.target, cause),
        }
    }

    /// Returns where the server is, over HTTP/3.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        match &self.wire {
            Wire::Http2(_) => None,
            Wire::Http3(http3) => Some(http3.remote()),
        }
    }

    /// Returns the round-trip time and how many packets were sent, over HTTP/3.
    pub(crate) fn progress(&self) -> Option<(Duration, u64)> {
        match &self.wire {
            Wire::Http2(_) => None,
            Wire::Http3(http3) => Some(http3.progress()),
        }
    }

    /// Ends it, and the calls on it with an error.
    pub(crate) fn cut(&self) {
        match &self.wire {
            Wire::Http2(http2) => http2.cut(),
            Wire::Http3(http3) => http3.cut(),
        }
    }
}
