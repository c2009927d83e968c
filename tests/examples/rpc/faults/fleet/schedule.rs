//! Who is ill when.

use std::ops::Range;

use crate::endpoints::Condition;

pub(super) const SERVERS: usize = 200;

/// The servers fall ill by tenths.
pub(super) const GROUPS: usize = 10;

/// For how many seconds a tenth is ill. Then it is the next one's turn.
const ILL: usize = 6;

/// From when the share of those who are ill is judged, as in the simulation.
const SETTLE: usize = 3;

/// How long after an illness a server does not count as one of the well.
const CONVALESCENCE: usize = 20;

/// Connections are made and estimates are found in the first seconds.
pub(super) const HEALTHY: Range<usize> = 5..14;
pub(super) const ROLLING: Range<usize> = HEALTHY.end..HEALTHY.end + GROUPS * ILL;
pub(super) const SECONDS: usize = ROLLING.end + 12;

/// Returns what becomes of a tenth.
pub(super) const fn illness(group: usize) -> Condition {
    if group.is_multiple_of(2) { Condition::Slow } else { Condition::Failing }
}

/// Returns when a tenth is ill.
pub(super) const fn ill(group: usize) -> Range<usize> {
    let from = ROLLING.start + group * ILL;
    from..from + ILL
}

/// Returns when its illness has shown.
pub(super) const fn settled(group: usize) -> Range<usize> {
    let Range { start, end } = ill(group);
    start + SETTLE..end
}

/// Returns whether a tenth has been well for long, or always.
pub(super) const fn is_well(group: usize, second: usize) -> bool {
    let Range { start, end } = ill(group);
    second < start || second >= end + CONVALESCENCE
}

/// Returns what becomes of whom at the beginning of a second.
pub(super) fn changes(second: usize) -> Vec<(usize, Condition)> {
    let at = |group| match ill(group) {
        Range { start, .. } if start == second => Some((group, illness(group))),
        Range { end, .. } if end == second => Some((group, Condition::Well)),
        Range { .. } => None,
    };
    (0..GROUPS).filter_map(at).collect()
}
