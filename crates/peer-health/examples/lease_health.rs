//! A worker that works, one that is lost and comes back, and what the board tells of it:
//! `cargo run -p peer-health --example lease_health`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::{BootEpoch, Incarnation, MemberState};
use peer_health::{GossipNews, HealthBoard, Lease, LeaseId, Options, Release, Snapshot, Timeline, Tracker};

fn main() -> Result<(), Box<dyn Error>> {
    // The host reads its clocks, here once; the example goes on from there by itself.
    #[expect(clippy::disallowed_methods, reason = "the host has the clocks")]
    let (start, wall) = (Instant::now(), SystemTime::now());
    let timeline = Timeline::starting(start);
    let after = |seconds| timeline.moment(start + Duration::from_secs(seconds), wall + Duration::from_secs(seconds));

    let tracker = Arc::new(Tracker::new(Options::default()));
    let board = HealthBoard::new(timeline, vec![Arc::clone(&tracker) as _]);
    let (a, b) = ("worker-a".parse()?, "worker-b".parse()?);
    let lease = |attempt| Lease { sequence_id: 42, attempt, lease_id: LeaseId::from_u128(u128::from(attempt)) };

    // The hot path: ask for a handle once, then record through it.
    let beats = [tracker.handle(&a, after(0))?, tracker.handle(&b, after(0))?];
    beats.iter().for_each(|handle| handle.heartbeat(after(0)));
    tracker.record_assignment(&b, lease(1), after(0))?;
    show("both work", &board.refresh(after(0)));

    tracker.record_disconnect(&b, Some("connection reset"), after(1))?;
    tracker.record_release(&b, lease(1), Release::Requeued)?;
    show("worker-b is lost, its work waits", &board.refresh(after(1)));

    tracker.record_assignment(&a, lease(2), after(2))?;
    show("worker-a has the work", &board.refresh(after(2)));

    // A newer life clears what was said against the older one.
    for epoch in [1, 2] {
        let news = GossipNews { boot_epoch: BootEpoch(epoch), incarnation: Incarnation(0), state: MemberState::Alive };
        tracker.record_gossip(&b, news, after(2 + epoch))?;
    }
    show("worker-b has started anew", &board.refresh(after(4)));

    for event in board.events_since(0, after(4)).events {
        println!("event {}: {} {:?}", event.seq, event.peer, event.kind);
    }
    Ok(())
}

fn show(what: &str, snapshot: &Snapshot) {
    println!("{what} (version {}, {:?})", snapshot.version(), snapshot.summary());
    for peer in snapshot.peers() {
        let (facts, state) = (&peer.facts, peer.state.as_str());
        println!("  {}: {state}, {} leases, {} pending", facts.id, facts.leases.len(), facts.pending.len());
    }
}
