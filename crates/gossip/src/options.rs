//! How a node gossips.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use identity::SpiffeId;
use membership::{Amount, Bound, Knob, KnobFacts, OptionsError, Profile};
use mesh_types::{ClusterId, Endpoint, NodeId, Region, Role, ServiceName};

/// How a node gossips. Field names in configuration are the same in camel case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Name of the node; must be the one in its certificate.
    pub node_id: NodeId,
    /// What the node is for; must be the role in its certificate.
    pub role: Role,
    /// Cluster whose nodes it gossips with; must be the one in its certificate.
    pub cluster_id: ClusterId,
    /// Where it runs.
    pub region: Region,
    /// Version it advertises; default this build's.
    pub mesh_version: String,
    /// Whether it advertises HTTP/3; default true.
    pub http3_support: bool,
    /// Labels it advertises; default none, at most 32.
    pub labels: BTreeMap<String, String>,
    /// Services it takes calls for from the start; default none, at most 64. See [`Handle::announce`](crate::Handle::announce).
    pub services: BTreeSet<ServiceName>,
    /// Port at which others reach what takes this node's calls, at the host that it advertises; default none: it takes no calls.
    pub rpc_port: Option<NonZeroU16>,
    /// Address it listens on; default `0.0.0.0`.
    pub bind_address: IpAddr,
    /// UDP port it listens on; default 17421. 0 takes any free one.
    pub port: u16,
    /// Host it advertises to others; default the bind address, or where that is `0.0.0.0` the address that faces the
    /// first seed.
    pub advertise_host: Option<String>,
    /// Port it advertises to others; default the one it listens on.
    pub advertise_port: Option<u16>,
    /// Time between two probes; see [`membership::Options::interval`]. Default 1 s.
    pub interval: Duration,
    /// Overlay links; see [`membership::Options::fanout`]. Default 8.
    pub fanout: u8,
    /// Time in which a silent member is judged; see [`membership::Options::suspicion_interval`]. Default 5 s.
    pub suspicion_interval: Duration,
    /// How long an unreachable member has to deny it before it is dead; see [`membership::Options::dead_after`]. Default half of
    /// `suspicion_interval`.
    pub dead_after: Option<Duration>,
    /// Longest wait for an answer; see [`membership::Options::ping_timeout`]. Default 2 s.
    pub ping_timeout: Duration,
    /// Most sends of one update per link; see [`membership::Options::retransmit_limit`]. Default 3.
    pub retransmit_limit: u8,
    /// How often the own record is repeated; see [`membership::Options::metadata_refresh_period`]. Default 30 s.
    pub metadata_refresh_period: Duration,
    /// Most bytes sent to one member a second; see [`membership::Options::link_bytes_per_second`]. Default 524,288.
    pub link_bytes_per_second: u32,
    /// Most datagrams sent to one member a second; see [`membership::Options::link_datagrams_per_second`]. Default 1,000.
    pub link_datagrams_per_second: u32,
    /// Where the mesh may be found; default nowhere: others must dial this node. At most 64.
    pub seed_peers: Vec<Endpoint>,
    /// Most connections kept, overlay links included; default 72, at least twice `fanout`, at most 1,024. A link costs some
    /// 30 KiB; fewer links mean more handshakes.
    pub max_links: usize,
    /// How long a connection without traffic is kept; default 30 s, 5 s to 10 minutes. Overlay links see a probe at
    /// least every `fanout` × `interval`; keep it above that.
    pub idle_timeout: Duration,
    /// Within what time all links are begun anew after a change of the node's certificate, each at a moment of its own; the old
    /// ones serve until then. Default 30 s, at most 10 minutes, and never longer than half of what is left of the old
    /// certificate. Shorter lets an old certificate go sooner, and costs its handshakes at once.
    pub rehandshake_window: Duration,
}

impl Options {
    /// Makes the options of the node that `id`, the name in its certificate, is of; defaults for everything else.
    #[must_use]
    pub fn of(id: &SpiffeId, region: Region) -> Self {
        Self::new(id.node().clone(), id.cluster().clone(), id.role().clone(), region)
    }

    /// Makes options with defaults for everything else.
    #[must_use]
    pub fn new(node_id: NodeId, cluster_id: ClusterId, role: Role, region: Region) -> Self {
        let protocol = Profile::default().options();
        Self {
            node_id,
            role,
            cluster_id,
            region,
            mesh_version: env!("CARGO_PKG_VERSION").to_owned(),
            http3_support: true,
            labels: BTreeMap::new(),
            services: BTreeSet::new(),
            rpc_port: None,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: 17421,
            advertise_host: None,
            advertise_port: None,
            interval: protocol.interval,
            fanout: protocol.fanout,
            suspicion_interval: protocol.suspicion_interval,
            dead_after: protocol.dead_after,
            ping_timeout: protocol.ping_timeout,
            retransmit_limit: protocol.retransmit_limit,
            metadata_refresh_period: protocol.metadata_refresh_period,
            link_bytes_per_second: protocol.link_bytes_per_second,
            link_datagrams_per_second: protocol.link_datagrams_per_second,
            seed_peers: Vec::new(),
            max_links: 72,
            idle_timeout: Duration::from_secs(30),
            rehandshake_window: Duration::from_secs(30),
        }
    }

    /// Takes over what a profile says of the protocol.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        let protocol = profile.options();
        Self {
            interval: protocol.interval,
            fanout: protocol.fanout,
            suspicion_interval: protocol.suspicion_interval,
            dead_after: protocol.dead_after,
            ping_timeout: protocol.ping_timeout,
            retransmit_limit: protocol.retransmit_limit,
            metadata_refresh_period: protocol.metadata_refresh_period,
            link_bytes_per_second: protocol.link_bytes_per_second,
            link_datagrams_per_second: protocol.link_datagrams_per_second,
            ..self
        }
    }

    /// The options with ranges that are not the protocol's.
    const KNOBS: &[Knob<Self>] = &[
        Knob {
            option: "seedPeers",
            value: |o| Amount::Count(count(o.seed_peers.len())),
            least: Bound::Is(Amount::Count(0)),
            most: Bound::Is(Amount::Count(64)),
            turn: "Where the mesh may be found, as `host:port`. Two or three stable nodes, the same list everywhere; a node \
                   without any waits to be found.",
        },
        Knob {
            option: "maxLinks",
            value: |o| Amount::Count(count(o.max_links)),
            least: Bound::Of("twice fanout", |o| Amount::Count(2 * u64::from(o.fanout))),
            most: Bound::Is(Amount::Count(1_024)),
            turn: "Most connections kept, overlay links included, some 30 KiB each. Fewer means more handshakes.",
        },
        Knob {
            option: "idleTimeout",
            value: |o| Amount::Time(o.idle_timeout),
            least: Bound::Is(Amount::secs(5)),
            most: Bound::Is(Amount::secs(600)),
            turn: "How long a connection without traffic is kept. Keep it above `fanout` × `interval`, or overlay links are \
                   dialled again and again.",
        },
        Knob {
            option: "rehandshakeWindow",
            value: |o| Amount::Time(o.rehandshake_window),
            least: Bound::Is(Amount::secs(0)),
            most: Bound::Is(Amount::secs(600)),
            turn: "Within what time all links are begun anew after a change of the node's certificate. Shorter lets the old \
                   certificate go sooner, and costs its handshakes at once.",
        },
        Knob {
            option: "advertisePort",
            value: |o| Amount::Count(o.advertise_port.unwrap_or_else(|| o.port.max(1)).into()),
            least: Bound::Is(Amount::Count(1)),
            most: Bound::Is(Amount::Count(65_535)),
            turn: "Port that others are told; the one it listens on unless set. Set it behind NAT.",
        },
    ];

    /// Returns what is to be known of every option that has a range, with its value here.
    #[must_use]
    pub fn knobs(&self) -> Vec<KnobFacts> {
        let protocol = self.protocol();
        // How many members a table holds is not for a node to choose: all of a mesh must have room for all.
        let protocols = membership::Options::KNOBS.iter().filter(|knob| knob.option != "maxMembers");
        let own = Self::KNOBS.iter().map(|knob| knob.facts(self));
        protocols.map(|knob| knob.facts(&protocol)).chain(own).collect()
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        self.protocol().validate()?;
        Self::KNOBS.iter().try_for_each(|knob| knob.check(self))?;
        if let Some(host) = &self.advertise_host
            && advertised(host, 1).is_err()
        {
            let valid = "a DNS name or an address".to_owned();
            return Err(OptionsError { option: "advertiseHost", value: host.clone(), valid });
        }
        Ok(())
    }

    /// Returns the options of the protocol core.
    pub(crate) fn protocol(&self) -> membership::Options {
        membership::Options {
            interval: self.interval,
            fanout: self.fanout,
            suspicion_interval: self.suspicion_interval,
            dead_after: self.dead_after,
            ping_timeout: self.ping_timeout,
            retransmit_limit: self.retransmit_limit,
            metadata_refresh_period: self.metadata_refresh_period,
            link_bytes_per_second: self.link_bytes_per_second,
            link_datagrams_per_second: self.link_datagrams_per_second,
            ..membership::Options::default()
        }
    }
}

/// Makes the endpoint that a node advertises.
pub(crate) fn advertised(host: &str, port: u16) -> Result<Endpoint, mesh_types::ParseEndpointError> {
    if host.contains(':') { format!("[{host}]:{port}").parse() } else { format!("{host}:{port}").parse() }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: fn(&mut Options), refused: Option<&str>) {
        let name = "node-a".parse().and_then(|node| Ok((node, "alpha".parse()?, "worker".parse()?, "eu-1".parse()?)));
        let Ok((node, cluster, role, region)) = name else { panic!("valid names") };
        let mut options = Options::new(node, cluster, role, region);
        change(&mut options);
        assert_eq!(options.validate().err().map(|error| error.option), refused);
    }

    #[test]
    fn each_option_is_valid_at_its_bounds_and_refused_beyond() {
        check(|_| {}, None);
        check(|o| o.interval = Duration::ZERO, Some("interval"));
        check(|o| o.max_links = 16, None);
        check(|o| o.max_links = 15, Some("maxLinks"));
        check(|o| o.idle_timeout = Duration::from_secs(4), Some("idleTimeout"));
        check(|o| o.rehandshake_window = Duration::ZERO, None);
        check(|o| o.rehandshake_window = Duration::from_secs(601), Some("rehandshakeWindow"));
        check(|o| o.advertise_port = Some(0), Some("advertisePort"));
        check(|o| o.advertise_host = Some("::1".to_owned()), None);
        check(|o| o.advertise_host = Some("a b".to_owned()), Some("advertiseHost"));
    }
}
