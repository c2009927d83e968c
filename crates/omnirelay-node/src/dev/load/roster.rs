//! The nodes of a development mesh as peers, as one of them tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use mesh_types::{
    BootEpoch, Endpoint, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle, NodeMetadata,
    ServiceName,
};
use peers_core::{Peer, PeerSource, PeerUpdate, PeerUpdates};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

/// The peers, as whoever calls them follows them.
#[derive(Debug, Clone)]
pub(super) struct Roster(pub(super) watch::Receiver<Vec<Peer>>);

impl PeerSource for Roster {
    fn subscribe(&self) -> PeerUpdates {
        let first = PeerUpdate::Reset(self.0.borrow().clone());
        let later = stream::unfold(self.0.clone(), |mut peers| async move {
            peers.changed().await.ok()?;
            let update = PeerUpdate::Reset(peers.borrow_and_update().clone());
            Some((update, peers))
        });
        Box::pin(stream::once(std::future::ready(first)).chain(later))
    }
}

/// A member, as `/control/peers` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    node_id: String,
    state: String,
    generation: String,
    incarnation: u64,
    metadata: Said,
}

/// What a member says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    role: String,
    cluster_id: String,
    region: String,
    mesh_version: String,
    #[serde(rename = "http3Support")]
    http3_support: bool,
    endpoint: String,
    metadata_version: u64,
    labels: BTreeMap<String, String>,
    lifecycle: String,
    services: BTreeSet<String>,
    rpc_endpoint: Option<String>,
}

type Unreadable = Box<dyn std::error::Error + Send + Sync>;

/// Returns the peers among `documents`: members that may be called.
pub(super) fn peers(documents: &[Box<RawValue>]) -> Result<Vec<Peer>, Unreadable> {
    let members = documents.iter().map(|document| serde_json::from_str::<Entry>(document.get())?.member());
    let peers = members.map(|member| member.map(|member| member.as_ref().and_then(Peer::from_member)));
    peers.filter_map(Result::transpose).collect()
}

impl Entry {
    /// Returns the member; `None` if its state has a word that is not known here.
    fn member(self) -> Result<Option<Member>, Unreadable> {
        let state = match self.state.as_str() {
            "Alive" => MemberState::Alive,
            "Suspect" => MemberState::Suspect,
            "Unreachable" => MemberState::Unreachable,
            "Dead" => MemberState::Dead,
            "Left" => MemberState::Left,
            _ => return Ok(None),
        };
        Ok(Some(Member {
            id: self.node_id.parse()?,
            boot_epoch: BootEpoch(self.generation.parse()?),
            incarnation: Incarnation(self.incarnation),
            state,
            metadata_version: MetadataVersion(self.metadata.metadata_version),
            metadata: Arc::new(self.metadata.read()?),
            last_seen: tokio::time::Instant::now().into_std(),
            rtt: None,
        }))
    }
}

impl Said {
    fn read(self) -> Result<NodeMetadata, Unreadable> {
        Ok(NodeMetadata {
            role: self.role.parse()?,
            cluster: self.cluster_id.parse()?,
            region: self.region.parse()?,
            mesh_version: self.mesh_version.into(),
            http3_support: self.http3_support,
            endpoint: self.endpoint.parse()?,
            labels: self.labels,
            features: Features::default(),
            lifecycle: self.lifecycle.parse::<NodeLifecycle>()?,
            services: self.services.iter().map(|name| name.parse::<ServiceName>()).collect::<Result<_, _>>()?,
            rpc_endpoint: self.rpc_endpoint.as_deref().map(str::parse::<Endpoint>).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use peers_core::{Health, Lifecycle};

    use super::*;

    fn document(state: &str, lifecycle: &str) -> Result<Box<RawValue>, serde_json::Error> {
        RawValue::from_string(format!(
            r#"{{"nodeId":"node-a","status":"Alive","lastSeen":"2025-11-19T15:23:04+00:00","rttMs":null,"metadata":{{
                "role":"worker","clusterId":"dev","region":"local","meshVersion":"1","http3Support":true,
                "endpoint":"127.0.0.1:17421","metadataVersion":3,"labels":{{}},"lifecycle":"{lifecycle}","features":[],
                "services":["omnirelay.demo.v1.Greeter"],"rpcEndpoint":"127.0.0.1:7420"}},
                "state":"{state}","generation":"18446744073709551615","incarnation":2,"somethingNew":1}}"#
        ))
    }

    #[test]
    fn what_a_node_says_of_a_member_makes_the_peer_that_a_node_would_see() -> Result<(), Unreadable> {
        let seen = |state, lifecycle| -> Result<_, Unreadable> {
            let found = peers(&[document(state, lifecycle)?])?;
            Ok(found.into_iter().map(|peer| (peer.health, peer.lifecycle)).collect::<Vec<_>>())
        };
        assert_eq!(seen("Alive", "active")?, [(Health::Healthy, Lifecycle::Active)]);
        assert_eq!(seen("Suspect", "draining")?, [(Health::Degraded, Lifecycle::Draining)]);
        assert_eq!(seen("Unreachable", "active")?, []);
        let peer = peers(&[document("Alive", "active")?])?.pop().ok_or("no peer")?;
        let endpoint = peer.endpoints.first().map(|endpoint| endpoint.address.to_string());
        assert_eq!((peer.generation, endpoint.as_deref()), (BootEpoch(u64::MAX), Some("127.0.0.1:7420")));
        Ok(())
    }
}
