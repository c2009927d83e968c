//! What the hot path and a snapshot cost: `cargo bench -p peer-health`.
#![expect(clippy::print_stdout, reason = "a benchmark shows its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::NodeId;
use peer_health::{HealthBoard, HealthHandle, HealthProvider, Moment, Options, Tick, Timeline, Tracker};

const ROUNDS: usize = 31;

fn main() -> Result<(), Box<dyn Error>> {
    let timeline = Timeline::starting(Instant::now());
    let now = timeline.moment(Instant::now(), SystemTime::now());
    heartbeats(now)?;
    for peers in [1_000, 10_000] {
        snapshots(timeline, now, peers)?;
    }
    Ok(())
}

fn later(now: Moment, millis: u64) -> Moment {
    Moment { tick: Tick::from_millis(now.tick.as_millis() + millis), wall: now.wall }
}

fn heartbeats(now: Moment) -> Result<(), Box<dyn Error>> {
    const BEATS: u32 = 1_000_000;
    let tracker = Tracker::new(Options::default());
    let handle = tracker.handle(&"worker-a".parse()?, now)?;
    report("heartbeat by handle", BEATS, || {
        for _beat in 0..BEATS {
            black_box(&handle).heartbeat(black_box(now));
        }
    });
    let ids = fill(&tracker, 1_000, now)?.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    report("heartbeat by id, 1,000 peers", BEATS / 10, || {
        for beat in 0..BEATS / 10 {
            let id = ids.get(beat as usize * 7 % ids.len());
            black_box(id.map(|id| tracker.record_heartbeat(id, black_box(now))));
        }
    });
    report("outcome by handle", BEATS, || {
        for _call in 0..BEATS {
            black_box(&handle).outcome(peer_health::Outcome::Reached, black_box(now));
        }
    });
    Ok(())
}

type Peers = Vec<(NodeId, HealthHandle)>;

fn fill(tracker: &Tracker, peers: usize, now: Moment) -> Result<Peers, Box<dyn Error>> {
    let mut all = Vec::with_capacity(peers);
    for n in 0..peers {
        let id: NodeId = format!("worker-{n:05}").parse()?;
        tracker.set_metadata(&id, &[("mesh.role", "worker"), ("mesh.region", "eu-1"), ("label.rack", "r1")], now)?;
        all.push((id.clone(), tracker.handle(&id, now)?));
    }
    Ok(all)
}

fn snapshots(timeline: Timeline, start: Moment, peers: usize) -> Result<(), Box<dyn Error>> {
    let tracker = Arc::new(Tracker::new(Options::default()));
    let handles = fill(&tracker, peers, start)?;
    let visit = || {
        tracker.visit(start, &mut |record| {
            black_box(record.verdicts);
        });
    };
    println!("visit of {peers} peers: {:?}", median((0..ROUNDS).map(|_| timed(visit)).collect()));
    let board = HealthBoard::new(timeline, vec![Arc::clone(&tracker) as Arc<dyn HealthProvider>]);
    let mut changed = Vec::new();
    for round in 0..ROUNDS {
        let now = later(start, 100 * round as u64);
        handles.iter().for_each(|(_, handle)| handle.heartbeat(now));
        let clock = Instant::now();
        let snapshot = black_box(board.refresh(now));
        changed.push(clock.elapsed());
        assert_eq!(snapshot.summary().healthy, peers, "every peer has just been heard of");
    }
    println!("snapshot of {peers} peers, all changed: {:?}", median(changed));
    let now = later(start, 100 * ROUNDS as u64);
    let same = (0..ROUNDS).map(|_| timed(|| drop(black_box(board.refresh(now))))).collect();
    println!("snapshot of {peers} peers, none changed: {:?}", median(same));
    report("snapshot that is young", 10_000, || {
        for _ask in 0..10_000 {
            drop(black_box(board.snapshot(now)));
        }
    });
    Ok(())
}

fn timed(work: impl FnOnce()) -> Duration {
    let clock = Instant::now();
    work();
    clock.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Prints the median of what one of `count` steps of `work` takes.
fn report(what: &str, count: u32, mut work: impl FnMut()) {
    let times = (0..ROUNDS).map(|_| timed(&mut work)).collect();
    println!("{what}: {:.2} ns", median(times).as_secs_f64() * 1e9 / f64::from(count));
}
