//! What the hot path and a snapshot cost: `cargo bench -p peer-health`.
//!
//! The figures are medians, as rows of a Markdown table that `cargo xtask bench peers` puts together with another. With
//! `-- --check` it fails when a limit is broken.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark shows its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_types::NodeId;
use peer_health::{HealthBoard, HealthHandle, HealthProvider, Moment, Options, Tick, Timeline, Tracker};

const BROKEN: &str = "BROKEN";

/// Most nanoseconds that one operation may take.
type Limit = Option<f64>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let given = |flag: &str| std::env::args().any(|arg| arg == flag);
    let mut report = Report { rounds: if given("--bench") { 31 } else { 1 }, rows: Vec::new() };
    let timeline = Timeline::starting(Instant::now());
    let now = timeline.moment(Instant::now(), SystemTime::now());
    heartbeats(now, &mut report)?;
    snapshots(timeline, now, 1_000, Some(25e3), &mut report)?;
    snapshots(timeline, now, 10_000, Some(300e3), &mut report)?;
    if !given("--bench") {
        // As a test target, without `cargo bench`: that everything runs is all that can be said.
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n|---|---:|---|---|---|", row(["benchmark", "measured", "compared", "limit", "verdict"]));
    report.rows.iter().for_each(|row| println!("{row}"));
    let broken = report.rows.iter().filter(|row| given("--check") && row.contains(BROKEN));
    let listed = broken.inspect(|row| eprintln!("broken limit: {row}")).count();
    Ok(if listed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn later(now: Moment, millis: u64) -> Moment {
    Moment { tick: Tick::from_millis(now.tick.as_millis() + millis), wall: now.wall }
}

fn heartbeats(now: Moment, report: &mut Report) -> Result<(), Box<dyn Error>> {
    const BEATS: u32 = 1_000_000;
    let tracker = Tracker::new(Options::default());
    let handle = tracker.handle(&"worker-a".parse()?, now)?;
    report.measure("heartbeat by handle", Some(3.0), BEATS, || {
        for _beat in 0..BEATS {
            black_box(&handle).heartbeat(black_box(now));
        }
    });
    let ids = fill(&tracker, 1_000, now)?.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    report.measure("heartbeat by id, 1000 peers", None, BEATS / 10, || {
        for beat in 0..BEATS / 10 {
            let id = ids.get(beat as usize * 7 % ids.len());
            black_box(id.map(|id| tracker.record_heartbeat(id, black_box(now))));
        }
    });
    report.measure("outcome by handle", None, BEATS, || {
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

fn snapshots(
    timeline: Timeline,
    start: Moment,
    peers: usize,
    limit: Limit,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    const ASKED: u32 = 10_000;
    let tracker = Arc::new(Tracker::new(Options::default()));
    let handles = fill(&tracker, peers, start)?;
    report.measure(&format!("{peers} peers: visit"), None, 1, || {
        tracker.visit(start, &mut |record| {
            black_box(record.verdicts);
        });
    });
    let board = HealthBoard::new(timeline, vec![Arc::clone(&tracker) as Arc<dyn HealthProvider>]);
    let mut changed = Vec::new();
    for round in 0..report.rounds {
        let now = later(start, 100 * round as u64);
        handles.iter().for_each(|(_, handle)| handle.heartbeat(now));
        let clock = Instant::now();
        let snapshot = black_box(board.refresh(now));
        changed.push(clock.elapsed());
        assert_eq!(snapshot.summary().healthy, peers, "every peer has just been heard of");
    }
    report.add(&format!("{peers} peers: snapshot, all changed"), limit, 1, changed);
    let now = later(start, 100 * report.rounds as u64);
    report.measure(&format!("{peers} peers: snapshot, none changed"), None, 1, || drop(black_box(board.refresh(now))));
    report.measure(&format!("{peers} peers: snapshot that is young"), None, ASKED, || {
        for _ask in 0..ASKED {
            drop(black_box(board.snapshot(now)));
        }
    });
    Ok(())
}

/// How often everything is measured, and what came of it.
struct Report {
    rounds: usize,
    rows: Vec<String>,
}

impl Report {
    /// Adds the median of what one of `count` steps of `work` takes.
    fn measure(&mut self, name: &str, limit: Limit, count: u32, mut work: impl FnMut()) {
        let timed = |_| {
            let clock = Instant::now();
            work();
            clock.elapsed()
        };
        let times = (0..self.rounds).map(timed).collect();
        self.add(name, limit, count, times);
    }

    /// Adds the median of `times`, each of `count` steps.
    fn add(&mut self, name: &str, limit: Limit, count: u32, mut times: Vec<Duration>) {
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let nanos = median.as_secs_f64() * 1e9 / f64::from(count);
        let verdict = limit.map_or("", |most| if nanos <= most { "ok" } else { BROKEN });
        let limit = limit.map_or_else(String::new, |most| format!("<= {}", time(most)));
        self.rows.push(row([name, &time(nanos), "", &limit, verdict]));
    }
}

fn time(nanos: f64) -> String {
    if nanos < 1e4 { format!("{nanos:.2} ns") } else { format!("{:.1?}", Duration::from_secs_f64(nanos / 1e9)) }
}

fn row([name, measured, compared, limit, verdict]: [&str; 5]) -> String {
    format!("| {name:<40} | {measured:>10} | {compared:<8} | {limit:<12} | {verdict:<7} |")
}
