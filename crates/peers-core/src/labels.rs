//! The labels by which a node describes itself to choosers.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::{Endpoint, NodeMetadata, ParseEndpointError};

use crate::{Lifecycle, Peer, PeerEndpoint, Protocol, Protocols};

/// Most endpoints read from one label.
const MAX_ENDPOINTS: usize = 8;

/// A label of the convention whose value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label `{key}` is `{value}`: {problem}")]
pub struct LabelError {
    /// The label.
    pub key: &'static str,
    /// Its value as given.
    pub value: String,
    /// What would be valid.
    pub problem: &'static str,
}

/// What the labels of a node say.
pub(crate) struct Labelled {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) endpoints: Vec<PeerEndpoint>,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) weight: u16,
    pub(crate) tier: u8,
    pub(crate) slot: Option<u32>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) cordoned: bool,
    pub(crate) flaws: Vec<LabelError>,
}

impl Labelled {
    /// Reads the labels of `metadata`. What is missing or wrong has its default.
    pub(crate) fn read(metadata: &NodeMetadata) -> Self {
        let labels = metadata.labels.iter().map(|(key, value)| (key.to_lowercase(), value.clone())).collect();
        let mut reader = Reader { labels: &labels, flaws: Vec::new() };
        let endpoints = reader.read("peer.endpoints", endpoints).unwrap_or_else(|| vec![only(metadata)]);
        let zone = reader.read("peer.zone", |text| if text.is_empty() { Err("is empty") } else { Ok(text.into()) });
        let weight = reader.read("peer.weight", |text| number(text, "0 to 65535 is valid"));
        let tier = reader.read("peer.tier", |text| number(text, "0 to 255 is valid"));
        let slot = reader.read("peer.slot", |text| number(text, "0 to 4294967295 is valid"));
        let lifecycle = reader.read("peer.lifecycle", lifecycle);
        let cordoned = reader.read("peer.cordoned", |text| number(text, "`true` or `false` is valid"));
        let flaws = reader.flaws;
        Self {
            endpoints,
            zone,
            weight: weight.unwrap_or(Peer::DEFAULT_WEIGHT),
            tier: tier.unwrap_or(0),
            slot,
            lifecycle: lifecycle.unwrap_or_default(),
            cordoned: cordoned.unwrap_or(false),
            flaws,
            labels,
        }
    }
}

struct Reader<'a> {
    labels: &'a BTreeMap<String, String>,
    flaws: Vec<LabelError>,
}

impl Reader<'_> {
    fn read<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let value = self.labels.get(key)?;
        match parse(value.trim()) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.flaws.push(LabelError { key, value: value.clone(), problem });
                None
            }
        }
    }
}

fn number<T: std::str::FromStr>(text: &str, valid: &'static str) -> Result<T, &'static str> {
    text.parse().or(Err(valid))
}

fn lifecycle(text: &str) -> Result<Lifecycle, &'static str> {
    match text {
        "joining" => Ok(Lifecycle::Joining),
        "active" => Ok(Lifecycle::Active),
        "draining" => Ok(Lifecycle::Draining),
        "left" => Ok(Lifecycle::Left),
        _ => Err("`joining`, `active`, `draining` or `left` is valid"),
    }
}

/// Reads `h3+h2@10.0.0.7:8443,h2@10.0.0.7:8444`.
fn endpoints(text: &str) -> Result<Vec<PeerEndpoint>, &'static str> {
    let list: Vec<PeerEndpoint> = text.split(',').map(|part| endpoint(part.trim())).collect::<Result<_, _>>()?;
    if list.len() > MAX_ENDPOINTS { Err("names more than 8 endpoints") } else { Ok(list) }
}

fn endpoint(text: &str) -> Result<PeerEndpoint, &'static str> {
    let (words, host) = text.split_once('@').ok_or("write `h3+h2@host:port`, with `,` between endpoints")?;
    let parsed: Result<Endpoint, ParseEndpointError> = host.parse();
    let Ok(address) = parsed else { return Err("holds an address that is not `host:port`") };
    let mut protocols = Protocols::default();
    for word in words.split('+') {
        protocols = protocols.with(match word {
            "h3" => Protocol::Http3,
            "h2" => Protocol::Http2,
            "h1" => Protocol::Http1,
            _ => return Err("holds a protocol other than `h3`, `h2` and `h1`"),
        });
    }
    Ok(PeerEndpoint { address, protocols })
}

/// Returns the endpoint of a node that labels none: where it says that it takes calls, or else the address that all members know it by.
fn only(metadata: &NodeMetadata) -> PeerEndpoint {
    let protocols = Protocols::default().with(Protocol::Http2);
    let protocols = if metadata.http3_support { protocols.with(Protocol::Http3) } else { protocols };
    let address = metadata.rpc_endpoint.as_ref().unwrap_or(&metadata.endpoint).clone();
    PeerEndpoint { address, protocols }
}
