//! What a request brings along.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tonic::{Code, Status};

use crate::http3::body::RequestBody;

/// The body of a request, whichever protocol it comes by.
///
/// Dropping it tells the client that the rest is not wanted.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(Incoming),
    Http3(Box<RequestBody>),
}

/// Why a body broke off. tonic's `Status` is what its handlers make of it.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl Body {
    pub(crate) const fn tcp(incoming: Incoming) -> Self {
        Self(Kind::Tcp(incoming))
    }

    pub(crate) fn http3(body: RequestBody) -> Self {
        Self(Kind::Http3(Box::new(body)))
    }
}

/// Returns what a handler is told of a body that broke off.
///
/// tonic takes `CANCELLED` here for the end of the requests: its handler would take the part that came for the whole, and
/// act on it.
fn broken_off(error: BodyError) -> BodyError {
    match Status::try_from_error(error) {
        Ok(status) if status.code() == Code::Cancelled => {
            let mut told = Status::aborted("the client has cancelled the call");
            told.set_source(Arc::new(status));
            told.into()
        }
        Ok(status) => status.into(),
        Err(error) => error,
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Tcp(incoming) => Pin::new(incoming).poll_frame(cx).map_err(|error| broken_off(error.into())),
            Kind::Http3(body) => body.poll_frame(cx).map_err(|error| broken_off(error.into())),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Tcp(incoming) => incoming.is_end_stream(),
            Kind::Http3(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Tcp(incoming) => incoming.size_hint(),
            Kind::Http3(_) => SizeHint::default(),
        }
    }
}
