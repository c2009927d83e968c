//! A mesh of cores on a virtual network.

mod traffic;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::{Archive, Core, Input, LocalNode, Rejected, SendEventError, Sender};
use mesh_types::{BootEpoch, Endpoint, NodeId, NodeMetadata, Role};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::clock::Clock;
use crate::log::Log;
use crate::network::{Arrival, Network};
use crate::release::Release;
use crate::settings::{Settings, Weather};

/// How often a condition that is waited for is looked at, in virtual time.
const CHECK_EVERY: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Node {
    id: NodeId,
    endpoint: Endpoint,
    release: Release,
    clock: Clock,
    /// How far its wall clock has been set back: lives are numbered by it, and nothing else asks it.
    set_back: Duration,
    /// Counts its starts; what was meant for an earlier one is dropped.
    life: u32,
    core: Option<Core>,
    wake_at: Option<Instant>,
    /// Until when the process stands still, its packets and timers with it.
    paused_until: Option<Instant>,
    /// How long its next dial of which seed waits.
    patience: BTreeMap<usize, Duration>,
    labels: BTreeMap<String, String>,
}

/// A mesh of cores on a virtual network.
#[derive(Debug)]
pub struct Mesh {
    settings: Settings,
    weather: Weather,
    rng: SmallRng,
    started: Instant,
    now: Instant,
    nodes: Vec<Node>,
    by_endpoint: BTreeMap<Endpoint, usize>,
    /// What the nodes say of themselves, once for all who know it: ten thousand tables of ten thousand fit into a machine.
    archive: Archive,
    network: Network,
    log: Log,
    /// Who has told whom that a member does not answer it: verifier, accuser, subject.
    denials: BTreeSet<(usize, usize, usize)>,
    /// Whether nodes are of several releases.
    is_mixed: bool,
    stripped_records: u64,
    oldest_news: Duration,
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
            clock: Clock::new(started, rng.random_range(Duration::ZERO..=settings.clock_skew)),
            set_back: Duration::ZERO,
            release: settings.release,
            life: 0,
            core: None,
            wake_at: None,
            paused_until: None,
            patience: BTreeMap::new(),
            labels: BTreeMap::new(),
        });
        let nodes: Vec<Node> = nodes.collect();
        let by_endpoint = nodes.iter().enumerate().map(|(number, node)| (node.endpoint.clone(), number)).collect();
        Self {
            weather: settings.weather.clone(),
            rng,
            started,
            now: started,
            by_endpoint,
            archive: Archive::default(),
            network: Network::new(nodes.len(), started),
            nodes,
            log: Log::new(settings.keeps_log),
            denials: BTreeSet::new(),
            is_mixed: settings.release != Release::This,
            stripped_records: 0,
            oldest_news: Duration::ZERO,
            settings,
        }
    }

    /// Starts a node, again if it has run before, after `delay`.
    pub fn start_node(&mut self, number: usize, delay: Duration) {
        let node = &mut self.nodes[number];
        node.life += 1;
        self.network.push(self.now + delay, number, node.life, Arrival::Start);
    }

    /// Kills a node: it says nothing more, and its peers are not told.
    pub fn crash(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.core = None;
        node.life += 1;
        node.paused_until = None;
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

    /// Lets a node's process stand still: neither its timers nor its packets are looked at for so long.
    pub fn pause(&mut self, number: usize, time: Duration) {
        self.nodes[number].paused_until = Some(self.now + time);
    }

    /// Puts another release in the place of a node's; it should be down.
    pub fn set_release(&mut self, number: usize, release: Release) {
        self.nodes[number].release = release;
        self.is_mixed = true;
    }

    /// Lets a node's clock run faster than virtual time by so many millionths from now on, or slower.
    pub fn set_clock_rate(&mut self, number: usize, ppm: i32) {
        self.nodes[number].clock.set_rate(self.now, ppm);
        self.nodes[number].wake_at = None;
        self.set_wake(number);
    }

    /// Lets a node's clock jump ahead, as after a sleep of its machine: all its timers until then are late.
    ///
    /// # Panics
    /// Never: late timers are no input that can be refused.
    pub fn jump_clock(&mut self, number: usize, by: Duration) {
        self.nodes[number].clock.jump(self.now, by);
        self.with_core(number, |core, now| {
            let lag = core.poll_timeout().map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
            core.handle(Input::LoopLag(lag), now).expect("a lag is no input");
            core.handle(Input::Timeout, now).expect("a timer is no input");
        });
    }

    /// Sets a node's wall clock back: its next life has a lower number than it should.
    pub fn set_wall_clock_back(&mut self, number: usize, by: Duration) {
        self.nodes[number].set_back += by;
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

    /// Lets a node send a user event; returns its number.
    ///
    /// # Errors
    /// Why it was not sent.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn send_user_event(&mut self, number: usize, name: &str) -> Result<u64, SendEventError> {
        let mut sent = None;
        self.with_core(number, |core, now| sent = Some(core.send_user_event(name, Bytes::new(), now)));
        sent.expect("the node runs")
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
        self.partition_by(|number| number < count);
    }

    /// Cuts the network between the nodes on one side and the others. Links across are gone.
    pub fn partition_by(&mut self, is_on_one_side: impl Fn(usize) -> bool) {
        for number in 0..self.nodes.len() {
            self.network.access_mut(number).part = u32::from(is_on_one_side(number));
        }
        self.network.drop_cut_links();
    }

    /// Lets everybody reach everybody again.
    pub fn heal(&mut self) {
        self.network.unite();
    }

    /// Loses this share of the packets on their way to a node, 0.0 to 1.0; `None` for the usual.
    ///
    /// Its streams send again, so most of them arrive late.
    pub fn set_ingress_loss(&mut self, number: usize, loss: impl Into<Option<f64>>) {
        self.network.access_mut(number).ingress_loss = loss.into();
    }

    /// Loses this share of the packets on their way from a node, 0.0 to 1.0; `None` for the usual.
    pub fn set_egress_loss(&mut self, number: usize, loss: impl Into<Option<f64>>) {
        self.network.access_mut(number).egress_loss = loss.into();
    }

    /// Changes what the network does to packets.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
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

    /// Takes the next thing that happens before `end`; returns whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let Some((at, to, life, arrival)) = self.network.pop_until(end) else {
            return false;
        };
        self.now = at;
        let node = &mut self.nodes[to];
        if node.life != life {
            return true;
        }
        match node.paused_until {
            Some(until) if until > at => {
                let late = match arrival {
                    Arrival::Wake => Arrival::LateWake { due: at },
                    other => other,
                };
                self.network.push(until, to, life, late);
            }
            _ => {
                node.paused_until = None;
                self.arrive(to, arrival);
            }
        }
        true
    }

    fn boot(&mut self, number: usize) {
        // Links and dials of an earlier life are not its own.
        self.network.unlink(number);
        let metadata = self.metadata(number);
        let seed = self.rng.random();
        let node = &mut self.nodes[number];
        let now = node.clock.shows(self.now);
        // A wall clock in milliseconds, as far off as the node's.
        let wall = (now - self.started).saturating_sub(node.set_back);
        let boot_epoch = BootEpoch(1 + u64::try_from(wall.as_millis()).expect("years"));
        let local = LocalNode { id: node.id.clone(), boot_epoch, metadata };
        let core =
            Core::sharing(&self.archive, local, self.settings.options.clone(), seed, now).expect("valid settings");
        node.core = Some(core);
        node.wake_at = None;
        node.patience.clear();
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
            features: mesh_types::Features::OF_THIS_BUILD,
            lifecycle: mesh_types::NodeLifecycle::default(),
            services: BTreeSet::new(),
            rpc_endpoint: None,
        }
    }

    fn sender(&self, number: usize) -> Sender {
        Sender { node: self.nodes[number].id.clone(), role: role() }
    }
}

fn role() -> Role {
    "worker".parse().expect("a name")
}
