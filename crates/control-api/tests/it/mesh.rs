//! A mesh of two that never changes, and how to ask a router about it.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use control_api::{Ports, Readiness};
use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, MetadataVersion, NodeMetadata};
use peers_core::{MembershipView, VersionFuture};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

struct Still(Arc<Membership>);

impl MembershipView for Still {
    fn current(&self) -> Arc<Membership> {
        Arc::clone(&self.0)
    }

    fn changed(&self, seen: u64) -> VersionFuture<'_> {
        if seen == self.0.version { Box::pin(pending()) } else { Box::pin(async { self.0.version }) }
    }
}

/// Returns the ports of `node-a`, a dispatcher that suspects `node-b`, a worker.
pub(crate) fn ports(readiness: Readiness) -> Result<Ports, Failure> {
    let members =
        vec![member("node-a", "dispatcher", MemberState::Alive)?, member("node-b", "worker", MemberState::Suspect)?];
    let membership = Membership { version: 1, local: "node-a".parse()?, members };
    let metrics = Arc::new(|| "mesh_gossip_links 2\n".to_owned());
    Ok(Ports::new(Arc::new(Still(Arc::new(membership))), metrics, readiness))
}

#[expect(clippy::disallowed_methods, reason = "members were seen at some real instant")]
fn member(id: &str, role: &str, state: MemberState) -> Result<Member, Failure> {
    let metadata = NodeMetadata {
        role: role.parse()?,
        cluster: "alpha".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "0.1.0".into(),
        http3_support: true,
        endpoint: "127.0.0.1:17421".parse()?,
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    Ok(Member {
        id: id.parse()?,
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: Instant::now(),
        rtt: None,
    })
}
