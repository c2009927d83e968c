//! The answers of a service whose calls are counted.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use crate::body::BodyError;
use crate::inflight::UnderWay;

/// What callers are told whose calls are cut off.
const CUT: &str = "the node is drained, and the call took too long";

/// The same over plain HTTP.
const CUT_JSON: &str = r#"{"message":"the node is drained, and the call took too long","status":"UNAVAILABLE","code":"draining","metadata":{}}"#;

/// When they may come back, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// The body of an answer of a [`Guarded`](crate::Guarded) service: that of the service, until it is cut off.
pub struct GuardedBody<B>(State<B>);

enum State<B> {
    /// The service answers.
    Open(Open<B>),
    /// An answer in one piece, in place of the service's.
    Text(&'static str),
    /// Nothing comes any more.
    Over,
}

struct Open<B> {
    body: B,
    under_way: UnderWay,
    is_grpc: bool,
    /// Asked for once the service keeps its caller waiting.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// A piece of an answer, the end of it, or that it is cut off.
enum Next {
    Frame(Result<Frame<Bytes>, BodyError>),
    End,
    Cut,
}

impl<B> GuardedBody<B> {
    pub(crate) const fn new(body: B, under_way: UnderWay, is_grpc: bool) -> Self {
        Self(State::Open(Open { body, under_way, is_grpc, cut: None }))
    }
}

/// Returns the answer to a call that is cut off before there is one.
pub(crate) fn cut_off<B>(is_grpc: bool) -> Response<GuardedBody<B>> {
    let mut response = if is_grpc {
        let mut response = Status::unavailable(CUT).into_http::<()>().map(|()| GuardedBody(State::Over));
        response.extensions_mut().clear();
        response
    } else {
        let mut response = Response::new(GuardedBody(State::Text(CUT_JSON)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    };
    response.headers_mut().insert(RETRY_AFTER, SOON);
    response
}

/// Returns how an answer ends that has begun and is cut off.
fn broken_off(is_grpc: bool) -> Result<Frame<Bytes>, BodyError> {
    let status = Status::unavailable(CUT);
    if !is_grpc {
        return Err(status.into());
    }
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    trailers.insert(RETRY_AFTER, SOON);
    Ok(Frame::trailers(trailers))
}

impl<B> Open<B>
where
    B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        // Asked each time: a service that always has more never keeps its caller waiting.
        if self.under_way.cut.is_cancelled() {
            return Poll::Ready(Next::Cut);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map_or(Next::End, |frame| Next::Frame(frame.map_err(Into::into))));
        }
        let cut = &self.under_way.cut;
        let waiting = self.cut.get_or_insert_with(|| Box::pin(cut.clone().cancelled_owned()));
        waiting.as_mut().poll(cx).map(|()| Next::Cut)
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let last = match &mut self.0 {
            State::Open(open) => match std::task::ready!(open.poll(cx)) {
                Next::Frame(Ok(frame)) if !frame.is_trailers() => return Poll::Ready(Some(Ok(frame))),
                Next::Frame(last) => Some(last),
                Next::End => None,
                Next::Cut => Some(broken_off(open.is_grpc)),
            },
            State::Text(text) => Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))),
            State::Over => None,
        };
        self.0 = State::Over;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Open(open) => open.body.is_end_stream(),
            State::Text(_) => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Open(open) => open.body.size_hint(),
            State::Text(text) => SizeHint::with_exact(text.len() as u64),
            State::Over => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for GuardedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody").field("is_open", &matches!(self.0, State::Open(_))).finish_non_exhaustive()
    }
}
