//! A clock that tests turn, and names to use.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mesh_types::NodeId;
use peer_health::{
    HealthBoard, HealthProvider, HealthRecord, Lease, LeaseId, Moment, Options, PeerFacts, Tick, Timeline, Tracker,
    Verdicts, WallTime,
};

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// 2025-11-19T15:23:04Z, when tests begin.
const START_SECS: u64 = 1_763_565_784;

/// Returns the moment `millis` after tests begin.
pub(crate) fn at(millis: u64) -> Moment {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(START_SECS) + Duration::from_millis(millis);
    // Ticks do not begin at 0: a host tracks peers long after it has started.
    Moment { tick: Tick::from_millis(1_000_000 + millis), wall: WallTime::from(wall) }
}

pub(crate) fn id(name: &str) -> Result<NodeId, Box<dyn Error>> {
    Ok(name.parse()?)
}

pub(crate) fn tracker() -> Tracker {
    Tracker::new(Options::default())
}

#[expect(clippy::disallowed_methods, reason = "a board wants a line, though tests make moments themselves")]
pub(crate) fn board(providers: Vec<Arc<dyn HealthProvider>>) -> HealthBoard {
    HealthBoard::new(Timeline::starting(Instant::now()), providers)
}

/// Returns a lease on the work `sequence_id`, given out for the `attempt`th time.
pub(crate) fn lease(sequence_id: u64, attempt: u32) -> Lease {
    Lease { sequence_id, attempt, lease_id: LeaseId::from_u128(u128::from(sequence_id) << 32 | u128::from(attempt)) }
}

/// A peer, what is said of it, and when it was last heard of.
pub(crate) type Record = (Arc<PeerFacts>, Verdicts, Option<WallTime>);

/// Knows what it was told last.
#[derive(Default)]
pub(crate) struct Fixed(Mutex<Vec<Record>>);

impl Fixed {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self(Mutex::new(records))
    }

    pub(crate) fn say(&self, records: Vec<Record>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = records;
    }
}

impl HealthProvider for Fixed {
    fn id(&self) -> &str {
        "fixed"
    }

    fn visit(&self, _now: Moment, visit: &mut dyn FnMut(HealthRecord<'_>)) {
        for (facts, verdicts, last_heartbeat) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let (verdicts, last_heartbeat) = (*verdicts, *last_heartbeat);
            visit(HealthRecord { facts, verdicts, last_heartbeat, last_disconnect: None });
        }
    }
}

/// Returns a tracker, and a board that shows it.
pub(crate) fn tracked() -> (Arc<Tracker>, HealthBoard) {
    let tracker = Arc::new(tracker());
    (Arc::clone(&tracker), board(vec![tracker]))
}

/// Returns facts of a peer that holds, and has lost, the work of these `sequences`.
pub(crate) fn facts(
    name: &str,
    sequences: &[u64],
    metadata: &[(&str, &str)],
) -> Result<Arc<PeerFacts>, Box<dyn Error>> {
    let leases = sequences.iter().map(|sequence| lease(*sequence, 1)).collect();
    let metadata = Arc::new(metadata.iter().copied().collect());
    Ok(Arc::new(PeerFacts { leases, metadata, pending: sequences.to_vec(), ..PeerFacts::new(id(name)?) }))
}
