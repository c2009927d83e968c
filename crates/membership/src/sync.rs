//! Delta sync: two tables that differ are compared by buckets, and only the difference travels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::{MetadataVersion, NodeId};

use crate::claim::Claim;
use crate::class::Class;
use crate::core::Core;
use crate::exchange::Output;
use crate::wire::{self, Update};

/// A table that has not changed for so long holds no news that are still on their way.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

/// Least time between two syncs that a node starts.
const SYNC_PAUSE: Duration = Duration::from_millis(100);

/// Right after it joined, a node learns what everybody else knows: it does not pass that on.
const NEWCOMER: Duration = Duration::from_secs(1);

/// Largest run of updates in one message of a sync, in bytes: small enough to be paced.
const RUN_BYTES: usize = 64 * 1024;

/// What the node remembers of its syncs.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    /// Members whose last digest did not match.
    differing: BTreeSet<NodeId>,
    last_start: Option<Instant>,
    /// Members that were asked for what differs, and have not answered.
    asked: BTreeSet<NodeId>,
    newcomer_until: Option<Instant>,
}

impl Syncs {
    pub(crate) fn forget(&mut self, peer: &NodeId) {
        self.differing.remove(peer);
        self.asked.remove(peer);
    }
}

impl Core {
    /// The other side has everything this node has.
    pub(crate) fn on_digest_match(&mut self, peer: &NodeId) {
        self.syncs.differing.remove(peer);
        self.outbox.settle(peer);
    }

    /// The other side's table differs. News may be on their way: it counts if the table has been quiet, or if it
    /// is the second time.
    pub(crate) fn on_digest_mismatch(&mut self, peer: &NodeId, now: Instant) {
        self.stats.digest_mismatches += 1;
        let is_quiet = now.saturating_duration_since(self.changed_at) >= QUIET;
        let is_second = !self.syncs.differing.insert(peer.clone());
        let too_soon = self.syncs.last_start.is_some_and(|at| now.saturating_duration_since(at) < SYNC_PAUSE);
        if (is_quiet || is_second) && !too_soon {
            self.syncs.differing.remove(peer);
            self.start_sync(peer, now);
        }
    }

    /// Learns from the first member met what everybody knows.
    pub(crate) fn start_first_sync(&mut self, peer: &NodeId, now: Instant) {
        self.syncs.newcomer_until = Some(now + NEWCOMER);
        self.start_sync(peer, now);
    }

    pub(crate) fn start_sync(&mut self, peer: &NodeId, now: Instant) {
        self.syncs.last_start = Some(now);
        self.stats.syncs += 1;
        self.syncs.asked.insert(peer.clone());
        self.outputs.push_back(Output::SyncStarted { peer: peer.clone() });
        let bucket_sums = self.table.bucket_sums().to_vec();
        self.send_sync(peer, ProtoBody::SyncStart(proto::SyncStart { bucket_sums }), now);
    }

    /// Answers with what is in the buckets that differ, without records.
    pub(crate) fn on_sync_start(&mut self, from: &NodeId, their_sums: &[u64], now: Instant) {
        if self.outbox.has_syncs(from) {
            // What it asked for before is still to be sent.
            self.outbox.shed(Class::Sync);
            return;
        }
        let sums = self.table.bucket_sums().iter().zip(their_sums).enumerate();
        let differing = sums.filter(|(_, (own, their))| own != their).map(|(bucket, _)| (bucket, Vec::new()));
        let mut held: BTreeMap<usize, Vec<proto::Update>> = differing.collect();
        for (node, _) in self.table.iter() {
            let Some(entries) = held.get_mut(&self.table.bucket_of(node)) else { continue };
            let state = self.table.update_of(node).map(|update| Update { record: Bytes::new(), ..update });
            entries.extend(state.map(|update| wire::encode_update(&update)));
        }
        self.send_diffs(from, held, now);
    }

    /// Sends entries by bucket, in messages well within the limit.
    fn send_diffs(&mut self, to: &NodeId, held: BTreeMap<usize, Vec<proto::Update>>, now: Instant) {
        let mut diff = proto::SyncDiff::default();
        let mut used = 0;
        for (bucket, entries) in held {
            if used > RUN_BYTES {
                self.send_sync(to, ProtoBody::SyncDiff(std::mem::take(&mut diff)), now);
                used = 0;
            }
            used += entries.iter().map(wire::packed_len).sum::<usize>();
            diff.entries.extend(entries);
            // There are 256 buckets.
            diff.buckets.extend(u32::try_from(bucket));
        }
        if !diff.buckets.is_empty() {
            self.send_sync(to, ProtoBody::SyncDiff(diff), now);
        }
    }

    /// Sends what the other side lacks, and asks for what this one lacks.
    pub(crate) fn on_sync_diff(&mut self, from: &NodeId, buckets: &[usize], entries: Vec<Update>, now: Instant) {
        let buckets: BTreeSet<usize> = buckets.iter().copied().collect();
        let theirs: BTreeMap<NodeId, Update> = entries.into_iter().map(|entry| (entry.node.clone(), entry)).collect();
        let mut wanted = Vec::new();
        let mut departed = Vec::new();
        for (node, entry) in &theirs {
            let known = self.version_of(node);
            let is_newer = known.is_none_or(|known| is_newer(entry.claim, entry.metadata_version, known));
            if is_newer && !entry.claim.standing.is_final() {
                wanted.push(node.to_string());
            } else if is_newer && known.is_some() {
                departed.push(entry.clone());
            }
        }
        let mut lacking = Vec::new();
        for (node, entry) in self.table.iter().filter(|(node, _)| buckets.contains(&self.table.bucket_of(node))) {
            let claim = entry.claim();
            let lacks = match theirs.get(node) {
                Some(their) => is_newer(claim, entry.metadata_version, (their.claim, their.metadata_version)),
                None => !claim.standing.is_final(),
            };
            if lacks {
                lacking.extend(self.table.news_of(node, now).map(|update| wire::encode_update(&update)));
            }
        }
        let learned = departed.len();
        self.learn_from_sync(from, departed, now);
        if wanted.is_empty() {
            self.end_sync(from, learned);
        }
        self.send_records(from, lacking, wanted, now);
    }

    pub(crate) fn on_sync_records(&mut self, from: &NodeId, updates: Vec<Update>, wanted: &[NodeId], now: Instant) {
        self.end_sync(from, updates.len());
        self.learn_from_sync(from, updates, now);
        // Each once: a list of one name ten thousand times asks for no more than the name.
        let wanted: BTreeSet<&NodeId> = wanted.iter().collect();
        let known = wanted.into_iter().filter_map(|node| self.table.news_of(node, now));
        let asked: Vec<proto::Update> = known.map(|update| wire::encode_update(&update)).collect();
        if !asked.is_empty() {
            self.send_records(from, asked, Vec::new(), now);
        }
    }

    fn end_sync(&mut self, with: &NodeId, updates: usize) {
        if self.syncs.asked.remove(with) {
            self.outputs.push_back(Output::SyncEnded { peer: with.clone(), updates });
        }
    }

    fn learn_from_sync(&mut self, from: &NodeId, updates: Vec<Update>, now: Instant) {
        let forward = self.syncs.newcomer_until.is_none_or(|until| now > until);
        for update in updates {
            self.learn_one(Some(from), update, forward, now);
        }
    }

    fn send_records(&mut self, to: &NodeId, updates: Vec<proto::Update>, wanted: Vec<String>, now: Instant) {
        let mut runs = wire::pack(updates, RUN_BYTES);
        let last = runs.pop().unwrap_or_default();
        for run in runs {
            let records = proto::SyncRecords { updates: run, wanted: Vec::new() };
            self.send_sync(to, ProtoBody::SyncRecords(records), now);
        }
        if !last.is_empty() || !wanted.is_empty() {
            let records = proto::SyncRecords { updates: last, wanted };
            self.send_sync(to, ProtoBody::SyncRecords(records), now);
        }
    }

    fn version_of(&self, node: &NodeId) -> Option<(Claim, MetadataVersion)> {
        self.table.get(node).map(|entry| (entry.claim(), entry.metadata_version))
    }
}

fn is_newer(claim: Claim, version: MetadataVersion, than: (Claim, MetadataVersion)) -> bool {
    claim > than.0 || (claim.boot_epoch, version) > (than.0.boot_epoch, than.1)
}
