//! The body of an answer, which keeps its peer leased.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use peers_core::{Outcome, PeerKey, PeerLease};
use tonic::{Code, Status};

use crate::balanced::clock::Clock;
use crate::balanced::outcome;
use crate::call::{pushback_of, status_of};
use crate::error::FactoryError;
use crate::response_body::ResponseBody;

/// A peer during a call. Dropped without a report, it means that the caller went away.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) lease: PeerLease,
    pub(crate) clock: Clock,
    /// How long the head of the answer took, once it is there: streams go on for reasons of their own.
    pub(crate) latency: Option<Duration>,
}

impl Leased {
    pub(crate) fn key(&self) -> PeerKey {
        self.lease.key()
    }

    pub(crate) fn head_came(&mut self) {
        self.latency = Some(self.clock.now().since(self.lease.since()));
    }

    pub(crate) fn report(self, outcome: Outcome) {
        let now = self.clock.now();
        match self.latency {
            Some(latency) => self.lease.report_with_latency(now, latency, outcome),
            None => self.lease.report(now, outcome),
        }
    }
}

/// The body of an answer from one of many peers. Dropped before its end, it takes the call back: the server is told, and nothing is
/// learned about the peer.
pub struct BalancedBody {
    body: ResponseBody,
    /// `None` once the peer's part is known.
    leased: Option<Leased>,
}

impl BalancedBody {
    pub(crate) const fn new(body: ResponseBody, leased: Option<Leased>) -> Self {
        Self { body, leased }
    }

    fn report(&mut self, outcome: Outcome) {
        if let Some(leased) = self.leased.take() {
            leased.report(outcome);
        }
    }
}

impl Body for BalancedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = status_of(trailers).unwrap_or(Code::Unknown);
                    self.report(outcome::of_status(code, pushback_of(trailers)));
                }
            }
            Some(Err(status)) => {
                let shown = FactoryError::of(status).map_or(Outcome::Failure, outcome::of_error);
                self.report(shown);
            }
            // An answer that ends without a status was cut short.
            None => self.report(Outcome::Failure),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl fmt::Debug for BalancedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedBody").field("body", &self.body).field("leased", &self.leased).finish()
    }
}
