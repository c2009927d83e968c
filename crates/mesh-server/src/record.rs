//! One call, from its beginning to whatever ends it, as metrics and spans see it.

use std::sync::Arc;

use http::{HeaderMap, Response, Uri, header};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Span;

use crate::meter::{Ended, Meter};
use crate::peer::{PeerIdentity, Protocol};
use crate::span;
use crate::timing::Timing;

/// One call. What is known of its end when it is dropped is what is counted.
#[derive(Debug)]
pub(crate) struct Record {
    meter: Arc<Meter>,
    protocol: Protocol,
    uri: Uri,
    is_grpc: bool,
    span: Span,
    began: Instant,
    timing: Arc<Timing>,
    ended: Option<Ended>,
}

impl Record {
    pub(crate) fn begin(
        meter: &Arc<Meter>,
        peer: &PeerIdentity,
        request: &http::request::Parts,
        timing: &Arc<Timing>,
    ) -> Self {
        let (protocol, is_grpc) = (peer.protocol(), is_grpc(&request.headers));
        meter.of(protocol).inflight.increment(1);
        Self {
            meter: Arc::clone(meter),
            protocol,
            uri: request.uri.clone(),
            is_grpc,
            span: span::begin(request, peer, is_grpc),
            began: Instant::now(),
            timing: Arc::clone(timing),
            ended: None,
        }
    }

    pub(crate) const fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Returns the span that whatever is done for the call belongs to.
    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// Takes note of an answer's head: of plain HTTP, and of gRPC without a body, it says how the call ended.
    pub(crate) fn see_head<B>(&mut self, response: &Response<B>) {
        if !self.is_grpc {
            self.ended = Some(Ended::Http(response.status()));
        } else if response.headers().contains_key(Status::GRPC_STATUS) {
            self.see_trailers(response.headers());
        }
    }

    pub(crate) fn see_trailers(&mut self, trailers: &HeaderMap) {
        if self.is_grpc {
            let code =
                trailers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
            self.ended = Some(Ended::Grpc(code));
        }
    }

    /// Takes note of the end of a body that had no trailers.
    pub(crate) fn see_end(&mut self) {
        self.ended.get_or_insert(Ended::Grpc(Code::Unknown));
    }

    pub(crate) fn fails(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { meter, protocol, uri, is_grpc, span, began, timing, ended } = self;
        let meter = meter.of(*protocol);
        meter.inflight.decrement(1);
        let unfinished = if timing.is_cut_off() { Ended::DeadlineExceeded } else { Ended::Cancelled };
        let ended = ended.unwrap_or(unfinished);
        span::end(span, ended);
        meter.ended(is_grpc.then(|| uri.path()), ended, began.elapsed());
    }
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
