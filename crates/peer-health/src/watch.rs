//! Peers whose story is longer than one snapshot: those that keep changing, and those on which sources disagree.

use std::collections::{BTreeMap, VecDeque};

use mesh_types::NodeId;

use crate::evidence::{Source, Verdict, Verdicts};
use crate::time::Tick;

/// So many changes within [`FLAP_WINDOW_MS`] are flapping.
const FLAP_CHANGES: usize = 4;
const FLAP_WINDOW_MS: u64 = 60_000;

/// Sources may disagree for so long before it is told: gossip may simply be slower.
const DISAGREEMENT_MS: u64 = 10_000;

/// Holds the few peers that are watched, never more than are known.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    changing: BTreeMap<NodeId, Changing>,
    disagreeing: BTreeMap<NodeId, Disagreeing>,
}

#[derive(Debug, Default)]
struct Changing {
    /// When it changed, at most [`FLAP_CHANGES`] of the last times.
    times: VecDeque<Tick>,
    told: bool,
}

#[derive(Debug)]
struct Disagreeing {
    since: Tick,
    told: bool,
}

impl Watch {
    /// Notes that `peer` has changed, and returns whether it has begun to flap.
    pub(crate) fn changed(&mut self, peer: &NodeId, now: Tick) -> bool {
        let changing = self.changing.entry(peer.clone()).or_default();
        changing.times.push_back(now);
        if changing.times.len() > FLAP_CHANGES {
            changing.times.pop_front();
        }
        let first = changing.times.front().copied().unwrap_or(now);
        let flaps = changing.times.len() == FLAP_CHANGES && now.millis_since(first) <= FLAP_WINDOW_MS;
        let has_begun = flaps && !changing.told;
        changing.told = flaps;
        has_begun
    }

    /// Notes what the sources say of `peer`, and returns whether they have disagreed for too long.
    pub(crate) fn heard(&mut self, peer: &NodeId, verdicts: Verdicts, now: Tick) -> bool {
        let disagree =
            verdicts.of(Source::Gossip) == Some(Verdict::Up) && verdicts.of(Source::Transport) == Some(Verdict::Down);
        if !disagree {
            if !self.disagreeing.is_empty() {
                self.disagreeing.remove(peer);
            }
            return false;
        }
        let disagreeing = self.disagreeing.entry(peer.clone()).or_insert(Disagreeing { since: now, told: false });
        let is_late = now.millis_since(disagreeing.since) > DISAGREEMENT_MS;
        let is_news = is_late && !disagreeing.told;
        disagreeing.told = is_late;
        is_news
    }

    pub(crate) fn forget(&mut self, peer: &NodeId) {
        self.changing.remove(peer);
        self.disagreeing.remove(peer);
    }

    /// Returns whether nobody is watched.
    pub(crate) fn is_idle(&self) -> bool {
        self.changing.is_empty() && self.disagreeing.is_empty()
    }

    /// Drops whoever has calmed down.
    pub(crate) fn tidy(&mut self, now: Tick) {
        self.changing.retain(|_peer, changing| {
            changing.times.back().is_some_and(|last| now.millis_since(*last) <= FLAP_WINDOW_MS)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_calmed_down_is_no_longer_watched() {
        let peer: NodeId = "a".parse().expect("a valid name");
        let mut watch = Watch::default();
        assert!(!watch.changed(&peer, Tick::from_millis(0)));
        watch.tidy(Tick::from_millis(FLAP_WINDOW_MS));
        assert!(!watch.is_idle());
        watch.tidy(Tick::from_millis(FLAP_WINDOW_MS + 1));
        assert!(watch.is_idle());
    }
}
