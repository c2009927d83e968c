//! What can be asked about a mesh.

use std::collections::BTreeMap;
use std::time::Duration;

use membership::Core;
use mesh_types::{MemberState, Membership, NodeId};

use super::Mesh;
use crate::log::LogEntry;

impl Mesh {
    /// Returns whether all nodes run, and every one sees all as alive.
    #[must_use]
    pub fn all_see_all(&self) -> bool {
        let nodes = self.nodes.len();
        self.running().count() == nodes && self.running().all(|(_, core)| core.alive() == nodes)
    }

    /// Returns whether every running node holds `number` in `state`.
    #[must_use]
    pub fn all_hold(&self, number: usize, state: MemberState) -> bool {
        self.running().all(|(_, core)| core.state_of(&self.nodes[number].id) == Some(state))
    }

    /// Returns whether the tables of all running nodes are equal, by digest.
    #[must_use]
    pub fn digests_agree(&self) -> bool {
        let mut digests: Vec<u64> = self.running().map(|(_, core)| core.digest()).collect();
        digests.dedup();
        digests.len() <= 1
    }

    /// Returns a running node's members.
    #[must_use]
    pub fn view(&self, number: usize) -> Option<Membership> {
        self.nodes[number].core.as_ref().map(Core::snapshot)
    }

    /// Returns a running node's core.
    #[must_use]
    pub fn core(&self, number: usize) -> Option<&Core> {
        self.nodes[number].core.as_ref()
    }

    /// Returns a node's name.
    #[must_use]
    pub fn id(&self, number: usize) -> &NodeId {
        &self.nodes[number].id
    }

    /// Returns how often a node has been started or killed: views of different lives cannot be compared.
    #[must_use]
    pub fn life(&self, number: usize) -> u32 {
        self.nodes[number].life
    }

    /// Returns how many nodes there are, running or not.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether `verifier` has told `accuser` that `subject` does not answer it.
    #[must_use]
    pub fn has_denied(&self, verifier: &NodeId, accuser: &NodeId, subject: &NodeId) -> bool {
        self.denials.contains(&(self.number_of(verifier), self.number_of(accuser), self.number_of(subject)))
    }

    /// Returns how many records of newer nodes others have passed on without what they do not know.
    #[must_use]
    pub const fn stripped_records(&self) -> u64 {
        self.stripped_records
    }

    /// Returns how old news were at most when they reached a node, as the nodes themselves have it, since this was asked last.
    pub fn take_oldest_news(&mut self) -> Duration {
        std::mem::take(&mut self.oldest_news)
    }

    /// Returns everything that happened, if it was to be kept.
    #[must_use]
    pub fn log(&self) -> &[LogEntry] {
        &self.log.entries
    }

    /// Returns a hash over everything that happened: equal for equal runs.
    #[must_use]
    pub fn log_hash(&self) -> u64 {
        self.log.hash()
    }

    /// Returns how often each kind of event happened.
    #[must_use]
    pub const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.log.counts
    }

    /// Returns how often nodes have held this one for unreachable or dead.
    #[must_use]
    pub fn times_declared(&self, number: usize) -> u64 {
        self.log.declared.get(&self.nodes[number].id).copied().unwrap_or(0)
    }

    /// Returns how many packets were sent.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.network.sent()
    }

    /// Returns how many bytes were sent, without what QUIC and IP add.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.network.sent_bytes()
    }

    /// Returns the time since the start of the run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.started
    }

    /// Returns the running nodes, by number.
    pub fn running(&self) -> impl Iterator<Item = (usize, &Core)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.core.as_ref()?)))
    }
}
