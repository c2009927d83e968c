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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesh_types::{
        BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle, NodeMetadata,
    };
    use peers_core::{Filters, Peer, PeerTable, PeerUpdate, PickCx, RoundRobin, TableOptions};
    use tokio::time::{Instant, advance};

    use super::*;

    fn peer() -> Peer {
        let metadata = NodeMetadata {
            role: "worker".parse().expect("valid"),
            cluster: "alpha".parse().expect("valid"),
            region: "eu-1".parse().expect("valid"),
            mesh_version: "1".into(),
            http3_support: false,
            endpoint: "127.0.0.1:1".parse().expect("valid"),
            labels: std::collections::BTreeMap::new(),
            features: Features::default(),
            lifecycle: NodeLifecycle::default(),
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        };
        let member = Member {
            id: "node-a".parse().expect("valid"),
            boot_epoch: BootEpoch(1),
            incarnation: Incarnation(0),
            state: MemberState::Alive,
            metadata_version: MetadataVersion(1),
            metadata: Arc::new(metadata),
            last_seen: Instant::now().into_std(),
            rtt: None,
        };
        Peer::from_member(&member).expect("alive")
    }

    #[tokio::test(start_paused = true)]
    async fn the_latency_of_a_stream_is_that_of_its_head_however_long_it_lasts() {
        let clock = Clock::start();
        let table = PeerTable::new(TableOptions::default());
        table.apply(clock.now(), PeerUpdate::Reset(vec![peer()]));
        let balancer = table.balancer(Filters::none(), RoundRobin::default());
        let lease = balancer.acquire(&PickCx::at(clock.now())).expect("a peer");
        let mut leased = Leased { lease, clock, latency: None };
        advance(Duration::from_millis(10)).await;
        leased.head_came();
        advance(Duration::from_secs(60)).await;
        leased.report(Outcome::Success);
        let latency = table.handle(&peer().id).expect("a peer").latency(clock.now());
        assert_eq!((latency.as_secs_f64() * 1e3).round(), 10.0);
    }
}
