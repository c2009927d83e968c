//! What happens between two snapshots, told as events.

use std::iter::Peekable;
use std::slice;
use std::sync::Arc;

use crate::emit;
use crate::events::{EventKind, Events, Ring};
use crate::evidence::Source;
use crate::metadata::keys;
use crate::snapshot::PeerHealth;
use crate::time::Moment;
use crate::watch::Watch;

/// What was told, and what is watched until it can be.
#[derive(Debug, Default)]
pub(crate) struct Story {
    watch: Watch,
    events: Ring,
}

impl Story {
    /// Returns whether nothing would be told of peers that stay as they are.
    pub(crate) fn is_idle(&self) -> bool {
        self.watch.is_idle()
    }

    pub(crate) fn since(&self, seq: u64) -> Events {
        self.events.since(seq)
    }

    /// Tells what is different between `old` and `new`, and returns whether anything is.
    pub(crate) fn tell(&mut self, old: &[PeerHealth], new: &[PeerHealth], now: Moment) -> bool {
        self.watch.tidy(now.tick);
        let mut has_changed = false;
        let mut old = old.iter().peekable();
        for peer in new {
            let known = self.catch_up(&mut old, peer, now, &mut has_changed);
            has_changed |= known.is_none_or(|known| !known.shows_as(peer));
            self.compare(known, peer, now);
        }
        for gone in old {
            has_changed = true;
            self.gone(gone, now);
        }
        has_changed
    }

    /// Returns `peer` as it was, and tells who before it is gone.
    fn catch_up<'a>(
        &mut self,
        old: &mut Peekable<slice::Iter<'a, PeerHealth>>,
        peer: &PeerHealth,
        now: Moment,
        has_changed: &mut bool,
    ) -> Option<&'a PeerHealth> {
        loop {
            let next = *old.peek()?;
            if Arc::ptr_eq(&next.facts, &peer.facts) || next.facts.id == peer.facts.id {
                return old.next();
            }
            if next.facts.id > peer.facts.id {
                return None;
            }
            *has_changed = true;
            self.gone(next, now);
            old.next();
        }
    }

    fn gone(&mut self, peer: &PeerHealth, now: Moment) {
        self.watch.forget(&peer.facts.id);
        self.events.push(now, peer, EventKind::Gone, None);
    }

    fn compare(&mut self, known: Option<&PeerHealth>, peer: &PeerHealth, now: Moment) {
        let id = &peer.facts.id;
        match known {
            None => self.events.push(now, peer, EventKind::Appeared { state: peer.state }, None),
            Some(known) if known.state != peer.state => {
                let (from, to, source) = (known.state, peer.state, peer.decided_by);
                self.events.push(now, peer, EventKind::Changed { from, to, source }, reason(known, peer));
                emit::transition(from, to, source);
                if self.watch.changed(id, now.tick) {
                    self.anomaly(peer, EventKind::Flapping, now);
                }
            }
            Some(_same) => {}
        }
        if self.watch.heard(id, peer.verdicts, now.tick) {
            self.anomaly(peer, EventKind::Disagreement, now);
        }
        if peer.verdicts.is_stale() && known.is_none_or(|known| !known.verdicts.is_stale()) {
            self.anomaly(peer, EventKind::Stale, now);
        }
    }

    fn anomaly(&mut self, peer: &PeerHealth, kind: EventKind, now: Moment) {
        self.events.push(now, peer, kind, None);
        emit::anomaly(kind);
    }
}

/// Returns why the peer that was as `known` is as `peer`, if it was disconnected meanwhile.
fn reason(known: &PeerHealth, peer: &PeerHealth) -> Option<Box<str>> {
    let is_lost = peer.decided_by == Some(Source::Lease) && !peer.is_healthy();
    let is_news = peer.last_disconnect > known.last_disconnect;
    let reason = peer.facts.metadata.get(keys::DISCONNECT_REASON);
    reason.filter(|_reason| is_lost && is_news).map(Box::from)
}
