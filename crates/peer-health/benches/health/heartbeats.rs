//! What it costs to say something of one peer.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mesh_types::NodeId;
use peer_health::{Moment, Outcome, TransportFeed};
use peers_core::OutcomeObserver as _;

use crate::Failure;
use crate::peers::{Peers, at};
use crate::report::{Bound, Report};
use crate::rounds::{Effort, take_turns, timed};

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<(), Failure> {
    let peers = Peers::new(1_000)?;
    by_handle(effort, report, &peers);
    by_id(effort, report, &peers);
    Ok(())
}

/// Of one turn: so few that a busy machine takes most turns in one go.
const OPERATIONS: usize = 10_000;

/// Returns how long a turn of `operation`s takes; each is told its number.
fn repeated<R>(effort: Effort, operation: impl Fn(usize) -> R) -> Duration {
    timed(|| (0..effort.of(OPERATIONS, 100)).for_each(|n| drop(black_box(operation(n)))))
}

/// Returns what one operation took in each turn.
fn each(turns: &[f64]) -> Vec<f64> {
    turns.iter().map(|nanos| nanos / OPERATIONS as f64).collect()
}

fn by_handle(effort: Effort, report: &mut Report, peers: &Peers) {
    let (word, handle, now) = (AtomicU64::new(0), &peers.known[0].1, at(1));
    let [floor, heartbeat, outcome] = take_turns(
        effort,
        [
            &|| repeated(effort, |n| black_box(&word).store(n as u64, Ordering::Relaxed)),
            &|| repeated(effort, |_| black_box(handle).heartbeat(black_box(now))),
            &|| repeated(effort, |_| black_box(handle).outcome(Outcome::Reached, black_box(now))),
        ],
    )
    .map(|turns| each(&turns));
    report.takes("heartbeat by handle", &heartbeat, Bound::AtMost(3.0), "");
    report.times("heartbeat by handle", &heartbeat, ("the floor, one store:", &floor), Bound::None);
    report.times("outcome of a call by handle", &outcome, ("the floor, one store:", &floor), Bound::None);
}

fn by_id(effort: Effort, report: &mut Report, peers: &Peers) {
    let ids: Vec<&NodeId> = peers.known.iter().map(|(id, _)| id).collect();
    let map: HashMap<NodeId, Arc<AtomicU64>> = ids.iter().map(|id| ((*id).clone(), Arc::default())).collect();
    let feed = TransportFeed::new(Arc::clone(&peers.tracker));
    let now = at(1);
    let id = |n: usize| black_box(ids[n * 7 % ids.len()]);
    let [lookup, heartbeat, outcome] = take_turns(
        effort,
        [
            &|| repeated(effort, |n| map.get(id(n)).map(|word| word.load(Ordering::Relaxed))),
            &|| repeated(effort, |n| peers.tracker.record_heartbeat(id(n), black_box(now))),
            &|| repeated(effort, |n| feed.observe(id(n), tick(now), Duration::ZERO, peers_core::Outcome::Success)),
        ],
    )
    .map(|turns| each(&turns));
    let base = ("one lookup in a HashMap:", lookup.as_slice());
    report.times("1000 peers: heartbeat by id", &heartbeat, base, Bound::AtMost(1.2));
    report.times("1000 peers: outcome of a call by id", &outcome, base, Bound::None);
}

fn tick(now: Moment) -> peers_core::Tick {
    peers_core::Tick::from_nanos(now.tick.as_millis() * 1_000_000)
}
