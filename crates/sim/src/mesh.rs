//! A mesh of cores on a virtual network.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::{Channel, Core, Input, LocalNode, Output, Rejected, Sender};
use mesh_types::{BootEpoch, Endpoint, MemberState, Membership, NodeId, NodeMetadata, Role};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::log::LogEntry;
use crate::network::{Arrival, Network};
use crate::settings::Settings;

/// How often a condition that is waited for is looked at, in virtual time.
const CHECK_EVERY: Duration = Duration::from_millis(1);

/// How long a dialler waits for the answer to its hello.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Node {
    id: NodeId,
    endpoint: Endpoint,
    /// How far its clock is ahead of virtual time.
    skew: Duration,
    /// Counts its starts; what was meant for an earlier one is dropped.
    life: u32,
    core: Option<Core>,
    wake_at: Option<Instant>,
    labels: BTreeMap<String, String>,
}

/// A mesh of cores on a virtual network.
#[derive(Debug)]
pub struct Mesh {
    settings: Settings,
    rng: SmallRng,
    started: Instant,
    now: Instant,
    nodes: Vec<Node>,
    network: Network,
    log: Vec<LogEntry>,
}

impl Mesh {
    /// Makes the nodes and starts them, all within [`Settings::start_within`].
    ///
    /// # Panics
    /// If the settings are not valid.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let mut mesh = Self::prepare(settings);
        for number in 0..mesh.nodes.len() {
            let delay = mesh.rng.random_range(Duration::ZERO..=mesh.settings.start_within);
            mesh.start_node(number, delay);
        }
        mesh
    }

    /// Makes the nodes without starting any.
    ///
    /// # Panics
    /// If the settings are not valid.
    #[must_use]
    pub fn prepare(settings: Settings) -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere; only differences count")]
        let started = Instant::now();
        let mut rng = SmallRng::seed_from_u64(settings.seed);
        let nodes = (0..settings.nodes).map(|number| Node {
            id: format!("node-{number:04}").parse().expect("digits make a name"),
            endpoint: format!("10.0.{}.{}:17421", number / 256, number % 256).parse().expect("an address"),
            skew: rng.random_range(Duration::ZERO..=settings.clock_skew),
            life: 0,
            core: None,
            wake_at: None,
            labels: BTreeMap::new(),
        });
        let nodes = nodes.collect();
        Self { rng, started, now: started, nodes, network: Network::default(), log: Vec::new(), settings }
    }

    /// Starts a node, again if it has run before, after `delay`.
    pub fn start_node(&mut self, number: usize, delay: Duration) {
        let node = &mut self.nodes[number];
        node.life += 1;
        self.network.push(self.now + delay, number, node.life, Arrival::Start);
    }

    /// Kills a node: it says nothing more, and its peers are not told.
    pub fn crash(&mut self, number: usize) {
        self.nodes[number].core = None;
        self.nodes[number].life += 1;
        self.network.unlink(number);
    }

    /// Lets a node say goodbye, then stops it once its farewell is under way.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn leave(&mut self, number: usize) {
        self.with_core(number, |core, now| {
            core.handle(Input::Leave, now).expect("leaving needs no valid input");
        });
        self.nodes[number].core = None;
    }

    /// Sets a label of a node.
    ///
    /// # Panics
    /// If the label breaks its bounds.
    pub fn set_label(&mut self, number: usize, key: &str, value: &str) {
        self.nodes[number].labels.insert(key.to_owned(), value.to_owned());
        let metadata = self.metadata(number);
        self.with_core(number, |core, now| {
            core.handle(Input::SetMetadata(metadata), now).expect("the label is within its bounds");
        });
    }

    /// Hands a node a message as if it had come over its link from another.
    ///
    /// # Errors
    /// Why the node dropped it.
    pub fn inject(&mut self, from: &NodeId, to: usize, bytes: Bytes) -> Result<(), Rejected> {
        let mut result = Ok(());
        self.with_core(to, |core, now| result = core.handle(Input::Message { from, bytes }, now));
        result
    }

    /// Cuts the network between the first `count` nodes and the others.
    pub fn partition(&mut self, count: usize) {
        for a in 0..count {
            for b in count..self.nodes.len() {
                self.network.block(a, b);
            }
        }
    }

    /// Lets everybody reach everybody again.
    pub fn heal(&mut self) {
        self.network.unblock_all();
    }

    /// Loses this share of the packets on their way to a node, 0.0 to 1.0, and none more of those that it sends.
    ///
    /// Its streams send again, so most of them arrive late.
    pub fn set_ingress_loss(&mut self, number: usize, loss: f64) {
        self.network.set_ingress_loss(number, loss);
    }

    /// Runs for some virtual time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, and returns how long that took, to the millisecond; `None` if it does not
    /// within `limit`.
    pub fn run_until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        loop {
            if condition(self) {
                return Some(self.now - begin);
            }
            if self.now >= begin + limit {
                return None;
            }
            self.run_for(CHECK_EVERY);
        }
    }

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

    /// Returns everything that happened.
    #[must_use]
    pub fn log(&self) -> &[LogEntry] {
        &self.log
    }

    /// Returns how many packets were sent.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.network.sent()
    }

    /// Returns the time since the start of the run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.started
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Core)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.core.as_ref()?)))
    }

    /// Takes the next thing that happens before `end`; returns whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let Some((at, to, life, arrival)) = self.network.pop_until(end) else {
            return false;
        };
        self.now = at;
        if self.nodes[to].life == life {
            self.arrive(to, arrival);
        }
        true
    }

    fn arrive(&mut self, to: usize, arrival: Arrival) {
        match arrival {
            Arrival::Start => self.boot(to),
            Arrival::Wake => {
                self.nodes[to].wake_at = None;
                self.with_core(to, |core, now| core.handle(Input::Timeout, now).expect("a timer is no input"));
            }
            Arrival::Message { from, bytes } => self.on_message(to, from, bytes),
            Arrival::Hello { from, from_life, bytes } => self.on_hello(to, from, from_life, &bytes),
            Arrival::HelloAck { from, from_life, bytes } => {
                if self.nodes[from].life != from_life {
                    return;
                }
                let sender = self.sender(from);
                let waiting = self.network.take_waiting(to, from);
                self.network.link(to, from);
                self.with_core(to, |core, now| {
                    core.handle_hello_ack(&sender, &bytes, now).expect("the node has just said hello");
                });
                for (channel, message) in waiting {
                    self.transmit(to, from, channel, message);
                }
            }
        }
    }

    fn on_message(&mut self, to: usize, from: usize, bytes: Bytes) {
        let sender = self.nodes[from].id.clone();
        let mut result = Ok(());
        let message = bytes.clone();
        self.with_core(to, |core, now| result = core.handle(Input::Message { from: &sender, bytes: message }, now));
        match result {
            // It overtook the answer to this node's hello: the connection keeps it until the link is up.
            Err(Rejected::UnknownSender { .. }) if self.network.is_linked(from, to) => {
                let again = self.now + *self.settings.latency.end();
                self.network.push(again, to, self.nodes[to].life, Arrival::Message { from, bytes });
            }
            other => other.expect("cores speak the protocol"),
        }
    }

    fn on_hello(&mut self, to: usize, from: usize, from_life: u32, bytes: &Bytes) {
        if self.nodes[from].life != from_life || self.network.is_blocked(from, to) {
            return;
        }
        let sender = self.sender(from);
        let mut ack = None;
        self.with_core(to, |core, now| ack = core.handle_hello(&sender, bytes, now).ok());
        if let Some(ack) = ack {
            self.network.link(to, from);
            let answer = Arrival::HelloAck { from: to, from_life: self.nodes[to].life, bytes: ack };
            if !self.carry(to, from, Channel::Stream, answer) {
                self.network.unlink_pair(to, from);
            }
        }
    }

    fn boot(&mut self, number: usize) {
        let metadata = self.metadata(number);
        let seed = self.rng.random();
        let now = self.now + self.nodes[number].skew;
        let node = &mut self.nodes[number];
        // A wall clock in milliseconds, as far off as the node's.
        let boot_epoch = BootEpoch(1 + u64::try_from((now - self.started).as_millis()).expect("years"));
        let local = LocalNode { id: node.id.clone(), boot_epoch, metadata };
        let core = Core::new(local, self.settings.options.clone(), seed, now).expect("valid settings");
        node.core = Some(core);
        node.wake_at = None;
        let seeds = self.nodes.iter().take(self.settings.seeds).map(|first| first.endpoint.clone()).collect();
        self.with_core(number, |started, at| started.handle(Input::Join(seeds), at).expect("seeds are valid"));
    }

    fn metadata(&self, number: usize) -> NodeMetadata {
        let node = &self.nodes[number];
        NodeMetadata {
            role: role(),
            cluster: "sim".parse().expect("a name"),
            region: "local".parse().expect("a name"),
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: node.endpoint.clone(),
            labels: node.labels.clone(),
        }
    }

    fn sender(&self, number: usize) -> Sender {
        Sender { node: self.nodes[number].id.clone(), role: role() }
    }

    /// Lets a node's core work, then does what it wants done.
    fn with_core(&mut self, number: usize, work: impl FnOnce(&mut Core, Instant)) {
        let local_now = self.now + self.nodes[number].skew;
        let Some(core) = self.nodes[number].core.as_mut() else { return };
        work(core, local_now);
        let mut outputs = Vec::new();
        while let Some(output) = core.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.perform(number, output);
        }
        self.set_wake(number);
    }

    fn perform(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, channel, bytes, .. } => {
                let target = self.nodes.iter().position(|node| node.id == to).expect("cores know real nodes only");
                self.transmit(number, target, channel, bytes);
            }
            Output::Connect { endpoint } => {
                if let Some(target) = self.nodes.iter().position(|node| node.endpoint == endpoint) {
                    self.dial(number, target, None);
                }
            }
            Output::Event(event) => {
                let entry = LogEntry::new(self.now - self.started, self.nodes[number].id.clone(), &event);
                self.log.push(entry);
            }
            Output::Rtt { .. } => {}
        }
    }

    fn transmit(&mut self, from: usize, to: usize, channel: Channel, bytes: Bytes) {
        if self.network.is_linked(from, to) {
            self.carry(from, to, channel, Arrival::Message { from, bytes });
        } else {
            self.dial(from, to, Some((channel, bytes)));
        }
    }

    fn dial(&mut self, from: usize, to: usize, message: Option<(Channel, Bytes)>) {
        if message.is_none() && self.network.is_linked(from, to) {
            return;
        }
        if !self.network.wait(from, to, message) {
            return;
        }
        if self.nodes[to].core.is_none() || self.network.is_blocked(from, to) {
            // Nobody answers: whatever waited is lost.
            self.network.take_waiting(from, to);
            return;
        }
        let Some(bytes) = self.nodes[from].core.as_ref().map(Core::hello) else { return };
        let from_life = self.nodes[from].life;
        // The handshake takes one round trip before the hello can go.
        let handshake = *self.settings.latency.end() * 2;
        let hello = Arrival::Hello { from, from_life, bytes };
        let travel =
            self.travel_time(to, Channel::Stream).map(|time| time + handshake).filter(|time| *time < DIAL_TIMEOUT);
        match travel {
            Some(time) => self.network.push(self.now + time, to, self.nodes[to].life, hello),
            None => drop(self.network.take_waiting(from, to)),
        }
    }

    /// Puts something on its way; returns whether it will arrive.
    fn carry(&mut self, from: usize, to: usize, channel: Channel, arrival: Arrival) -> bool {
        if self.network.is_blocked(from, to) {
            return false;
        }
        let travel = self.travel_time(to, channel);
        if let Some(time) = travel {
            self.network.push(self.now + time, to, self.nodes[to].life, arrival);
        }
        travel.is_some()
    }

    fn travel_time(&mut self, to: usize, channel: Channel) -> Option<Duration> {
        let loss = self.network.ingress_loss(to).unwrap_or(self.settings.loss);
        self.network.travel_time(&mut self.rng, &self.settings.latency, loss, channel)
    }

    fn set_wake(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let due = node.core.as_ref().and_then(Core::poll_timeout).map(|local| (local - node.skew).max(self.now));
        if let Some(due) = due
            && node.wake_at.is_none_or(|at| due < at)
        {
            node.wake_at = Some(due);
            let life = node.life;
            self.network.push(due, number, life, Arrival::Wake);
        }
    }
}

fn role() -> Role {
    "worker".parse().expect("a name")
}
