//! What a handler sends back.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use crate::body::BodyError;
use crate::meter::Ended;
use crate::record::Record;

/// The body of an answer: that of the handler, counted, and with its panics held back.
pub struct Answer<B> {
    /// None once it is over, or if there was none.
    body: Option<B>,
    record: Record,
}

impl<B> Answer<B> {
    pub(crate) fn of(response: Response<B>, mut record: Record) -> Response<Self> {
        record.see_head(&response);
        response.map(|body| Self { body: Some(body), record })
    }

    /// Makes an answer that is a failure and nothing else: a status of gRPC to who speaks it, else one of HTTP.
    pub(crate) fn failure(status: &Status, ended: Ended, mut record: Record) -> Response<Self> {
        let mut response = if record.is_grpc() { status.clone().into_http::<()>().map(drop) } else { plain(status) };
        response.extensions_mut().clear();
        record.see_head(&response);
        record.fails(if record.is_grpc() { ended } else { Ended::Http(response.status()) });
        response.map(|()| Self { body: None, record })
    }
}

fn plain(status: &Status) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = match status.code() {
        Code::DeadlineExceeded => http::StatusCode::GATEWAY_TIMEOUT,
        Code::InvalidArgument => http::StatusCode::BAD_REQUEST,
        _ => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    response
}

/// Returns the status of a call whose handler has panicked. What the panic says stays in the log: it is not for callers.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Status {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no text"), "a handler has panicked; its call fails");
    Status::internal("the handler has panicked")
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body: slot, record } = &mut *self;
        let Some(body) = slot else { return Poll::Ready(None) };
        let polled = record.span().in_scope(|| catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))));
        let frame = match polled {
            Ok(frame) => ready!(frame),
            Err(panic) => {
                *slot = None;
                return Poll::Ready(Some(after(panicked(&*panic), record)));
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    record.see_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                record.fails(Ended::Grpc(Code::Internal));
                *slot = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                record.see_end();
                *slot = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Returns what comes after a panic: a status for who speaks gRPC, else a broken stream.
fn after(status: Status, record: &mut Record) -> Result<Frame<Bytes>, BodyError> {
    if !record.is_grpc() {
        record.fails(Ended::Http(http::StatusCode::INTERNAL_SERVER_ERROR));
        return Err(status.into());
    }
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    record.see_trailers(&trailers);
    Ok(Frame::trailers(trailers))
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("record", &self.record).finish_non_exhaustive()
    }
}
