//! Answers that count as active until they are over.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use peer_health::ActiveRequest;
use tonic::body::Body;

/// Returns the response, which counts as active until its body is dropped.
pub(crate) fn counted(response: Response<Body>, active: ActiveRequest) -> Response<Body> {
    response.map(|body| Body::new(Counted { body, _active: active }))
}

struct Counted {
    body: Body,
    _active: ActiveRequest,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
