//! Which peers are welcome, and in what order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::candidates::{Candidate, Candidates};
use crate::group::{Demand, name_hash};
use crate::shared::Local;
use crate::{Http3Hint, Peer};

/// Zones are told apart from this many peers on.
const ZONE_PEERS_MIN: usize = 6;

/// Peers that a filter holds to be equally welcome.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) peers: Vec<usize>,
    /// Share of the picks that start here; the parts after it are fallbacks.
    pub(crate) share: f64,
    pub(crate) is_preferred: bool,
    pub(crate) demand: Demand,
}

impl Part {
    pub(crate) const fn whole(peers: Vec<usize>) -> Self {
        Self { peers, share: 1.0, is_preferred: true, demand: Demand::Nothing }
    }

    /// Splits the part into those that are preferred, which get all the picks, and the fallback.
    fn prefer(self, is_welcome: impl Fn(usize) -> bool) -> Vec<Self> {
        let (first, rest): (Vec<usize>, Vec<usize>) = self.peers.iter().partition(|index| is_welcome(**index));
        if first.is_empty() {
            // Nothing to prefer: the fallback takes over, as what it is.
            return vec![Self { peers: rest, is_preferred: false, ..self }];
        }
        vec![Self { peers: first, ..self }, Self { peers: rest, share: 0.0, is_preferred: false, ..self }]
    }
}

/// Which peers a balancer prefers, before its chooser chooses; each step splits what the one before has made.
///
/// The order is that of the calls: `Filters::none().tiered().prefer_http3()` takes HTTP/3 peers of the best tier, then
/// the others of that tier, then the next tier.
#[derive(Debug, Default)]
pub struct Filters(Vec<Box<dyn Filter>>);

impl Filters {
    /// Returns the filters that let every peer through alike.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Prefers lower tiers: the next one is used when no peer of the ones before is usable.
    #[must_use]
    pub fn tiered(self) -> Self {
        self.with(Tiered)
    }

    /// Prefers the caller's own zone, as far as it has its share of the peers: callers are taken to be spread evenly
    /// over the zones, and what a zone has too few peers for goes to zones that have more than enough. Does nothing
    /// with fewer than 6 peers, or when the caller's zone has none.
    #[must_use]
    pub fn zone_aware(self) -> Self {
        self.with(ZoneAware)
    }

    /// Prefers a subset of `size` peers, such that all callers together use all peers about alike and a change of one
    /// peer changes one peer of few subsets. Best with slots for callers and peers; without, it is drawn by name.
    #[must_use]
    pub fn subset(self, size: usize) -> Self {
        self.with(Subset(size))
    }

    /// Prefers peers that advertise HTTP/3, or have proved to speak it, and to which it is not broken now.
    #[must_use]
    pub fn prefer_http3(self) -> Self {
        self.with(Preferred::Http3)
    }

    /// Prefers peers that `is_welcome` says yes to. It is asked when the peers change, not when one is picked.
    #[must_use]
    pub fn prefer(self, is_welcome: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        self.with(Preferred::By(Arc::new(is_welcome)))
    }

    pub(crate) fn list(&self) -> &[Box<dyn Filter>] {
        &self.0
    }

    fn with(mut self, filter: impl Filter + 'static) -> Self {
        self.0.push(Box::new(filter));
        self
    }
}

/// Splits the peers before a chooser chooses. It runs when peers change, not when one is picked.
pub(crate) trait Filter: Send + Sync + fmt::Debug {
    /// Returns the parts of `part`, the most welcome first. Indexes are those of `all`.
    fn split(&self, part: Part, all: &Candidates, local: &Local) -> Vec<Part>;
}

/// Lower tiers first: the next one is used when no peer of the one before is usable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiered;

impl Filter for Tiered {
    fn split(&self, part: Part, all: &Candidates, _local: &Local) -> Vec<Part> {
        let mut tiers: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for index in part.peers {
            tiers.entry(all.get(index).map_or(u8::MAX, |c| c.peer.tier)).or_default().push(index);
        }
        let rank = |(rank, peers)| Part {
            peers,
            share: if rank == 0 { part.share } else { 0.0 },
            is_preferred: part.is_preferred && rank == 0,
            demand: part.demand,
        };
        tiers.into_values().enumerate().map(rank).collect()
    }
}

type Predicate = dyn Fn(&Peer) -> bool + Send + Sync;

/// What a preferred peer is.
#[derive(Clone)]
pub(crate) enum Preferred {
    Http3,
    By(Arc<Predicate>),
}

impl fmt::Debug for Preferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http3 => "Preferred::Http3",
            Self::By(_) => "Preferred::By",
        })
    }
}

impl Filter for Preferred {
    fn split(&self, part: Part, all: &Candidates, _local: &Local) -> Vec<Part> {
        match self {
            Self::By(is_welcome) => part.prefer(|index| all.get(index).is_some_and(|c| is_welcome(c.peer))),
            Self::Http3 => {
                let may_speak = |candidate: Candidate<'_>| match candidate.peer.http3 {
                    Http3Hint::Advertised | Http3Hint::ForcedOn => true,
                    Http3Hint::ForcedOff => false,
                    Http3Hint::Absent => candidate.cell.http3_works(),
                };
                let mut parts = part.prefer(|index| all.get(index).is_some_and(may_speak));
                // What was learned since is asked for at each pick; a peer whose HTTP/3 is broken is a fallback.
                let everyone: Vec<usize> = parts.iter().flat_map(|half| half.peers.iter().copied()).collect();
                if let Some([first, rest]) = parts.get_mut(..) {
                    first.demand = Demand::Http3;
                    rest.peers = everyone;
                    rest.peers.sort_unstable();
                }
                parts
            }
        }
    }
}

/// The chooser's own zone as far as it has room for its callers (Envoy's zone-aware routing).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZoneAware;

impl Filter for ZoneAware {
    fn split(&self, part: Part, all: &Candidates, local: &Local) -> Vec<Part> {
        let zone_of = |index: usize| all.get(index).and_then(|candidate| candidate.peer.zone.clone());
        let mut zones: BTreeMap<Option<Arc<str>>, Vec<usize>> = BTreeMap::new();
        for index in &part.peers {
            zones.entry(zone_of(*index)).or_default().push(*index);
        }
        let count = part.peers.len();
        let Some(at_home) = local.zone.as_ref().and_then(|zone| zones.remove(&Some(Arc::clone(zone)))) else {
            return vec![part];
        };
        if count < ZONE_PEERS_MIN || zones.is_empty() {
            return vec![part];
        }
        // Callers are taken to be spread evenly over the zones.
        let fair = 1.0 / (zones.len() as f64 + 1.0);
        let of_peers = |peers: &Vec<usize>| peers.len() as f64 / count as f64;
        let home_share = (of_peers(&at_home) / fair).min(1.0);
        let room: f64 = zones.values().map(|peers| (of_peers(peers) - fair).max(0.0)).sum();
        let guest_share = |peers: &Vec<usize>| match room {
            room if room > 0.0 => (1.0 - home_share) * (of_peers(peers) - fair).max(0.0) / room,
            _ => 0.0,
        };
        let guests = zones.into_values().map(|peers| Part {
            share: part.share * guest_share(&peers),
            peers,
            is_preferred: false,
            demand: part.demand,
        });
        let home = Part { peers: at_home, share: part.share * home_share, ..part };
        std::iter::once(home).chain(guests).collect()
    }
}

/// As many peers as this node is to have connections to; the rest is a fallback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subset(pub(crate) usize);

impl Filter for Subset {
    fn split(&self, part: Part, all: &Candidates, local: &Local) -> Vec<Part> {
        if part.peers.len() <= self.0 {
            return vec![part];
        }
        let slots: Option<Vec<u32>> = part.peers.iter().map(|index| all.get(*index)?.peer.slot).collect();
        let mut order: Vec<(u64, usize)> = match (slots, local.slot) {
            // Ringsteady (Ward, ACM Queue 2022): callers and peers stand on a ring at the van der Corput points of
            // their slots, and each caller takes the peers that follow it. A change of one peer moves one peer.
            (Some(slots), Some(slot)) => {
                let from = slot.reverse_bits();
                let ahead = slots.iter().map(|theirs| u64::from(theirs.reverse_bits().wrapping_sub(from)));
                ahead.zip(part.peers.iter().copied()).collect()
            }
            // Rendezvous: each caller draws its own order.
            _ => {
                let drawn = |index: &usize| {
                    let name = all.get(*index).map_or(0, |candidate| name_hash(candidate.peer.id.as_str()));
                    (crate::entropy::mix(name ^ name_hash(&local.name)), *index)
                };
                part.peers.iter().map(drawn).collect()
            }
        };
        order.sort_unstable();
        let mine: Vec<usize> = order.iter().take(self.0).map(|(_, index)| *index).collect();
        part.prefer(|index| mine.contains(&index))
    }
}
