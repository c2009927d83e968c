//! The calls that a service has under way: counted, waited for, cut off.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use crate::guarded::{GuardedBody, cut_off};
use crate::record::is_grpc;

/// The calls that services have under way. It counts them, tells when the last one has ended, and cuts them off. Clones share
/// it.
///
/// A call is under way until the connection has taken the last byte of its answer, or its caller gave it up. Whether new ones are taken is for
/// the service to say.
#[derive(Clone, Default)]
pub struct Inflight(Arc<Inner>);

#[derive(Default)]
struct Inner {
    active: AtomicUsize,
    /// Told each time that the last call ends.
    emptied: Notify,
    /// Of the calls that begin now; another one after each cut.
    cut: Mutex<CancellationToken>,
}

/// A call that is under way.
pub(crate) struct UnderWay {
    inflight: Inflight,
    pub(crate) cut: CancellationToken,
}

impl Inflight {
    /// Makes a count of no calls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns `service` with its calls counted here.
    #[must_use]
    pub fn guard<S>(&self, service: S) -> Guarded<S> {
        Guarded { inflight: self.clone(), service }
    }

    /// Returns how many calls are under way.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.active.load(Ordering::SeqCst)
    }

    /// Cuts off the calls under way, and returns how many there were. Their handlers are dropped and their callers told
    /// `UNAVAILABLE`, or 503 if they have no answer yet; over plain HTTP an answer that has begun breaks off. A caller that
    /// reads nothing is told when it does, and counts until then.
    #[must_use]
    pub fn cut_off(&self) -> usize {
        let mut cut = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let active = self.active();
        std::mem::take(&mut *cut).cancel();
        active
    }

    /// Waits until no call is under way. The next may have begun by then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            tokio::pin!(emptied);
            // From here on an end is not missed.
            emptied.as_mut().enable();
            if self.active() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn begin(&self) -> UnderWay {
        self.0.active.fetch_add(1, Ordering::SeqCst);
        let cut = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        UnderWay { inflight: self.clone(), cut }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.inflight.0.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inflight.0.emptied.notify_waiters();
        }
    }
}

impl fmt::Debug for Inflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflight").field("active", &self.active()).finish_non_exhaustive()
    }
}

/// A service whose calls are counted by an [`Inflight`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    inflight: Inflight,
    service: S,
}

impl<S, Q, B> Service<Request<Q>> for Guarded<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    Q: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<GuardedBody<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call makes its own clone of the service ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let is_grpc = is_grpc(request.headers());
        let under_way = self.inflight.begin();
        let service = self.service.clone();
        Box::pin(async move {
            let answered = under_way.cut.run_until_cancelled(service.oneshot(request)).await;
            Ok(match answered {
                Some(Ok(response)) => response.map(|body| GuardedBody::new(body, under_way, is_grpc)),
                None => cut_off(is_grpc),
            })
        })
    }
}
