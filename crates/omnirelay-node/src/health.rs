//! Keeps the health of peers up to date with membership, and with what calls to them show.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::NodeId;
use peer_health::{BreakerProvider, Freshness, HealthBoard, Moment, Options, Timeline, Tracker, TransportFeed};
use peers_core::{Fleet, MembershipView, Outcome, OutcomeObserver};
use tokio::time::{MissedTickBehavior, interval};

/// Longest time between two looks at membership: what nobody confirms goes stale.
const PERIOD_MAX: Duration = Duration::from_secs(1);

/// Shortest time between two looks: a mesh that comes together changes many times a second.
const PAUSE: Duration = Duration::from_millis(50);

/// What the node holds of its peers' health.
#[derive(Debug, Clone)]
pub(crate) struct PeerHealth {
    tracker: Arc<Tracker>,
    pub(crate) board: Arc<HealthBoard>,
    /// Whom all calls to peers are made through, on whichever plane.
    pub(crate) fleet: Fleet,
    period: Duration,
}

/// Tells the tracker how calls end, by its own clock: those who make them have another.
struct CallFeed {
    feed: TransportFeed,
    timeline: Timeline,
}

impl OutcomeObserver for CallFeed {
    fn observe(&self, peer: &NodeId, _at: peers_core::Tick, took: Duration, outcome: Outcome) {
        self.feed.observe(peer, self.timeline.call_tick(clocks().0), took, outcome);
    }
}

impl PeerHealth {
    /// Makes a tracker for a mesh that judges silence within `suspicion_interval`, and the board that shows it.
    pub(crate) fn new(suspicion_interval: Duration) -> Self {
        let gossip = suspicion_interval.saturating_mul(2);
        let options = Options { freshness: Freshness { gossip, ..Freshness::default() }, ..Options::default() };
        let breaker = options.freshness.breaker;
        let (tracker, timeline) = (Arc::new(Tracker::new(options)), Timeline::starting(clocks().0));
        let feed = TransportFeed::new(Arc::clone(&tracker));
        let fleet = Fleet::watched(Arc::new(CallFeed { feed, timeline }));
        let breakers = Arc::new(BreakerProvider::new(fleet.clone(), breaker));
        let board = Arc::new(HealthBoard::new(timeline, vec![Arc::clone(&tracker) as _, breakers]));
        Self { tracker, board, fleet, period: PERIOD_MAX.min(suspicion_interval) }
    }

    /// Applies every change of `members` for ever, and forgets who is gone.
    pub(crate) async fn follow(self, members: Arc<dyn MembershipView>) -> Infallible {
        let mut due = interval(self.period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = interval(PAUSE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            pace.tick().await;
            tokio::select! {
                _ = due.tick() => {}
                _ = members.changed(seen.unwrap_or_default()), if seen.is_some() => {}
            }
            let membership = members.current();
            seen = Some(membership.version);
            let now = self.now();
            let applied = self.tracker.apply_membership(&membership, now);
            if let Some(refusal) = applied.first_refusal {
                tracing::warn!(error = %refusal, refused = applied.refused, "members without a record of their health");
            }
            self.tracker.collect(now);
            self.board.refresh(now);
            // A change was a look, too: at rest, where gossip changes once a second, one look a second is enough.
            due.reset();
        }
    }

    fn now(&self) -> Moment {
        let (monotonic, wall) = clocks();
        self.board.moment(monotonic, wall)
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge, where the clocks come in")]
fn clocks() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::error::Error;

    use mesh_types::NodeMetadata;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::standalone::Standalone;

    #[tokio::test]
    async fn members_are_on_the_board_with_what_they_say_of_themselves() -> Result<(), Box<dyn Error>> {
        let metadata = NodeMetadata {
            role: "worker".parse()?,
            cluster: "alpha".parse()?,
            region: "eu-1".parse()?,
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: "127.0.0.1:17421".parse()?,
            labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
            features: mesh_types::Features::default(),
            lifecycle: mesh_types::NodeLifecycle::default(),
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        };
        let members = Arc::new(Standalone::new("node-a".parse()?, metadata, clocks().0));
        let health = PeerHealth::new(Duration::from_secs(5));
        let board = Arc::clone(&health.board);
        let mut tasks = JoinSet::new();
        tasks.spawn(health.clone().follow(members));
        let mut look = interval(Duration::from_millis(5));
        let shown = async {
            while board.snapshot(health.now()).peers().is_empty() {
                look.tick().await;
            }
            let snapshot = board.snapshot(health.now());
            snapshot.get("node-a").map(|peer| (peer.state, peer.facts.metadata.get("LABEL.rack").map(str::to_owned)))
        };
        let expected = Some((peer_health::HealthState::Healthy, Some("r1".to_owned())));
        assert_eq!(timeout(Duration::from_secs(10), shown).await?, expected);
        Ok(())
    }
}
