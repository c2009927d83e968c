//! What readers cost those who write.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::peers::{Peers, at};
use crate::report::{Bound, Report, median};
use crate::rounds::Effort;

const WRITERS: usize = 2;
/// Ten times a second.
const LOOKS: Duration = Duration::from_millis(100);

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<(), Failure> {
    let peers = Peers::new(effort.of(10_000, 100))?;
    let turn = Duration::from_millis(effort.of(500, 10) as u64);
    let (mut watched, mut kept) = (Vec::new(), Vec::new());
    for _turn in 0..effort.of(15, 1) {
        let alone = updates_a_second(&peers, turn, None);
        let with_reader = updates_a_second(&peers, turn, Some(LOOKS));
        watched.push(with_reader);
        kept.push(with_reader / alone);
    }
    let millions = |updates: f64| format!("{:.0} M/s", updates / 1e6);
    let (updates, kept) = (median(&watched), median(&kept));
    let name = format!("{} peers: heartbeats, {WRITERS} threads, 10 Hz reader", peers.known.len());
    report.add([&name, &millions(updates), ""], updates, Bound::AtLeast(1e6), millions);
    let compared = format!("{:.1} % of those without a reader", kept * 100.0);
    report.add([&name, &millions(updates), &compared], kept, Bound::AtLeast(0.9), |kept| {
        format!("{:.0} %", kept * 100.0)
    });
    Ok(())
}

/// Returns how many updates two threads make a second, while somebody reads all peers `every` so often.
fn updates_a_second(peers: &Peers, turn: Duration, every: Option<Duration>) -> f64 {
    let is_over = AtomicBool::new(false);
    let clock = Instant::now();
    let millis = || u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    thread::scope(|scope| {
        let (stop, stopped) = channel::<()>();
        let halves = peers.known.chunks(peers.known.len().div_ceil(WRITERS));
        let writers: Vec<_> = halves
            .map(|half| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut updates = 0_u64;
                    // A host reads its clock once for a batch.
                    while !is_over.load(Ordering::Relaxed) {
                        let now = at(5_000 + millis());
                        half.iter().for_each(|(_, handle)| black_box(handle).heartbeat(now));
                        updates += half.len() as u64;
                    }
                    updates
                })
            })
            .collect();
        if let Some(every) = every {
            scope.spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    black_box(peers.board.snapshot(at(5_000 + millis())).summary());
                }
            });
        }
        // Nobody sends anything: a wait that no stray wake-up ends.
        let (_silent, never) = channel::<()>();
        assert_eq!(never.recv_timeout(turn), Err(RecvTimeoutError::Timeout), "nobody sends anything");
        is_over.store(true, Ordering::Relaxed);
        drop(stop);
        let updates: u64 = writers.into_iter().filter_map(|writer| writer.join().ok()).sum();
        updates as f64 / clock.elapsed().as_secs_f64()
    })
}
