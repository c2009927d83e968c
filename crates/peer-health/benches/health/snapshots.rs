//! What it costs to see all peers at once.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer_health::{BreakerProvider, HealthBoard, Timeline};

use crate::Failure;
use crate::peers::{Peers, at, fleet};
use crate::report::{Bound, Report};
use crate::rival::LockedMap;
use crate::rounds::{Effort, take_turns, timed};

/// More than any cache holds.
const SPOILER_BYTES: usize = 64 << 20;

/// Breakers that are open where there are any.
const OPEN: usize = 100;

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<(), Failure> {
    compare(effort, report, 1_000, 25e3)?;
    match effort {
        Effort::Measure => compare(effort, report, 10_000, 300e3),
        Effort::Try => Ok(()),
    }
}

/// Peers, and time going by.
struct Time<'a> {
    peers: &'a Peers,
    millis: Cell<u64>,
}

impl Time<'_> {
    /// Lets 100 ms pass in which so many peers are heard of, and returns how long `board` takes to show all of them.
    fn look(&self, board: &HealthBoard, heard: usize, meanwhile: impl FnOnce()) -> Duration {
        self.millis.set(self.millis.get() + 100);
        let now = at(self.millis.get());
        let known = &self.peers.known;
        known.iter().step_by(known.len() / heard.max(1)).take(heard).for_each(|(_, handle)| handle.heartbeat(now));
        meanwhile();
        timed(|| board.refresh(now))
    }
}

fn compare(effort: Effort, report: &mut Report, count: usize, most_ns: f64) -> Result<(), Failure> {
    let peers = Peers::new(count)?;
    let map = LockedMap::of(&peers);
    let (fleet, _table) = fleet(&peers, OPEN)?;
    let provider = BreakerProvider::new(fleet, Duration::from_secs(3_600));
    let timeline = Timeline::starting(Instant::now());
    let with_breakers = HealthBoard::new(timeline, vec![Arc::clone(&peers.tracker) as _, Arc::new(provider)]);
    let (time, board) = (Time { peers: &peers, millis: Cell::new(5_000) }, &peers.board);
    let spoiler = RefCell::new(vec![0_u8; SPOILER_BYTES]);
    let spoil = || spoiler.borrow_mut().iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
    let [all, tenth, none, breakers, cold, rival] = take_turns(
        effort,
        [
            &|| time.look(board, count, || ()),
            &|| time.look(board, count / 10, || ()),
            &|| time.look(board, 0, || ()),
            // Twice, as nobody else looks at this board: the first time what it reads is in no cache.
            &|| [(); 2].map(|()| time.look(&with_breakers, count, || ()))[1],
            &|| time.look(board, count, spoil),
            &|| timed(|| black_box(&map).snapshot()),
        ],
    );
    let name = |how: &str| format!("{count} peers: snapshot, {how}");
    let most = Bound::AtMost(most_ns);
    report.takes(&name("all changed"), &all, most, "");
    report.takes(&name("a tenth changed"), &tenth, most, "");
    report.takes(&name("none changed"), &none, most, "");
    report.takes(&name("all changed, out of cache"), &cold, Bound::None, "");
    report.takes(&name(&format!("all changed, {OPEN} breakers open")), &breakers, Bound::None, "");
    let base = ("the snapshot, all changed:", all.as_slice());
    report.times(&format!("{count} peers: clone of a locked map"), &rival, base, Bound::AtLeast(15.0));
    Ok(())
}
