//! The table of members: what is known of each, merged from all that is said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_proto::SYNC_BUCKETS;
use mesh_types::{MetadataVersion, NodeId, NodeMetadata};
use twox_hash::XxHash64;

use crate::archive::{Archive, NamedRecord};
use crate::claim::{Claim, Standing};
use crate::record::Record;
use crate::suspicion::quorum;
use crate::wire::{Update, UpdateError};

mod entries;
mod entry;

use entries::Entries;
use entry::Moment;
pub(crate) use entry::{Entry, Rumour};

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) before: Option<Claim>,
    pub(crate) after: Claim,
    /// Whether the record was replaced by a newer one.
    pub(crate) new_record: bool,
    /// Whether the update is behind what the table holds.
    pub(crate) is_behind: bool,
}

impl Merged {
    /// Whether the update brought anything new.
    pub(crate) fn is_news(&self) -> bool {
        self.new_record || self.before != Some(self.after)
    }
}

/// All entries, the local node's included, with their digest.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the local node said of itself when it started.
    own: Arc<NodeMetadata>,
    made: Instant,
    /// Where records are kept that other cores hold too.
    archive: Option<Archive>,
    hash_seed: u64,
    entries: Entries,
    alive: usize,
    buckets: Vec<u64>,
    digest: u64,
    max_members: usize,
}

impl Table {
    /// Makes the table of a node that says this of itself, for members of the same cluster.
    pub(crate) fn new(own: Arc<NodeMetadata>, archive: Option<Archive>, max_members: usize, now: Instant) -> Self {
        let hash_seed = XxHash64::oneshot(0, own.cluster.as_str().as_bytes());
        Self {
            own,
            made: now,
            archive,
            hash_seed,
            entries: Entries::default(),
            alive: 0,
            buckets: vec![0; SYNC_BUCKETS],
            digest: 0,
            max_members,
        }
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    /// Takes note of a sign of life; returns whether the member is known.
    pub(crate) fn saw(&mut self, node: &NodeId, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(node) else { return false };
        entry.last_seen = Moment::of(now, self.made);
        true
    }

    /// Replaces the round trip of a member by what `next` makes of it; returns whether the member is known.
    pub(crate) fn set_rtt(&mut self, node: &NodeId, next: impl FnOnce(Option<Duration>) -> Duration) -> bool {
        let Some(entry) = self.entries.get_mut(node) else { return false };
        entry.set_rtt(Some(next(entry.rtt())));
        true
    }

    /// Returns when this node last had a sign of life of a member.
    pub(crate) fn last_seen(&self, entry: &Entry) -> Instant {
        entry.last_seen.in_time_of(self.made).unwrap_or(self.made)
    }

    /// Returns when the last news of a member were first said, by this node's clock; `None` if that is not known.
    pub(crate) fn said_at(&self, node: &NodeId) -> Option<Instant> {
        self.entries.get(node)?.said_at.in_time_of(self.made)
    }

    /// Returns the entries by ascending name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.iter().map(|entry| (&entry.node, entry))
    }

    /// Returns the names of the members that are alive, the local node's included, ascending.
    pub(crate) fn living(&self) -> impl Iterator<Item = &NodeId> + Clone {
        self.entries.iter().filter(|entry| entry.is_alive()).map(|entry| &entry.node)
    }

    /// Returns how many members are known, however long ago they departed.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn standing(&self, node: &NodeId) -> Option<Standing> {
        self.entries.get(node).map(|entry| entry.claim().standing)
    }

    /// Number of members that are alive, the local node included.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Number of members that could confirm a verdict on `subject`: alive, and neither it nor its accuser.
    pub(crate) fn electorate(&self, subject: &NodeId) -> usize {
        let subject_alive = usize::from(self.standing(subject) == Some(Standing::Alive));
        self.alive.saturating_sub(subject_alive + 1)
    }

    /// Sum over the entries that are alive or unreachable: equal tables have equal digests, in any order.
    /// Departed members do not count, so that forgetting them at different times makes no difference.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn bucket_sums(&self) -> &[u64] {
        &self.buckets
    }

    pub(crate) fn bucket_of(&self, node: &NodeId) -> usize {
        // The remainder is below 256.
        usize::try_from(XxHash64::oneshot(self.hash_seed, node.as_str().as_bytes()) % (SYNC_BUCKETS as u64))
            .unwrap_or_default()
    }

    /// Returns the entry as an update to send, with its record if there is one.
    pub(crate) fn update_of(&self, node: &NodeId) -> Option<Update> {
        let entry = self.entries.get(node)?;
        let record = || entry.record.as_ref().map(|record| record.bytes.clone()).unwrap_or_default();
        // A rumour is passed on as it came, so that it reaches whom it is about; everybody has the record.
        let (claim, witnesses, record) = match entry.rumour() {
            Some(rumour) => (rumour.claim, rumour.witnesses.as_slice(), Bytes::new()),
            None => (entry.claim(), entry.witnesses(), record()),
        };
        Some(Update {
            node: node.clone(),
            claim,
            // A tombstone without a record has no version, but a message cannot say so.
            metadata_version: entry.metadata_version.max(MetadataVersion(1)),
            record,
            witnesses: witnesses.to_vec(),
            age: None,
        })
    }

    /// Returns the same, with how long ago it was first said.
    pub(crate) fn news_of(&self, node: &NodeId, now: Instant) -> Option<Update> {
        let said_at = self.said_at(node);
        Some(Update { age: said_at.map(|at| now.saturating_duration_since(at)), ..self.update_of(node)? })
    }

    /// Takes note of when the last news of a member were first said.
    pub(crate) fn set_said_at(&mut self, node: &NodeId, at: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.said_at = at.map_or(Moment::UNKNOWN, |at| Moment::of(at, self.made));
        }
    }

    /// Merges what is said of a member. Idempotent; the order of updates does not matter.
    pub(crate) fn merge(&mut self, update: Update, now: Instant) -> Result<Merged, UpdateError> {
        let Some(known) = self.entries.get(&update.node) else {
            return self.insert(update, now);
        };
        let before = known.claim();
        let known_version = (before.boot_epoch, known.metadata_version);
        let said_version = (update.claim.boot_epoch, update.metadata_version);
        let is_behind = update.claim < before || said_version < known_version;
        let newer_claim = update.claim > before;
        let new_life = update.claim.boot_epoch > before.boot_epoch;
        if newer_claim {
            self.check_verdict(&update, Some(before))?;
        }
        let newer_version = said_version > known_version;
        let lacks_record = known.record.is_none();
        // A tombstone takes its record back, so that its node can be told; but never one of an earlier life.
        let wants_record = newer_version || lacks_record && (newer_claim || said_version == known_version);
        let record = self.newer_record(&update, wants_record, newer_claim && (new_life || lacks_record))?;
        let unchanged = Merged { before: Some(before), after: before, new_record: false, is_behind };
        let seen = Moment::of(now, self.made);
        let Some(entry) = self.entries.get_mut(&update.node) else { return Ok(unchanged) };
        if record.is_none() && !newer_claim {
            return Ok(unchanged);
        }
        let mut merged = Merged { new_record: record.is_some() && (newer_version || newer_claim), ..unchanged };
        if let Some(record) = record {
            entry.record = Some(record.1);
            entry.metadata_version = update.metadata_version;
            if newer_version {
                entry.last_seen = seen;
            }
        } else if new_life {
            // A verdict on a life whose record never arrived here: only a tombstone remains.
            entry.record = None;
            entry.metadata_version = MetadataVersion(0);
        }
        if newer_claim {
            if update.claim.incarnation > before.incarnation || new_life {
                entry.last_seen = seen;
            }
            if new_life {
                entry.set_rtt(None);
            }
            entry.is_hidden = false;
            entry.forget_rumour();
            entry.set_claim(update.claim);
            entry.set_witnesses(update.witnesses);
            merged.after = update.claim;
        }
        let (after, version) = (entry.claim(), entry.metadata_version);
        self.account(&update.node, Some((before, known_version.1)), Some((after, version)));
        Ok(merged)
    }

    /// Takes note of a death that is believed later; returns whether it is news. It takes the place of an earlier rumour.
    pub(crate) fn hear_rumour(&mut self, update: Update, believed_at: Instant) -> Result<bool, UpdateError> {
        let Some(known) = self.entries.get(&update.node) else { return Ok(false) };
        if known.rumour().is_some_and(|rumour| rumour.claim >= update.claim) {
            return Ok(false);
        }
        self.check_verdict(&update, Some(known.claim()))?;
        let Some(entry) = self.entries.get_mut(&update.node) else { return Ok(false) };
        entry.set_rumour(Rumour { claim: update.claim, witnesses: update.witnesses, believed_at });
        Ok(true)
    }

    /// Returns when a rumour of a member is believed, if there is one.
    pub(crate) fn rumour_believed_at(&mut self, node: &NodeId) -> Option<&mut Instant> {
        self.entries.get_mut(node)?.rumour_mut().map(|rumour| &mut rumour.believed_at)
    }

    /// Whether there is no room for another member.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.max_members
    }

    fn insert(&mut self, update: Update, now: Instant) -> Result<Merged, UpdateError> {
        if self.is_full() {
            return Err(UpdateError::TableFull { members: self.entries.len() });
        }
        self.check_verdict(&update, None)?;
        // Without a record only a tombstone is of use: it keeps an old life from coming back.
        let record = self.newer_record(&update, true, true)?;
        let (node, record) = record.map_or((update.node, None), |(node, record)| (node, Some(record)));
        let mut entry = Entry::new(node.clone(), update.claim, Moment::of(now, self.made));
        if record.is_some() {
            entry.metadata_version = update.metadata_version;
        }
        entry.record = record;
        entry.set_witnesses(update.witnesses);
        self.account(&node, None, Some((update.claim, entry.metadata_version)));
        let new_record = entry.record.is_some();
        self.entries.insert(entry);
        Ok(Merged { before: None, after: update.claim, new_record, is_behind: false })
    }

    /// Hides a departed member and forgets its record; its tombstone stays.
    pub(crate) fn hide(&mut self, node: &NodeId) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.record = None;
            entry.is_hidden = true;
        }
    }

    /// Forgets a member altogether.
    pub(crate) fn remove(&mut self, node: &NodeId) {
        if let Some(entry) = self.entries.remove(node) {
            self.account(node, Some((entry.claim(), entry.metadata_version)), None);
        }
    }

    /// Decodes the update's record if it is `wanted`, and returns it with the name of its node; a missing one is an error if it
    /// is `required` and the member is not departed.
    fn newer_record(&self, update: &Update, wanted: bool, required: bool) -> Result<Option<NamedRecord>, UpdateError> {
        let required = required && !update.claim.standing.is_final();
        if !wanted {
            return Ok(None);
        }
        if update.record.is_empty() {
            return if required { Err(UpdateError::Missing { field: "record" }) } else { Ok(None) };
        }
        let node = update.node.clone();
        let (node, record) = match &self.archive {
            Some(archive) => archive.decode(node, &update.record, &self.own)?,
            None => (node, Arc::new(Record::decode(&update.record, &self.own)?)),
        };
        if record.metadata.cluster != self.own.cluster {
            return Err(UpdateError::Cluster { cluster: record.metadata.cluster.to_string() });
        }
        Ok(Some((node, record)))
    }

    /// Checks that a verdict comes with a quorum. Death may follow a verdict that is already known.
    fn check_verdict(&self, update: &Update, known: Option<Claim>) -> Result<(), UpdateError> {
        if matches!(update.claim.standing, Standing::Alive | Standing::Left) {
            return Ok(());
        }
        let confirmed = Claim { standing: Standing::Unreachable, ..update.claim };
        if known == Some(confirmed) {
            return Ok(());
        }
        let mut witnesses = update.witnesses.clone();
        witnesses.sort_unstable();
        witnesses.dedup();
        witnesses.retain(|witness| *witness != update.node);
        let needed = quorum(self.electorate(&update.node));
        // The first witness is the accuser.
        let confirmers = witnesses.len().saturating_sub(1);
        if witnesses.is_empty() || confirmers < needed {
            return Err(UpdateError::NoQuorum { confirmers, needed });
        }
        Ok(())
    }

    fn account(
        &mut self,
        node: &NodeId,
        before: Option<(Claim, MetadataVersion)>,
        after: Option<(Claim, MetadataVersion)>,
    ) {
        let alive = |state: Option<(Claim, _)>| usize::from(state.is_some_and(|s| s.0.standing == Standing::Alive));
        self.alive = self.alive + alive(after) - alive(before);
        let weight = |state: Option<(Claim, _)>| state.map_or(0, |(claim, version)| self.weight(node, claim, version));
        let change = weight(after).wrapping_sub(weight(before));
        let bucket = self.bucket_of(node);
        if let Some(sum) = self.buckets.get_mut(bucket) {
            *sum = sum.wrapping_add(change);
        }
        self.digest = self.digest.wrapping_add(change);
    }

    fn weight(&self, node: &NodeId, claim: Claim, version: MetadataVersion) -> u64 {
        let standing: u8 = match claim.standing {
            Standing::Alive => 1,
            Standing::Unreachable => 2,
            Standing::Dead | Standing::Left => return 0,
        };
        let mut bytes = Vec::with_capacity(node.as_str().len() + 25);
        bytes.extend_from_slice(node.as_str().as_bytes());
        bytes.extend_from_slice(&claim.boot_epoch.0.to_le_bytes());
        bytes.extend_from_slice(&claim.incarnation.0.to_le_bytes());
        bytes.extend_from_slice(&version.0.to_le_bytes());
        bytes.push(standing);
        XxHash64::oneshot(self.hash_seed, &bytes)
    }
}

/// Makes the update in which a node speaks of itself.
pub(crate) fn own_update(node: NodeId, claim: Claim, metadata_version: MetadataVersion, record: &Record) -> Update {
    Update { node, claim, metadata_version, record: Bytes::clone(&record.bytes), witnesses: Vec::new(), age: None }
}

#[cfg(test)]
mod tests;
