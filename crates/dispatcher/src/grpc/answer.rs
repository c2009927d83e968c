//! Answers over gRPC.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tonic::Code;
use tonic::body::Body;

use crate::call::Reply;
use crate::encoding::Encoding;
use crate::grpc::compression::Algorithm;
use crate::grpc::frame::{Frame, frame};
use crate::header as ours;
use crate::messages::Messages;
use crate::status::Status;

/// How a caller is answered, by what its head says.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// That of the request.
    pub(crate) content_type: HeaderValue,
    /// How large messages are compressed.
    pub(crate) algorithm: Algorithm,
}

impl Manner {
    /// Returns the answer to a call.
    pub(crate) fn answer(self, reply: Result<Reply, Status>) -> Response<Body> {
        let Reply { meta, messages } = match reply {
            Ok(reply) => reply,
            Err(status) => return super::failure(&status),
        };
        let encoding = meta.encoding.clone();
        let framed = Framed { messages, algorithm: self.algorithm, trailers: Some(trailers(encoding.as_ref())) };
        let mut response = Response::new(Body::new(framed));
        let headers = response.headers_mut();
        meta.write(headers);
        headers.insert(header::CONTENT_TYPE, self.content_type);
        self.algorithm.write(headers);
        response
    }
}

/// What is told at the end of every answer, beside its status.
fn trailers(encoding: Option<&Encoding>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(6);
    trailers.insert(ours::GRPC_TRANSPORT, HeaderValue::from_static("grpc"));
    if let Some(word) = encoding.and_then(|encoding| HeaderValue::from_str(encoding.as_str()).ok()) {
        trailers.insert(ours::GRPC_ENCODING, word);
    }
    trailers
}

/// Messages in frames, with trailers at their end.
#[derive(Debug)]
pub(crate) struct Framed {
    messages: Messages,
    algorithm: Algorithm,
    /// None once they are sent, and for a request, which has none.
    trailers: Option<HeaderMap>,
}

impl Framed {
    /// Makes the body of a request.
    pub(crate) const fn request(messages: Messages) -> Self {
        Self { messages, algorithm: Algorithm::Identity, trailers: None }
    }

    fn frame(&self, payload: Bytes) -> Result<Bytes, Status> {
        let compressed = self.algorithm.compress(&payload);
        let is_compressed = compressed.is_some();
        let framed = frame(&Frame { is_compressed, payload: compressed.unwrap_or(payload) });
        framed.ok_or_else(|| {
            Status::new(Code::ResourceExhausted, "message is larger than 4 GiB, the most that a frame holds")
        })
    }

    /// Ends the body: an answer with trailers, a request that has failed by breaking off.
    fn end(&mut self, status: Option<Status>) -> Option<Result<http_body::Frame<Bytes>, tonic::Status>> {
        let Some(mut trailers) = self.trailers.take() else { return status.map(|status| Err(status.into())) };
        match status {
            Some(status) => status.write_trailers(&mut trailers),
            None => write_ok(&mut trailers),
        }
        Some(Ok(http_body::Frame::trailers(trailers)))
    }
}

fn write_ok(trailers: &mut HeaderMap) {
    const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers.insert(ours::GRPC_STATUS_WORD, HeaderValue::from_static("ok"));
}

impl http_body::Body for Framed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, tonic::Status>>> {
        let message = ready!(self.messages.poll_next_unpin(cx));
        let framed = message.map(|message| message.and_then(|payload| self.frame(payload)));
        Poll::Ready(match framed {
            Some(Ok(framed)) => Some(Ok(http_body::Frame::data(framed))),
            Some(Err(status)) => {
                self.messages = Messages::empty();
                self.end(Some(status))
            }
            None => self.end(None),
        })
    }
}
