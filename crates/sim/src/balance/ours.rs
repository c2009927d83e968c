//! Our own choosers, as they are: a table, leases, breakers and estimators of `peers-core` for each client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_types::{BootEpoch, MetadataVersion, NodeId, NodeMetadata};
use peers_core::{
    Balancer, Chooser, DurationHistogram, Entropy, Filters, Health, Http3Hint, Labels, Lifecycle, LoadProbe,
    Outcome as Reported, Peer, PeerEndpoint, PeerKey, PeerLease, PeerTable, PeerUpdate, PickCx, ProbeTicket, Probed,
    Protocols, ServerLoad, ShardsOwned, Sink, TableOptions, Tick,
};

use super::policy::{Choice, Outcome, Policy, Probe};

/// Whether failures are told to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guards {
    /// They are: the breaker and the estimator's penalty do their work.
    On,
    /// They are reported as answers like any other.
    Off,
}

/// A client that chooses with `peers-core`.
#[derive(Debug)]
pub(crate) struct Ours<C: Chooser> {
    balancer: Balancer<C>,
    /// Whose peers the balancer picks, as long as it lives.
    table: PeerTable,
    /// The keys by place, ascending as the table gave them.
    keys: Vec<PeerKey>,
    entropy: Entropy,
    guards: Guards,
    leases: Slab<PeerLease>,
    asked: Arc<Asked>,
    tickets: Slab<ProbeTicket>,
}

/// Things that come back by their numbers.
#[derive(Debug)]
struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn keep(&mut self, item: T) -> usize {
        if let Some(number) = self.free.pop() {
            self.slots[number] = Some(item);
            return number;
        }
        self.slots.push(Some(item));
        self.slots.len() - 1
    }

    fn take(&mut self, number: usize) -> Option<T> {
        let item = self.slots[number].take()?;
        self.free.push(number);
        Some(item)
    }
}

/// The chooser's port: peers that it has asked, until the simulator sends the probes.
#[derive(Debug, Default)]
struct Asked(Mutex<Vec<(NodeId, ProbeTicket)>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Vec<(NodeId, ProbeTicket)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadProbe for Asked {
    fn request(&self, peer: &Arc<Peer>, ticket: ProbeTicket) {
        self.lock().push((peer.id.clone(), ticket));
    }
}

impl Ours<Probed> {
    /// Makes a client that probes `percent` times for a hundred calls.
    pub(crate) fn probing(peers: usize, seed: u64, guards: Guards, percent: u32) -> Self {
        let asked = Arc::new(Asked::default());
        let chooser = Probed::new(Arc::<Asked>::clone(&asked), percent);
        Self { asked, ..Self::new(peers, seed, guards, chooser) }
    }
}

impl<C: Chooser> Ours<C> {
    pub(crate) fn new(peers: usize, seed: u64, guards: Guards, chooser: C) -> Self {
        let table = PeerTable::new(TableOptions { seed, ..TableOptions::default() });
        let ids: Vec<NodeId> = (0..peers).map(node_id).collect();
        table.apply(Tick::ZERO, PeerUpdate::Reset(ids.iter().cloned().map(peer).collect()));
        let keys = ids.iter().filter_map(|id| table.handle(id)).map(|handle| handle.key()).collect();
        let balancer = table.balancer(Filters::none(), chooser);
        let (leases, tickets) = (Slab::default(), Slab::default());
        Self { balancer, table, keys, entropy: Entropy::seeded(seed), guards, leases, asked: Arc::default(), tickets }
    }
}

impl<C: Chooser> Policy for Ours<C> {
    fn choose(&mut self, now_ns: u64) -> Option<Choice> {
        let cx = PickCx::at(Tick::from_nanos(now_ns));
        // Whatever the reason, the simulator counts a call without a peer as failed.
        let lease = self.balancer.acquire_with(&cx, &mut self.entropy).ok()?;
        let peer = self.keys.binary_search(&lease.key()).ok()?;
        Some(Choice { peer, ticket: self.leases.keep(lease) })
    }

    fn done(&mut self, now_ns: u64, choice: Choice, _: u64, outcome: Outcome) {
        let Some(lease) = self.leases.take(choice.ticket) else { return };
        let reported = match (outcome, self.guards) {
            (Outcome::Failed, Guards::On) => Reported::Failure,
            (Outcome::Failed, Guards::Off) | (Outcome::Ok, _) => Reported::Success,
        };
        lease.report(Tick::from_nanos(now_ns), reported);
    }

    fn probes(&mut self, wanted: &mut Vec<Probe>) {
        for (id, ticket) in self.asked.lock().drain(..) {
            wanted.push(Probe { peer: place(id.as_str()), ticket: self.tickets.keep(ticket) });
        }
    }

    fn probed(&mut self, _: u64, probe: Probe, load: ServerLoad) {
        if let Some(ticket) = self.tickets.take(probe.ticket) {
            ticket.answer(load);
        }
    }

    fn count_breaker_changes(&self, changes: &mut [u64]) {
        self.table.visit(Tick::ZERO, &mut BreakerChanges(changes));
    }
}

/// Adds up how often the breakers of each peer have changed, as a scrape of the table tells it.
struct BreakerChanges<'a>(&'a mut [u64]);

impl Sink for BreakerChanges<'_> {
    fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: u64) {
        if name == "omnirelay_peer_breaker_changes_total"
            && let Some((_, id)) = labels.iter().find(|(key, _)| *key == "rpc_peer")
        {
            self.0[place(id)] += value;
        }
    }

    fn gauge(&mut self, _name: &'static str, _labels: &Labels<'_>, _value: f64) {}

    fn histogram(&mut self, _name: &'static str, _labels: &Labels<'_>, _value: &DurationHistogram) {}
}

fn node_id(place: usize) -> NodeId {
    // The table sorts by id: as many digits for all, and the places stay in order.
    format!("server-{place:04}").parse().expect("a word, a dash and digits are a name")
}

fn place(id: &str) -> usize {
    id.trim_start_matches("server-").parse().expect("made by `node_id`")
}

fn peer(id: NodeId) -> Peer {
    let address = || "127.0.0.1:17421".parse().expect("an address and a port");
    let metadata = NodeMetadata {
        role: "server".parse().expect("a word"),
        cluster: "sim".parse().expect("a word"),
        region: "sim".parse().expect("a word"),
        mesh_version: "1".into(),
        http3_support: true,
        endpoint: address(),
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    Peer {
        id,
        generation: BootEpoch(1),
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        endpoints: vec![PeerEndpoint { address: address(), protocols: Protocols::default() }],
        zone: None,
        http3: Http3Hint::Advertised,
        health: Health::Healthy,
        weight: Peer::DEFAULT_WEIGHT,
        tier: 0,
        slot: None,
        lifecycle: Lifecycle::Active,
        cordoned: false,
        shards: ShardsOwned::default(),
        labels: Arc::new(BTreeMap::new()),
        flaws: Vec::new(),
    }
}
