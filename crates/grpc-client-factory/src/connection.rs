//! One connection, whatever it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use http::{Request, Response};
use identity::{Credentials, PeerRefused};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::FactoryError;
use crate::http2::{Http2, Unanswered};
use crate::request_body::{Fault, RequestBody};
use crate::response_body::Source;
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
    is_retired: AtomicBool,
    is_proven: AtomicBool,
    /// What the server has shown.
    chain: Vec<CertificateDer<'static>>,
    /// What we showed, and judged the server by.
    credentials: Arc<Credentials>,
}

#[derive(Debug)]
pub(crate) enum Wire {
    Http2(Http2),
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
    pub(crate) fn explain(&self, error: hyper::Error) -> Arc<FactoryError> {
        let fault = self.fault.as_ref().and_then(Fault::read);
        fault.unwrap_or_else(|| Arc::new(self.connection.explain(error)))
    }
}

impl Connection {
    pub(crate) fn new(
        target: Target,
        wire: Wire,
        slots_max: u32,
        chain: Vec<CertificateDer<'static>>,
        credentials: Arc<Credentials>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(usize::try_from(slots_max).unwrap_or(Semaphore::MAX_PERMITS)));
        let (is_retired, is_proven) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { target, wire, slots, slots_max, begun: AtomicU64::new(0), is_retired, is_proven, chain, credentials }
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
        }
        false
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        match self.wire {
            Wire::Http2(_) => Protocol::Http2,
        }
    }

    /// Returns whether new calls may be made on it.
    pub(crate) fn is_usable(&self) -> bool {
        let is_closed = match &self.wire {
            Wire::Http2(http2) => http2.is_closed(),
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
        self.begun.load(Ordering::Relaxed)
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
        self.begun.fetch_add(1, Ordering::Relaxed);
        Some(Slot { connection: Arc::clone(self), fault, _permit: permit })
    }

    /// Makes a call.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Source>, Unanswered> {
        let answer = match &self.wire {
            Wire::Http2(http2) => http2.send(&self.target, request).await?.map(Source::Http2),
        };
        Ok(answer)
    }

    /// Says what an error means that ended an answer.
    pub(crate) fn explain(&self, error: hyper::Error) -> FactoryError {
        match &self.wire {
            Wire::Http2(http2) => http2.explain(&self.target, error),
        }
    }
}
