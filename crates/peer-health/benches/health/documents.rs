//! What it costs to serve the lease-health document.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use peer_health::DocumentFilter;

use crate::Failure;
use crate::peers::{Peers, at};
use crate::report::{Bound, Report};
use crate::rounds::{Effort, take_turns, timed};

const PEERS: usize = 1_000;

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<(), Failure> {
    let peers = Peers::new(PEERS)?;
    let (all, clock) = (DocumentFilter::default(), Cell::new(5_000));
    // As the route does: the document of what the board shows now.
    let serve = |millis| black_box(&peers.board).snapshot(at(millis)).lease_health(&all);
    let next_version = || {
        clock.set(clock.get() + 100);
        peers.known.iter().for_each(|(_, handle)| handle.heartbeat(at(clock.get())));
        drop(peers.board.refresh(at(clock.get())));
    };
    let first = || -> Duration {
        next_version();
        timed(|| serve(clock.get()))
    };
    let [first, again] = take_turns(effort, [&first, &|| timed(|| serve(clock.get()))]);
    let size = format!("{} bytes", serve(clock.get()).len());
    report.takes(&format!("{PEERS} peers: document, of a new version"), &first, Bound::AtMost(200e3), &size);
    report.takes(&format!("{PEERS} peers: document, asked for again"), &again, Bound::AtMost(50e3), &size);
    Ok(())
}
