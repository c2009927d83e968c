//! What will happen when.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use crate::network::Arrival;

/// One arrival, ordered by when it is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at: Instant,
    /// In which order those of one moment come.
    pub(crate) number: u64,
    pub(crate) to: usize,
    pub(crate) life: u32,
    pub(crate) arrival: Arrival,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All that is due, the next first.
///
/// Only what is due within the same short while is kept in order: in one heap, the millions of arrivals of a large mesh would each be
/// moved past all the others.
#[derive(Debug)]
pub(crate) struct Agenda {
    started: Instant,
    /// Up to which while the heap goes.
    sorted_to: u64,
    soon: BinaryHeap<Reverse<Due>>,
    later: BTreeMap<u64, Vec<Due>>,
}

/// How long a while is.
const WHILE: Duration = Duration::from_micros(250);

impl Agenda {
    pub(crate) const fn new(started: Instant) -> Self {
        Self { started, sorted_to: 0, soon: BinaryHeap::new(), later: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, due: Due) {
        let passed = due.at.saturating_duration_since(self.started).as_nanos() / WHILE.as_nanos();
        let which = u64::try_from(passed).unwrap_or(u64::MAX);
        if which <= self.sorted_to {
            self.soon.push(Reverse(due));
        } else {
            self.later.entry(which).or_default().push(due);
        }
    }

    /// Returns the next that is due until `limit`.
    pub(crate) fn pop_until(&mut self, limit: Instant) -> Option<Due> {
        if self.soon.is_empty()
            && let Some((which, due)) = self.later.pop_first()
        {
            self.sorted_to = which;
            self.soon = due.into_iter().map(Reverse).collect();
        }
        self.soon.peek().filter(|first| first.0.at <= limit)?;
        self.soon.pop().map(|first| first.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_whenever_it_was_put_down_and_not_before_its_time() {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let started = Instant::now();
        let at = |micros: u64| started + Duration::from_micros(micros);
        let put = |into: &mut Agenda, number: u64, micros: u64| {
            into.push(Due { at: at(micros), number, to: 0, life: 0, arrival: Arrival::Wake });
        };
        let next = |of: &mut Agenda, micros| of.pop_until(at(micros)).map(|due| due.number);
        let mut agenda = Agenda::new(started);
        for (number, micros) in (1..).zip([9_000, 600, 100, 600, 251, 3_600_000_000]) {
            put(&mut agenda, number, micros);
        }
        assert_eq!([next(&mut agenda, 99), next(&mut agenda, 250), next(&mut agenda, 250)], [None, Some(3), None]);
        // Sooner than what is next so far, and as soon.
        put(&mut agenda, 7, 240);
        put(&mut agenda, 8, 251);
        let rest: Vec<u64> = std::iter::from_fn(|| next(&mut agenda, 10_000)).collect();
        assert_eq!(rest, [7, 5, 8, 2, 4, 1]);
        assert_eq!(next(&mut agenda, 3_600_000_000), Some(6));
    }
}
