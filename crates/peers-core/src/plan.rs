//! A table's peers as one balancer picks among them.

use std::sync::Arc;

use crate::candidates::{Candidate, Candidates};
use crate::filter::{Filter, Part};
use crate::group::{Demand, Group};
use crate::shared::Shared;
use crate::{Chooser, Entropy, Health, Peer, PickError};

/// Groups in the order of preference; immutable, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) version: u64,
    first: Option<Group>,
    others: Box<[Group]>,
    /// For each group the chance, of 2^32, that a pick starts in it or an earlier one.
    starts: Box<[u32]>,
    /// Whether that is always the first.
    starts_first: bool,
    /// Whether it is, and picks from it are usual.
    starts_as_usual: bool,
    /// How many of the groups are the preferred ones.
    pub(crate) preferred: usize,
    /// What to say when there are no groups.
    pub(crate) nobody: PickError,
    /// Whether so much evidence is against so many that none of it is believed.
    pub(crate) disbelieves: bool,
}

/// The peers of a table at one version.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) version: u64,
    pub(crate) candidates: Candidates,
}

impl Roster {
    pub(crate) fn get(&self, id: &mesh_types::NodeId) -> Option<Candidate<'_>> {
        self.candidates.get(self.candidates.position(id)?)
    }

    /// Returns how many peers take work, whatever is said about their health.
    pub(crate) fn working(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.peer.takes_work()).count()
    }
}

impl Plan {
    /// Filters and groups the peers of `roster`, and lets `chooser` prepare for each group.
    pub(crate) fn of(
        roster: &Roster,
        filters: &[Box<dyn Filter>],
        chooser: &dyn Chooser,
        shared: &Arc<Shared>,
    ) -> Self {
        let all: Vec<usize> = (0..roster.candidates.len()).collect();
        let health = |index: &usize| roster.candidates.get(*index).map(|candidate| candidate.peer.health);
        let takes_work = |index: &usize| roster.candidates.get(*index).is_some_and(|c| c.peer.takes_work());
        let working: Vec<usize> = all.into_iter().filter(takes_work).collect();
        let (well, doubtful): (Vec<usize>, Vec<usize>) =
            working.iter().partition(|index| matches!(health(index), Some(Health::Unknown | Health::Healthy)));
        let panic_percent = usize::from(shared.options.breaker.rails.panic_percent);
        let disbelieves = well.len() * 100 < working.len() * panic_percent;

        let mut parts;
        let preferred;
        if disbelieves {
            parts = split(roster, working, filters, shared);
            preferred = parts.len();
        } else {
            let degraded = doubtful.into_iter().filter(|index| health(index) == Some(Health::Degraded)).collect();
            parts = split(roster, well, filters, shared);
            preferred = parts.iter().filter(|part| part.is_preferred).count();
            let last_resort = split(roster, degraded, filters, shared);
            parts.extend(last_resort.into_iter().map(|part| Part { share: 0.0, ..part }));
        }
        let nobody =
            if roster.candidates.len() == 0 { PickError::NoPeers } else { PickError::NoneAvailable { retry_at: None } };
        let starts = starts(&parts);
        let mut groups = parts.iter().map(|part| group(roster, part, chooser, shared));
        let starts_first = matches!(*starts, [] | [_] | [u32::MAX, ..]);
        Self {
            version: roster.version,
            starts_first,
            starts_as_usual: starts_first && preferred > 0 && !disbelieves,
            starts,
            first: groups.next(),
            others: groups.collect(),
            preferred,
            nobody,
            disbelieves,
        }
    }

    /// Returns the group that every pick starts in, if there is one and picks from it are nothing of note.
    #[inline(always)]
    pub(crate) const fn usual(&self) -> Option<&Group> {
        if self.starts_as_usual { self.first.as_ref() } else { None }
    }

    /// Returns the group at `index`; the first one is no step away.
    pub(crate) fn group(&self, index: usize) -> Option<&Group> {
        if index == 0 { self.first.as_ref() } else { self.others.get(index - 1) }
    }

    pub(crate) fn group_count(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// Returns the group that a pick starts in.
    pub(crate) fn start(&self, entropy: &mut Entropy) -> usize {
        if self.starts_first { 0 } else { self.drawn_start(entropy) }
    }

    fn drawn_start(&self, entropy: &mut Entropy) -> usize {
        let point = entropy.next_u64() >> 32;
        self.starts.iter().position(|end| point <= u64::from(*end)).unwrap_or(0)
    }

    /// Returns whether a pick from the group at `index` is worth a note.
    pub(crate) const fn is_usual(&self, index: usize) -> bool {
        index < self.preferred && !self.disbelieves
    }
}

fn split(roster: &Roster, peers: Vec<usize>, filters: &[Box<dyn Filter>], shared: &Arc<Shared>) -> Vec<Part> {
    let whole = vec![Part::whole(peers)];
    let parts = filters.iter().fold(whole, |parts, filter| {
        parts.into_iter().flat_map(|part| filter.split(part, &roster.candidates, &shared.options.local)).collect()
    });
    parts.into_iter().filter(|part| !part.peers.is_empty()).collect()
}

fn group(roster: &Roster, part: &Part, chooser: &dyn Chooser, shared: &Arc<Shared>) -> Group {
    // A part of as many as there are is all of them, each once and in order: shared, no peer is counted once more.
    let candidates = if part.peers.len() == roster.candidates.len() && part.peers.is_sorted() {
        roster.candidates.clone()
    } else {
        Candidates::of(part.peers.iter().filter_map(|index| roster.candidates.get(*index)))
    };
    let peers: Vec<&Peer> = candidates.iter().map(|candidate| &**candidate.peer).collect();
    let arrangement = chooser.arrange(&peers);
    Group {
        candidates,
        arrangement,
        demand: part.demand,
        max_pending: shared.options.max_pending,
        quick_max: if part.demand == Demand::Nothing { shared.options.max_pending } else { 0 },
        unreported: shared.options.breaker.unreported,
        shared: Arc::clone(shared),
    }
}

/// Sums up the shares of `parts`. Where a part was empty its share goes to the others in proportion.
fn starts(parts: &[Part]) -> Box<[u32]> {
    let all: f64 = parts.iter().map(|part| part.share).sum();
    let mut sum = 0.0;
    let mut ends: Vec<u32> = parts
        .iter()
        .map(|part| {
            sum += if all > 0.0 { part.share / all } else { 0.0 };
            fraction(sum)
        })
        .collect();
    if all <= 0.0 {
        ends.fill(u32::MAX);
    }
    ends.into_boxed_slice()
}

/// Returns `of_one` of 2^32.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; a cast from float saturates")]
fn fraction(of_one: f64) -> u32 {
    (of_one.clamp(0.0, 1.0) * 4_294_967_296.0) as u32
}
