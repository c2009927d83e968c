//! One call, the same for all protocols: who calls, until when, and what becomes of it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, header, request};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tracing::Instrument as _;

use crate::answer::{Answer, panicked};
use crate::body::Body;
use crate::grpc_timeout::{MalformedTimeout, grpc_timeout};
use crate::meter::{Ended, Meter};
use crate::peer::PeerIdentity;
use crate::record::Record;
use crate::serve::Serve;
use crate::timing::Timing;

/// What the calls of one connection share.
#[derive(Debug)]
pub(crate) struct Calls<S> {
    pub(crate) service: S,
    pub(crate) peer: PeerIdentity,
    pub(crate) meter: Arc<Meter>,
    /// What answers say of HTTP/3.
    pub(crate) alt_svc: Option<HeaderValue>,
}

/// A call that has begun: its head is known.
#[derive(Debug)]
pub(crate) struct Begun {
    head: request::Parts,
    timing: Arc<Timing>,
    timeout: Result<(), MalformedTimeout>,
}

impl Begun {
    pub(crate) fn with(head: request::Parts) -> Self {
        let (deadline, timeout) = match grpc_timeout(&head.headers) {
            Ok(timeout) => (timeout.and_then(|timeout| Instant::now().checked_add(timeout)), Ok(())),
            Err(malformed) => (None, Err(malformed)),
        };
        Self { head, timing: Arc::new(Timing::until(deadline)), timeout }
    }

    pub(crate) const fn timing(&self) -> &Arc<Timing> {
        &self.timing
    }
}

impl<S: Serve> Calls<S> {
    /// Lets the service answer, within the deadline. Whatever it does, there is an answer.
    pub(crate) fn answer(
        &self,
        begun: Begun,
        body: Body,
    ) -> impl Future<Output = Response<Answer<S::Answer>>> + use<S> {
        let Self { service, peer, meter, alt_svc } = self;
        let Begun { mut head, timing, timeout } = begun;
        let record = Record::begin(meter, peer, &head, &timing);
        head.extensions.insert(peer.clone());
        let handler = service.clone().answer(Request::from_parts(head, body)).instrument(record.span().clone());
        let alt_svc = alt_svc.clone();
        async move {
            let mut response = match timeout {
                Ok(()) => finish(within(&timing, handler).await, record),
                Err(malformed) => {
                    let status = Status::internal(malformed.to_string());
                    Answer::failure(&status, Ended::Grpc(status.code()), record)
                }
            };
            if let Some(alt_svc) = alt_svc {
                response.headers_mut().insert(header::ALT_SVC, alt_svc);
            }
            response
        }
    }
}

/// How a handler ended.
enum Handled<B> {
    Answered(Response<B>),
    TooLate,
    Panicked(Box<dyn Any + Send>),
}

async fn within<B>(timing: &Timing, handler: impl Future<Output = Response<B>> + Send) -> Handled<B> {
    let handler = AssertUnwindSafe(handler).catch_unwind();
    let handled = match timing.deadline() {
        None => Ok(handler.await),
        Some(deadline) => timeout_at(deadline, handler).await,
    };
    match handled {
        Ok(Ok(response)) if timing.answer() => Handled::Answered(response),
        Ok(Ok(_)) | Err(_) => Handled::TooLate,
        Ok(Err(panic)) => Handled::Panicked(panic),
    }
}

fn finish<B>(handled: Handled<B>, record: Record) -> Response<Answer<B>> {
    match handled {
        Handled::Answered(response) => Answer::of(response, record),
        Handled::TooLate => {
            Answer::failure(&Status::deadline_exceeded("the deadline has passed"), Ended::DeadlineExceeded, record)
        }
        Handled::Panicked(panic) => {
            let status = panicked(&*panic);
            Answer::failure(&status, Ended::Grpc(status.code()), record)
        }
    }
}
