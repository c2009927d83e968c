//! What membership says of peers.

use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, NodeId};

use crate::cell::Cell;
use crate::evidence::{Source, Verdict};
use crate::metadata::{has_prefix, keys};
use crate::options::TrackError;
use crate::time::{Moment, Tick};
use crate::tracker::Tracker;
use crate::word::Word;

/// What gossip says of one life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GossipNews {
    /// Which life.
    pub boot_epoch: BootEpoch,
    /// Its refutation counter.
    pub incarnation: Incarnation,
    /// Whether it lives.
    pub state: MemberState,
}

/// What came of applying a membership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Members that were recorded.
    pub recorded: usize,
    /// Peers that membership told of once, and no longer: recorded as having left.
    pub departed: usize,
    /// Members that could not be recorded whole.
    pub refused: usize,
    /// Why the first of them could not.
    pub first_refusal: Option<TrackError>,
}

impl Tracker {
    /// Records what gossip says of `peer`, and returns whether it counts: what is said of an earlier life or
    /// incarnation does not, nor does a sign of life of one that is dead or has left.
    ///
    /// News of a newer life or incarnation that is not over clears what others said against the older one.
    ///
    /// # Errors
    /// As [`Tracker::handle`].
    pub fn record_gossip(&self, peer: &NodeId, news: GossipNews, at: Moment) -> Result<bool, TrackError> {
        self.with(peer, at, |cell| self.apply_news(cell, news, at.tick))
    }

    fn apply_news(&self, cell: &Cell, news: GossipNews, at: Tick) -> bool {
        let mut cold = cell.cold();
        let life = (news.boot_epoch, news.incarnation);
        let is_newer = cold.life.is_none_or(|known| life > known);
        let known_word = cell.word(Source::Gossip);
        let is_over = matches!(news.state, MemberState::Dead | MemberState::Left);
        if !is_newer {
            let is_late = cold.life != Some(life) || known_word.tick() > at;
            if is_late || known_word.is_final() {
                return false;
            }
        } else if !is_over && (cold.life.is_some() || known_word.is_final()) {
            cell.forgive(&self.rules.lifetimes, at);
        }
        cold.life = Some(life);
        // Under the lock: gossip has no hot path, and its words must come in the order of its lives.
        cell.store(
            Source::Gossip,
            match news.state {
                MemberState::Alive => Word::new(Verdict::Up, at),
                MemberState::Suspect => Word::new(Verdict::Degraded, at),
                MemberState::Unreachable => Word::new(Verdict::Down, at),
                MemberState::Dead | MemberState::Left => Word::last(at),
            },
        );
        true
    }

    /// Records all of `membership`: what it says of each member, its metadata, and who is no longer in it.
    ///
    /// Apply each change, and the same membership again before [`Freshness::gossip`](crate::Freshness) is over: what
    /// nobody confirms goes stale. A member that finds no room is refused, and the others are recorded.
    pub fn apply_membership(&self, membership: &Membership, at: Moment) -> Applied {
        let mut applied = Applied::default();
        for member in &membership.members {
            match self.apply_member(member, at) {
                Ok(()) => applied.recorded += 1,
                Err(refusal) => {
                    applied.refused += 1;
                    applied.first_refusal.get_or_insert(refusal);
                }
            }
        }
        for (peer, cell) in &self.read().peers {
            if membership.get(peer).is_none() && depart(cell, at.tick) {
                applied.departed += 1;
            }
        }
        applied
    }

    fn apply_member(&self, member: &Member, at: Moment) -> Result<(), TrackError> {
        self.with(&member.id, at, |cell| {
            let news =
                GossipNews { boot_epoch: member.boot_epoch, incarnation: member.incarnation, state: member.state };
            self.apply_news(cell, news, at.tick);
            self.describe(cell, member)
        })?
    }

    fn describe(&self, cell: &Cell, member: &Member) -> Result<(), TrackError> {
        let described = Some((member.boot_epoch, member.metadata_version));
        if cell.cold().described == described {
            return Ok(());
        }
        let metadata = &member.metadata;
        let labels: Vec<_> =
            metadata.labels.iter().map(|(key, value)| (format!("{}{key}", keys::LABEL_PREFIX), value)).collect();
        let mut entries = vec![
            (keys::MESH_ROLE, metadata.role.as_str()),
            (keys::MESH_CLUSTER, metadata.cluster.as_str()),
            (keys::MESH_REGION, metadata.region.as_str()),
            (keys::MESH_VERSION, &*metadata.mesh_version),
            (keys::MESH_HTTP3, if metadata.http3_support { "true" } else { "false" }),
        ];
        entries.extend(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        // Labels that the node has dropped go; what others wrote stays.
        self.write(&member.id, cell, |key| !has_prefix(key, keys::LABEL_PREFIX), &entries)?;
        cell.cold().described = described;
        Ok(())
    }
}

/// Records that a peer is no longer a member, and returns whether that is news. Should it come back, whatever life
/// it is in is a new one.
fn depart(cell: &Cell, at: Tick) -> bool {
    let mut cold = cell.cold();
    let is_news = cold.life.take().is_some() && !cell.word(Source::Gossip).is_final();
    if is_news {
        cell.store(Source::Gossip, Word::last(at));
    }
    is_news
}
