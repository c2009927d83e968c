//! Clocks that drift, jump and are set back.

use std::time::Duration;

use super::{PATIENCE, at_rest, is_gone};
use crate::{Mesh, Settings};

/// How far from the right rate a clock is, in millionths, to either side.
const DRIFT_PPM: i32 = 200;

/// How far a clock jumps ahead, once a minute another one.
const JUMP: Duration = Duration::from_secs(10);

const MINUTE: Duration = Duration::from_secs(60);

/// Minutes of a run.
const MINUTES: usize = 30;

/// How a mesh went whose clocks are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Times that a living member was declared.
    pub declared: usize,
    /// Until a node that started again with its wall clock set back by an hour was alive for all in its new life.
    pub back: Duration,
    /// Until a crash was seen by all.
    pub crash_seen: Duration,
}

/// Lets clocks drift by up to 200 millionths to either side and one a minute jump ahead by ten seconds, for half an hour; then a node starts
/// again an hour in its own past, and another dies. `None` if something is not seen within a minute.
#[must_use]
pub fn clocks(settings: Settings) -> Option<Clocks> {
    let mut mesh = at_rest(Settings { keeps_log: true, ..settings })?;
    let (begin, nodes) = (mesh.elapsed(), mesh.size());
    let spread = i32::try_from(nodes).unwrap_or(i32::MAX).max(2) - 1;
    for (place, number) in (0..).zip(0..nodes) {
        mesh.set_clock_rate(number, 2 * DRIFT_PPM * place / spread - DRIFT_PPM);
    }
    for minute in 0..MINUTES {
        mesh.jump_clock(minute * 7 % nodes, JUMP);
        mesh.run_for(MINUTE);
    }
    let declared =
        mesh.log().iter().filter(|entry| entry.at >= begin && matches!(entry.kind, "unreachable" | "dead")).count();
    let back = start_in_the_past(&mut mesh, nodes / 3)?;
    let killed = nodes / 2;
    mesh.crash(killed);
    let crash_seen = mesh.run_until(PATIENCE, |seen| is_gone(seen, killed, |_| true))?;
    Some(Clocks { declared, back, crash_seen })
}

fn start_in_the_past(mesh: &mut Mesh, number: usize) -> Option<Duration> {
    let life = mesh.core(number)?.boot_epoch();
    mesh.crash(number);
    mesh.set_wall_clock_back(number, MINUTE * 60);
    mesh.start_node(number, Duration::from_millis(300));
    let is_back = |core: &membership::Core, seen: &Mesh| core.boot_epoch_of(seen.id(number)) > Some(life);
    mesh.run_until(PATIENCE, |seen| seen.all_see_all() && seen.running().all(|(_, core)| is_back(core, seen)))
}
