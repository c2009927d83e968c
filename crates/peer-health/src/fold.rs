//! What several providers say, folded by peer.

use std::mem;
use std::sync::Arc;

use crate::emit;
use crate::provider::{HealthProvider, HealthRecord};
use crate::snapshot::PeerHealth;
use crate::time::Moment;

/// Most records that providers may give for one snapshot; what comes after is left out and counted.
const MAX_RECORDS: usize = 65_536;

/// What providers said last, the first one apart from the others: it is the one that knows most peers.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    first: Vec<PeerHealth>,
    others: Vec<PeerHealth>,
}

/// How what providers say differs from the newest snapshot, as far as it is seen in passing.
#[derive(Debug)]
pub(crate) struct Glance {
    /// Whether the same peers come in the same order, held for the same by the same sources: nothing to tell.
    pub(crate) is_same_story: bool,
    /// Whether they were heard of or lost since.
    pub(crate) has_new_times: bool,
}

impl Gathered {
    /// Asks every provider what it knows at `now`, and compares that with `newest`.
    pub(crate) fn ask(&mut self, providers: &[Arc<dyn HealthProvider>], newest: &[PeerHealth], now: Moment) -> Glance {
        let mut glance = Glance { is_same_story: true, has_new_times: false };
        let (mut first, mut others) =
            (Sheet::over(mem::take(&mut self.first)), Sheet::over(mem::take(&mut self.others)));
        let mut left_out = 0;
        if let Some((main, more)) = providers.split_first() {
            let mut known = newest.iter();
            main.visit(now, &mut |record| {
                glance.compare(known.next(), &record);
                left_out += first.write(record, MAX_RECORDS);
            });
            for provider in more {
                provider.visit(now, &mut |record| {
                    left_out += others.write(record, MAX_RECORDS.saturating_sub(first.filled));
                });
            }
        }
        emit::left_out(left_out);
        (self.first, self.others) = (first.finish(), others.finish());
        glance.is_same_story &= self.others.is_empty() && self.first.len() == newest.len();
        glance
    }

    /// Returns what was said as it came, which is right if it is the same story as before. What is in `room` is
    /// written over.
    pub(crate) fn take_same(&mut self, room: Vec<PeerHealth>) -> Vec<PeerHealth> {
        mem::replace(&mut self.first, room)
    }

    /// Returns each peer once, by ascending id. What is in `room` is written over; most of it, like most of `newest`,
    /// is still true.
    pub(crate) fn fold(&mut self, newest: &[PeerHealth], room: Vec<PeerHealth>) -> Vec<PeerHealth> {
        if !ascends(&self.first, newest) {
            sort(&mut self.first);
        }
        if self.others.is_empty() {
            return self.take_same(room);
        }
        sort(&mut self.others);
        let strangers = self.fold_known();
        if strangers.is_empty() {
            return self.take_same(room);
        }
        let mut sheet = Sheet::over(room);
        let mut rest = self.first.as_slice();
        for stranger in &strangers {
            let (before, after) = rest.split_at_checked(count_before(rest, stranger)).unwrap_or((rest, &[]));
            before.iter().for_each(|peer| sheet.copy(peer));
            sheet.copy(stranger);
            rest = after;
        }
        rest.iter().for_each(|peer| sheet.copy(peer));
        sheet.finish()
    }

    /// Folds what the others say into what the first says, and returns whom that one does not know.
    fn fold_known(&mut self) -> Vec<PeerHealth> {
        let mut rest = self.first.as_mut_slice();
        let mut strangers = Vec::new();
        for other in &self.others {
            let before = count_before(rest, other);
            rest = rest.split_at_mut_checked(before).map_or_else(Default::default, |(_before, after)| after);
            match rest.first_mut().filter(|peer| peer.facts.id == other.facts.id) {
                Some(peer) => peer.merge(other),
                None => strangers.push(other.clone()),
            }
        }
        strangers
    }
}

impl Glance {
    fn compare(&mut self, known: Option<&PeerHealth>, record: &HealthRecord<'_>) {
        let Some(known) = known else {
            self.is_same_story = false;
            return;
        };
        self.is_same_story &= Arc::ptr_eq(&known.facts, record.facts) && known.verdicts == record.verdicts;
        self.has_new_times |=
            known.last_heartbeat != record.last_heartbeat || known.last_disconnect != record.last_disconnect;
    }
}

/// A list that is written over an older one: most of its peers are who they were, and cost little then.
struct Sheet {
    peers: Vec<PeerHealth>,
    filled: usize,
}

impl Sheet {
    const fn over(peers: Vec<PeerHealth>) -> Self {
        Self { peers, filled: 0 }
    }

    /// Writes `record` if there are fewer than `limit`, and returns how many found no room.
    #[inline(always)]
    fn write(&mut self, record: HealthRecord<'_>, limit: usize) -> u64 {
        if self.filled >= limit {
            return 1;
        }
        match self.peers.get_mut(self.filled) {
            Some(peer) => peer.replace(record),
            None => self.peers.push(PeerHealth::new(record)),
        }
        self.filled += 1;
        0
    }

    fn copy(&mut self, peer: &PeerHealth) {
        self.write(peer.record(), usize::MAX);
    }

    fn finish(mut self) -> Vec<PeerHealth> {
        self.peers.truncate(self.filled);
        self.peers
    }
}

/// Sorts `peers` by id, and folds what is said of the same one.
fn sort(peers: &mut Vec<PeerHealth>) {
    // Stable: of one peer's records the earlier provider's stays first.
    peers.sort_by(|a, b| a.facts.id.cmp(&b.facts.id));
    peers.dedup_by(|later, first| {
        let is_same = later.facts.id == first.facts.id;
        if is_same {
            first.merge(later);
        }
        is_same
    });
}

/// Returns how many of `peers`, which ascend, come before `other`: a few steps if that is near the beginning.
fn count_before(peers: &[PeerHealth], other: &PeerHealth) -> usize {
    let is_before = |peer: &PeerHealth| peer.facts.id < other.facts.id;
    let mut end = 1;
    while peers.get(end - 1).is_some_and(is_before) {
        end *= 2;
    }
    let start = end / 2;
    start + peers.get(start..peers.len().min(end)).map_or(0, |near| near.partition_point(is_before))
}

/// Returns whether each peer is there once, by ascending id. Where the same facts are next to each other as in
/// `newest`, that is known without reading them.
fn ascends(peers: &[PeerHealth], newest: &[PeerHealth]) -> bool {
    let mut before: Option<(&PeerHealth, bool)> = None;
    let mut newest = newest.iter();
    peers.iter().all(|peer| {
        let is_known = newest.next().is_some_and(|known| Arc::ptr_eq(&known.facts, &peer.facts));
        let ascends = before.is_none_or(|(last, was_known)| (was_known && is_known) || last.facts.id < peer.facts.id);
        before = Some((peer, is_known));
        ascends
    })
}
