//! Our own choosers, as they are: a table, leases, breakers and estimators of `peers-core` for each client.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::{BootEpoch, MetadataVersion, NodeId, NodeMetadata};
use peers_core::{
    Balancer, Chooser, Entropy, Filters, Health, Http3Hint, Lifecycle, Outcome as Reported, Peer, PeerEndpoint,
    PeerKey, PeerLease, PeerTable, PeerUpdate, PickCx, Protocols, ShardsOwned, TableOptions, Tick,
};

use super::policy::{Choice, Outcome, Policy};

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
    _table: PeerTable,
    /// The keys by place, ascending as the table gave them.
    keys: Vec<PeerKey>,
    entropy: Entropy,
    guards: Guards,
    leases: Vec<Option<PeerLease>>,
    free: Vec<usize>,
}

impl<C: Chooser> Ours<C> {
    pub(crate) fn new(peers: usize, seed: u64, guards: Guards, chooser: C) -> Self {
        let table = PeerTable::new(TableOptions { seed, ..TableOptions::default() });
        let ids: Vec<NodeId> = (0..peers).map(node_id).collect();
        table.apply(Tick::ZERO, PeerUpdate::Reset(ids.iter().cloned().map(peer).collect()));
        let keys = ids.iter().filter_map(|id| table.handle(id)).map(|handle| handle.key()).collect();
        let balancer = table.balancer(Filters::none(), chooser);
        let entropy = Entropy::seeded(seed);
        Self { balancer, _table: table, keys, entropy, guards, leases: Vec::new(), free: Vec::new() }
    }

    fn keep(&mut self, lease: PeerLease) -> usize {
        if let Some(ticket) = self.free.pop() {
            self.leases[ticket] = Some(lease);
            return ticket;
        }
        self.leases.push(Some(lease));
        self.leases.len() - 1
    }
}

impl<C: Chooser> Policy for Ours<C> {
    fn choose(&mut self, now_ns: u64) -> Option<Choice> {
        let cx = PickCx::at(Tick::from_nanos(now_ns));
        // Whatever the reason, the simulator counts a call without a peer as failed.
        let lease = self.balancer.acquire_with(&cx, &mut self.entropy).ok()?;
        let peer = self.keys.binary_search(&lease.key()).ok()?;
        Some(Choice { peer, ticket: self.keep(lease) })
    }

    fn done(&mut self, now_ns: u64, choice: Choice, _: u64, outcome: Outcome) {
        let Some(lease) = self.leases[choice.ticket].take() else { return };
        self.free.push(choice.ticket);
        let reported = match (outcome, self.guards) {
            (Outcome::Failed, Guards::On) => Reported::Failure,
            (Outcome::Failed, Guards::Off) | (Outcome::Ok, _) => Reported::Success,
        };
        lease.report(Tick::from_nanos(now_ns), reported);
    }
}

fn node_id(place: usize) -> NodeId {
    // The table sorts by id: as many digits for all, and the places stay in order.
    format!("server-{place:04}").parse().expect("a word, a dash and digits are a name")
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
