//! The state machine: what goes in, what comes out, and which timer is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, MetadataVersion, NodeId};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::archive::Archive;
use crate::claim::{Claim, Standing};
use crate::class::{Class, Queue};
use crate::event::{Event, Stats};
use crate::exchange::{Input, LocalNode, Output, StartError};
use crate::flaps::Flaps;
use crate::health::Health;
use crate::joining::Join;
use crate::options::Options;
use crate::outbox::Outbox;
use crate::overlay::Overlay;
use crate::probing::Prober;
use crate::profile::RttClass;
use crate::record::Record;
use crate::responses::Responses;
use crate::suspicion::Accusation;
use crate::sync::Syncs;
use crate::table::{Entry, Table, own_update};
use crate::user_events::UserEvents;
use crate::verification::Verification;
use crate::wire::{self, Body, Message, Rejected, Update};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Alone, looking for the mesh.
    Joining,
    /// Has met somebody.
    Running,
    /// Has said goodbye, or was superseded.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Flush,
    Probe,
    Join,
    Refresh,
    ProbeMissed(u64),
    ProbeForgotten(u64),
    Expected(NodeId),
    Compare,
    VerifierSilent(NodeId, u64, NodeId),
    Confirm(NodeId, u64),
    Verdict(NodeId, u64),
    VerificationFailed(NodeId, u64),
    VerificationForgotten(NodeId, u64),
    Death(NodeId, BootEpoch, Incarnation),
    Rumour(NodeId),
    HideDeparted(NodeId, BootEpoch),
    ForgetDeparted(NodeId, BootEpoch),
    UserEvents(NodeId),
}

/// The gossip protocol of one node.
///
/// After every call that takes `now`, drain [`Core::poll_output`] to `None`; call [`Input::Timeout`] when
/// [`Core::poll_timeout`] is due. `now` must not go back.
#[derive(Debug)]
pub struct Core {
    pub(crate) options: Options,
    pub(crate) rng: SmallRng,
    pub(crate) local: NodeId,
    pub(crate) own: Claim,
    pub(crate) own_version: MetadataVersion,
    pub(crate) own_record: Record,
    pub(crate) phase: Phase,
    pub(crate) table: Table,
    pub(crate) overlay: Overlay,
    pub(crate) links: BTreeSet<NodeId>,
    pub(crate) outbox: Outbox,
    pub(crate) prober: Prober,
    pub(crate) join: Join,
    pub(crate) health: Health,
    pub(crate) flaps: Flaps,
    pub(crate) responses: Responses,
    pub(crate) accusations: BTreeMap<NodeId, Accusation>,
    pub(crate) verifications: BTreeMap<(NodeId, u64), Verification>,
    pub(crate) syncs: Syncs,
    pub(crate) user_events: UserEvents,
    /// When which life of a member departed: its timers are set by that.
    pub(crate) departures: BTreeMap<NodeId, (Instant, BootEpoch)>,
    /// When which unreachable members are dead, unless they deny it.
    pub(crate) dooms: BTreeMap<NodeId, (Instant, Claim)>,
    pub(crate) timers: BTreeSet<(Instant, Timer)>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Stats,
    pub(crate) changed_at: Instant,
    version: u64,
}

impl Core {
    /// Starts a node that knows only itself. `seed` decides everything that is left to chance.
    ///
    /// # Errors
    /// An option or the metadata is not valid.
    pub fn new(local: LocalNode, options: Options, seed: u64, now: Instant) -> Result<Self, StartError> {
        Self::start(local, options, seed, None, now)
    }

    /// Starts a node likewise that keeps records in `archive`, with all other cores of the process that are given it.
    ///
    /// # Errors
    /// As [`Core::new`].
    pub fn sharing(
        archive: &Archive,
        local: LocalNode,
        options: Options,
        seed: u64,
        now: Instant,
    ) -> Result<Self, StartError> {
        Self::start(local, options, seed, Some(archive.clone()), now)
    }

    fn start(
        local: LocalNode,
        options: Options,
        seed: u64,
        archive: Option<Archive>,
        now: Instant,
    ) -> Result<Self, StartError> {
        options.validate()?;
        let LocalNode { id, boot_epoch, metadata } = local;
        let own_record =
            Record::encode(Arc::new(metadata)).map_err(|source| StartError::Metadata { node: id.clone(), source })?;
        let boot_epoch = boot_epoch.max(BootEpoch(1));
        let mut core = Self {
            rng: SmallRng::seed_from_u64(seed),
            own: Claim { boot_epoch, incarnation: Incarnation(0), standing: Standing::Alive },
            own_version: MetadataVersion(1),
            phase: Phase::Joining,
            table: Table::new(Arc::clone(&own_record.metadata), archive, options.max_members, now),
            own_record,
            overlay: Overlay::around(id.clone(), options.fanout),
            links: BTreeSet::new(),
            outbox: Outbox::new(options.link_rate()),
            prober: Prober::default(),
            join: Join::default(),
            health: Health::default(),
            flaps: Flaps::default(),
            responses: Responses::default(),
            accusations: BTreeMap::new(),
            verifications: BTreeMap::new(),
            syncs: Syncs::default(),
            user_events: UserEvents::default(),
            departures: BTreeMap::new(),
            dooms: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            changed_at: now,
            version: 1,
            local: id,
            options,
        };
        core.publish_self(Class::Membership, now);
        core.start_probing(now);
        core.schedule(now + core.options.metadata_refresh_period, Timer::Refresh);
        Ok(core)
    }

    /// Takes one input. Drain [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// Why the input was dropped; the core is as it was before.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Result<(), Rejected> {
        if self.phase == Phase::Stopped {
            return Ok(());
        }
        match input {
            Input::Message { from, bytes } => self.handle_message(from, bytes, now)?,
            Input::Timeout => self.handle_timeout(now),
            Input::LoopLag(lag) => self.on_loop_lag(lag, now),
            Input::LinkRtt { peer, rtt } => self.seed_rtt(peer, rtt),
            Input::Join(seeds) => self.start_join(seeds, now),
            Input::SetMetadata(metadata) => self.set_metadata(metadata, now)?,
            Input::Leave => self.leave(now),
        }
        Ok(())
    }

    /// Returns the next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase == Phase::Stopped {
            return None;
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Returns a number that changes whenever [`Core::snapshot`] would.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns all members as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Membership {
        let mut members = Vec::with_capacity(self.table.len());
        members.extend(self.table.iter().filter_map(|(node, entry)| self.member_of(node, entry)));
        Membership { version: self.version, local: self.local.clone(), members }
    }

    /// Returns the state of a member; `None` if it is not known.
    #[must_use]
    pub fn state_of(&self, node: &NodeId) -> Option<MemberState> {
        let entry = self.table.get(node)?;
        Some(self.state_in(node, entry))
    }

    /// Returns the life of a member that is known here.
    #[must_use]
    pub fn boot_epoch_of(&self, node: &NodeId) -> Option<BootEpoch> {
        self.table.get(node).map(|entry| entry.claim().boot_epoch)
    }

    /// Returns the version of what a member says of itself, as far as it is known here.
    #[must_use]
    pub fn metadata_version_of(&self, node: &NodeId) -> Option<MetadataVersion> {
        self.table.get(node).map(|entry| entry.metadata_version)
    }

    /// Returns who judged a member that is unreachable or dead: the accuser, then those who confirm it. Empty for others, and
    /// where the verdict came without its evidence.
    #[must_use]
    pub fn witnesses_of(&self, node: &NodeId) -> &[NodeId] {
        self.table.get(node).map_or(&[], Entry::witnesses)
    }

    /// Returns how many members are alive or suspected by this node alone, itself included.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.table.alive()
    }

    /// Returns the counts since the start.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Returns the local node's life, which a rejoin raises.
    #[must_use]
    pub const fn boot_epoch(&self) -> BootEpoch {
        self.own.boot_epoch
    }

    /// Returns the digest of the table: equal on two nodes that know the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.table.digest()
    }

    /// Returns how many updates wait to be sent or may be sent again, over all links.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.outbox.depth()
    }

    /// Returns how much waits to be sent and how much has been given up, by class.
    pub fn queues(&self) -> impl Iterator<Item = Queue> {
        Class::ALL.into_iter().map(|class| self.outbox.queue(class))
    }

    /// Returns how many user events wait for those before them: at most 64 a member.
    #[must_use]
    pub fn user_events_waiting(&self) -> usize {
        self.user_events.waiting()
    }

    /// Returns how long news wait for company before they are sent: 2 ms at rest, up to 50 ms while there are many.
    #[must_use]
    pub const fn flush_window(&self) -> Duration {
        self.outbox.window()
    }

    /// Returns how many links are of which class. Those whose round trip is not known yet are in none.
    pub fn links_by_class(&self) -> impl Iterator<Item = (RttClass, usize)> {
        let class_of = |link: &NodeId| self.table.get(link).and_then(Entry::rtt).map(RttClass::of);
        let count = move |class| self.links.iter().filter(|link| class_of(link) == Some(class)).count();
        RttClass::ALL.into_iter().map(move |class| (class, count(class)))
    }

    /// Returns how many timers are set: bounded by the members and the probes under way.
    #[must_use]
    pub fn timers_set(&self) -> usize {
        self.timers.len()
    }

    /// Returns the members that the overlay links this node to.
    #[must_use]
    pub const fn links(&self) -> &BTreeSet<NodeId> {
        &self.links
    }

    fn handle_message(&mut self, from: &NodeId, bytes: Bytes, now: Instant) -> Result<(), Rejected> {
        let Message { sender, body, bad_updates } = wire::decode(bytes)?;
        if sender != *from {
            return Err(Rejected::SenderMismatch { claimed: sender, link: from.clone() });
        }
        if !self.table.saw(from, now) {
            return Err(Rejected::UnknownSender { link: from.clone() });
        }
        for bad in bad_updates {
            self.reject_update(bad.node, &bad.error);
        }
        match body {
            Body::Probe(probe) => self.on_probe(from, probe, now),
            Body::Ack { sequence, digest, updates } => self.on_ack(from, sequence, digest, updates, now),
            Body::Flood { updates } => self.learn(from, updates, now),
            Body::VerifyRequest { accusation, subject, boot_epoch, incarnation } => {
                let accused = Claim { boot_epoch, incarnation, standing: Standing::Alive };
                self.on_verify_request(from, accusation, subject, accused, now);
            }
            Body::VerifyReply { accusation, subject, answered } => {
                self.on_verify_reply(from, accusation, &subject, answered, now);
            }
            Body::SyncStart { bucket_sums } => self.on_sync_start(from, &bucket_sums, now),
            Body::SyncDiff { buckets, entries } => self.on_sync_diff(from, &buckets, entries, now),
            Body::SyncRecords { updates, wanted } => self.on_sync_records(from, updates, &wanted, now),
            Body::UserEvent(event) => self.on_user_event(from, event, now)?,
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && self.phase != Phase::Stopped
        {
            let Some((_, timer)) = self.timers.pop_first() else { return };
            self.fire(timer, now);
        }
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Flush => self.flush(now),
            Timer::Probe => self.probe_next(now),
            Timer::Join => self.dial_seeds(now),
            Timer::Refresh => self.refresh(now),
            Timer::ProbeMissed(sequence) => self.on_probe_missed(sequence, now),
            Timer::ProbeForgotten(sequence) => self.forget_probe(sequence),
            Timer::Compare => self.compare_after_quiet(now),
            Timer::Expected(node) => self.on_probe_not_come(&node, now),
            Timer::VerifierSilent(subject, id, verifier) => self.on_verifier_silent(&subject, id, &verifier, now),
            Timer::Confirm(subject, id) => self.on_confirm_due(&subject, id, now),
            Timer::Verdict(subject, id) => self.on_verdict_due(&subject, id, now),
            Timer::VerificationFailed(requester, id) => self.on_verification_failed(requester, id, now),
            Timer::VerificationForgotten(requester, id) => self.forget_verification(requester, id),
            Timer::Death(subject, boot_epoch, incarnation) => self.on_death_due(&subject, boot_epoch, incarnation, now),
            Timer::Rumour(node) => self.believe_rumour(&node, now),
            Timer::HideDeparted(node, boot_epoch) => self.hide_departed(&node, boot_epoch, now),
            Timer::ForgetDeparted(node, boot_epoch) => self.forget_departed(&node, boot_epoch),
            Timer::UserEvents(origin) => self.look_again_at_events(origin, now),
        }
    }

    pub(crate) fn schedule(&mut self, at: Instant, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Marks the snapshot as changed.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    /// Returns the member as others see it, if its record is known and it is not hidden.
    pub(crate) fn member(&self, node: &NodeId) -> Option<Member> {
        self.member_of(node, self.table.get(node)?)
    }

    fn state_in(&self, node: &NodeId, entry: &Entry) -> MemberState {
        match entry.claim().standing {
            Standing::Alive if self.accusations.contains_key(node) => MemberState::Suspect,
            Standing::Alive => MemberState::Alive,
            Standing::Unreachable => MemberState::Unreachable,
            Standing::Dead => MemberState::Dead,
            Standing::Left => MemberState::Left,
        }
    }

    fn member_of(&self, node: &NodeId, entry: &Entry) -> Option<Member> {
        if entry.is_hidden {
            return None;
        }
        let Claim { boot_epoch, incarnation, .. } = entry.claim();
        Some(Member {
            id: node.clone(),
            boot_epoch,
            incarnation,
            state: self.state_in(node, entry),
            metadata_version: entry.metadata_version,
            metadata: Arc::clone(entry.metadata()?),
            last_seen: self.table.last_seen(entry),
            rtt: entry.rtt(),
        })
    }

    /// Returns what the local node says of itself.
    pub(crate) fn own_update(&self) -> Update {
        own_update(self.local.clone(), self.own, self.own_version, &self.own_record)
    }
}
