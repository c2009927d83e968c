//! A clock that tests turn, and names to use.

use std::error::Error;
use std::time::{Duration, SystemTime};

use mesh_types::NodeId;
use peer_health::{Lease, LeaseId, Moment, Options, Tick, Tracker, WallTime};

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

/// Returns a lease on the work `sequence_id`, given out for the `attempt`th time.
pub(crate) fn lease(sequence_id: u64, attempt: u32) -> Lease {
    Lease { sequence_id, attempt, lease_id: LeaseId::from_u128(u128::from(sequence_id) << 32 | u128::from(attempt)) }
}
