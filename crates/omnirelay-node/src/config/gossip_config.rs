//! The settings of gossip, and what gossip makes of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use gossip::{KnobFacts, Options, Profile};
use identity::SpiffeId;
use mesh_types::{ClusterId, Endpoint, Features, MetadataError, NodeId, NodeLifecycle, NodeMetadata, Region, Role};

use super::keys;
use super::origin::{Layer, Leaf, Origin};
use super::problem::Problem;
use super::settings::{Reader, Settings};

/// `mesh.gossip.*`; the meaning of each is documented at `gossip::Options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GossipConfig {
    pub(crate) enabled: bool,
    /// Unset: the certificate's. Set: must be the certificate's.
    pub(crate) node_id: Option<NodeId>,
    /// Unset: the certificate's. Set: must be the certificate's.
    pub(crate) cluster_id: Option<ClusterId>,
    /// Unset: the certificate's. Set: must be the certificate's.
    pub(crate) role: Option<Role>,
    pub(crate) region: Region,
    pub(crate) mesh_version: String,
    pub(crate) http3_support: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) bind_address: IpAddr,
    pub(crate) port: u16,
    pub(crate) advertise_host: Option<String>,
    pub(crate) advertise_port: Option<NonZeroU16>,
    pub(crate) seed_peers: Vec<Endpoint>,
    /// Where what nobody set comes from.
    pub(crate) profile: Profile,
    pub(crate) interval: Duration,
    pub(crate) fanout: u8,
    pub(crate) suspicion_interval: Duration,
    /// Unset: half of the suspicion interval.
    pub(crate) dead_after: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) retransmit_limit: u8,
    pub(crate) metadata_refresh_period: Duration,
    pub(crate) link_bytes_per_second: u32,
    pub(crate) link_datagrams_per_second: u32,
    pub(crate) max_links: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) rehandshake_window: Duration,
}

impl GossipConfig {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            enabled: reader.value(keys::GOSSIP_ENABLED),
            node_id: reader.optional(keys::NODE_ID),
            cluster_id: reader.optional(keys::CLUSTER_ID),
            role: reader.optional(keys::ROLE),
            region: reader.value(keys::REGION),
            mesh_version: reader.value(keys::MESH_VERSION),
            http3_support: reader.value(keys::HTTP3_SUPPORT),
            labels: reader.optional(keys::LABELS).unwrap_or_default(),
            bind_address: reader.value(keys::BIND_ADDRESS),
            port: reader.value(keys::PORT),
            advertise_host: reader.optional(keys::ADVERTISE_HOST),
            advertise_port: reader.optional(keys::ADVERTISE_PORT),
            seed_peers: reader.value(keys::SEED_PEERS),
            profile: reader.value(keys::PROFILE),
            interval: reader.value(keys::INTERVAL),
            fanout: reader.value(keys::FANOUT),
            suspicion_interval: reader.value(keys::SUSPICION_INTERVAL),
            dead_after: reader.optional(keys::DEAD_AFTER),
            ping_timeout: reader.value(keys::PING_TIMEOUT),
            retransmit_limit: reader.value(keys::RETRANSMIT_LIMIT),
            metadata_refresh_period: reader.value(keys::METADATA_REFRESH_PERIOD),
            link_bytes_per_second: reader.value(keys::LINK_BYTES),
            link_datagrams_per_second: reader.value(keys::LINK_DATAGRAMS),
            max_links: reader.value(keys::MAX_LINKS),
            idle_timeout: reader.value(keys::IDLE_TIMEOUT),
            rehandshake_window: reader.value(keys::REHANDSHAKE_WINDOW),
        }
    }

    /// Returns the options of gossip for the node that `id` names.
    pub(crate) fn options(&self, id: &SpiffeId) -> Options {
        Options {
            mesh_version: self.mesh_version.clone(),
            http3_support: self.http3_support,
            labels: self.labels.clone(),
            bind_address: self.bind_address,
            port: self.port,
            advertise_host: self.advertise_host.clone(),
            advertise_port: self.advertise_port.map(NonZeroU16::get),
            interval: self.interval,
            fanout: self.fanout,
            suspicion_interval: self.suspicion_interval,
            dead_after: self.dead_after,
            ping_timeout: self.ping_timeout,
            retransmit_limit: self.retransmit_limit,
            metadata_refresh_period: self.metadata_refresh_period,
            seed_peers: self.seed_peers.clone(),
            link_bytes_per_second: self.link_bytes_per_second,
            link_datagrams_per_second: self.link_datagrams_per_second,
            max_links: self.max_links,
            idle_timeout: self.idle_timeout,
            rehandshake_window: self.rehandshake_window,
            ..Options::of(id, self.region.clone()).with_profile(self.profile)
        }
    }

    /// Returns what the node that `id` names says of itself, if others reach it at `endpoint`.
    pub(crate) fn metadata(&self, id: &SpiffeId, endpoint: Endpoint) -> NodeMetadata {
        NodeMetadata {
            role: id.role().clone(),
            cluster: id.cluster().clone(),
            region: self.region.clone(),
            mesh_version: self.mesh_version.as_str().into(),
            http3_support: self.http3_support,
            endpoint,
            labels: self.labels.clone(),
            features: Features::OF_THIS_BUILD,
            lifecycle: NodeLifecycle::Active,
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        }
    }

    fn metadata_problem(&self, settings: &Settings) -> Option<Problem> {
        let endpoint = Endpoint::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        let error = self.metadata(&anybody(), endpoint).validate().err()?;
        let key = match error {
            MetadataError::MeshVersion { .. } => keys::MESH_VERSION,
            _ => keys::LABELS,
        };
        Some(Problem::Unfit { origin: settings.origin(key), key: key.path, reason: error.to_string() })
    }
}

/// Returns what a profile says of settings, where it is not what the default one does. A setting that follows from others unless it is
/// set stays unset.
pub(crate) fn profile_layer(profile: Profile) -> Layer {
    let options = Options::of(&anybody(), "local".parse().expect("a valid region"));
    let usual = options.knobs();
    let said = options.with_profile(profile).knobs();
    let leaves =
        said.into_iter().zip(usual).filter(|(knob, usual)| knob.value != usual.value).filter_map(|(knob, _)| {
            let key = keys::find(&format!("mesh.gossip.{}", knob.option)).filter(|key| key.default.is_some())?;
            Some(Leaf { key, entry: None, value: key.shape.value_of(&knob.value.to_string()) })
        });
    Layer { origin: Origin::Profile(profile.name()), leaves: leaves.collect() }
}

/// Returns each value that gossip refuses, although its type is right.
///
/// Gossip names one at a time: each that it names is replaced by its default before it is asked again. One
/// whose range depends on a value that was named already is not named as well: it may be right.
pub(crate) fn out_of_range(settings: &Settings) -> Vec<Problem> {
    let mut healed = settings.clone();
    let mut named: Vec<&str> = Vec::new();
    let mut problems = Vec::new();
    loop {
        let gossip = GossipConfig::read(&mut Reader { settings: &healed, problems: Vec::new() });
        let Err(error) = gossip.options(&anybody()).validate() else {
            problems.extend(gossip.metadata_problem(settings));
            return problems;
        };
        if named.contains(&error.option) {
            return problems;
        }
        let path = format!("mesh.gossip.{}", error.option);
        let key = keys::find(&path);
        if !named.iter().any(|option| error.valid.contains(option)) {
            let origin = key.map_or_else(|| "mesh.gossip".to_owned(), |key| settings.origin(key));
            let valid = format!("{} is valid", error.valid);
            problems.push(Problem::WrongValue { origin, key: path, found: error.value, valid });
        }
        named.push(error.option);
        match key.map(|key| healed.with_default(key)) {
            Some(next) => healed = next,
            None => return problems,
        }
    }
}

/// Returns what is to be known of the options of gossip that have a range, with their defaults.
pub(crate) fn knobs() -> Vec<KnobFacts> {
    let region = "local".parse().expect("a valid region");
    Options::of(&anybody(), region).knobs()
}

/// Returns an identity to ask for ranges with; they are the same for everybody.
fn anybody() -> SpiffeId {
    "spiffe://unnamed/cluster/unnamed/role/unnamed/node/unnamed".parse().expect("a valid SPIFFE ID")
}
