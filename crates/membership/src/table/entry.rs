//! What is known of one member, in few bytes: every node has one of these for every member.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_types::{BootEpoch, Incarnation, MetadataVersion, NodeId, NodeMetadata};

use crate::claim::{Claim, Standing};
use crate::record::Record;

/// What is known of one member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    /// `None` only for a tombstone: the record has been dropped, or was never seen.
    pub(crate) record: Option<Arc<Record>>,
    boot_epoch: BootEpoch,
    incarnation: Incarnation,
    /// 0 while no record of this life has been seen.
    pub(crate) metadata_version: MetadataVersion,
    pub(super) last_seen: Moment,
    /// When the last news of it were first said, as this node's clock has it.
    pub(super) said_at: Moment,
    /// In nanoseconds; the highest number for none.
    rtt_ns: u64,
    rare: Option<Box<Rare>>,
    standing: Standing,
    /// Whether it departed so long ago that nobody is shown it any more.
    pub(crate) is_hidden: bool,
}

const _: () = assert!(size_of::<Entry>() <= 88, "a large mesh has a hundred million of them in all");

/// What few members have.
#[derive(Debug, Default)]
struct Rare {
    /// Evidence of an unreachable or dead claim: accuser, then confirmers.
    witnesses: Vec<NodeId>,
    /// What others say of it that is not believed yet.
    rumour: Option<Rumour>,
}

/// That a member is dead, though it is alive as far as this node knows.
#[derive(Debug)]
pub(crate) struct Rumour {
    pub(crate) claim: Claim,
    pub(crate) witnesses: Vec<NodeId>,
    /// When it is believed, unless the member has denied it.
    pub(crate) believed_at: Instant,
}

/// A moment, in nanoseconds after the table was made; before it if negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(i64);

impl Moment {
    pub(super) const UNKNOWN: Self = Self(i64::MIN);

    pub(super) fn of(at: Instant, made: Instant) -> Self {
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        match at.checked_duration_since(made) {
            Some(after) => Self(nanos(after)),
            None => Self(-nanos(made.saturating_duration_since(at))),
        }
    }

    /// Returns the moment; `None` if it is not known.
    pub(super) fn in_time_of(self, made: Instant) -> Option<Instant> {
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        match self {
            Self::UNKNOWN => None,
            Self(0..) => made.checked_add(distance),
            Self(_) => made.checked_sub(distance),
        }
    }
}

impl Entry {
    /// Makes the entry of a member that nothing is known of but this.
    pub(super) fn new(node: NodeId, claim: Claim, last_seen: Moment) -> Self {
        Self {
            node,
            record: None,
            boot_epoch: claim.boot_epoch,
            incarnation: claim.incarnation,
            metadata_version: MetadataVersion(0),
            last_seen,
            said_at: Moment::UNKNOWN,
            rtt_ns: u64::MAX,
            rare: None,
            standing: claim.standing,
            is_hidden: false,
        }
    }

    /// Returns what the mesh holds of its life.
    pub(crate) const fn claim(&self) -> Claim {
        Claim { boot_epoch: self.boot_epoch, incarnation: self.incarnation, standing: self.standing }
    }

    pub(super) const fn set_claim(&mut self, claim: Claim) {
        (self.boot_epoch, self.incarnation, self.standing) = (claim.boot_epoch, claim.incarnation, claim.standing);
    }

    /// Returns whether it is alive.
    pub(crate) const fn is_alive(&self) -> bool {
        matches!(self.standing, Standing::Alive)
    }

    /// Returns its smoothed round trip, once it has been probed.
    pub(crate) const fn rtt(&self) -> Option<Duration> {
        if self.rtt_ns == u64::MAX { None } else { Some(Duration::from_nanos(self.rtt_ns)) }
    }

    pub(super) fn set_rtt(&mut self, rtt: Option<Duration>) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1);
        self.rtt_ns = rtt.map_or(u64::MAX, nanos);
    }

    /// Returns the evidence of an unreachable or dead claim: accuser, then confirmers.
    pub(crate) fn witnesses(&self) -> &[NodeId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.witnesses)
    }

    /// Returns what others say of it that is not believed yet.
    pub(crate) fn rumour(&self) -> Option<&Rumour> {
        self.rare.as_ref()?.rumour.as_ref()
    }

    pub(super) fn rumour_mut(&mut self) -> Option<&mut Rumour> {
        self.rare.as_mut()?.rumour.as_mut()
    }

    pub(super) fn set_rumour(&mut self, rumour: Rumour) {
        self.rare.get_or_insert_default().rumour = Some(rumour);
    }

    pub(super) fn forget_rumour(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.rumour = None;
        }
    }

    /// Sets the evidence of its claim.
    pub(super) fn set_witnesses(&mut self, witnesses: Vec<NodeId>) {
        let rumour = self.rare.take().and_then(|rare| rare.rumour);
        if !witnesses.is_empty() || rumour.is_some() {
            self.rare = Some(Box::new(Rare { witnesses, rumour }));
        }
    }

    /// Returns what it says of itself, shared.
    pub(crate) fn metadata(&self) -> Option<&Arc<NodeMetadata>> {
        self.record.as_ref().map(|record| &record.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_and_after_the_table_was_made_is_that_moment_again() {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let made = Instant::now() + Duration::from_secs(1_000);
        for at in [made - Duration::from_nanos(999_999_999_999), made, made + Duration::from_nanos(1_234_567_891)] {
            assert_eq!(Moment::of(at, made).in_time_of(made), Some(at));
        }
        assert_eq!(Moment::UNKNOWN.in_time_of(made), None);
    }
}
