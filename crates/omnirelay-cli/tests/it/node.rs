//! The control endpoint of a node that knows a mesh which the test changes at will.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api::{
    ChangeLabels, ChangeLifecycle, Drain, LabelChanges, LabelsRefused, Limits, Ports, Readiness, Security, Server,
    Workload, router,
};
use mesh_server::Inflight;
use mesh_types::{BootEpoch, Incarnation, Member, MemberState, Membership, MetadataVersion, NodeMetadata};
use peers_core::{MembershipView, Published, VersionFuture};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A running control endpoint; dropping it ends it.
pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    /// Counts the calls that the node has under way.
    pub(crate) inflight: Inflight,
    mesh: Arc<Mesh>,
    _server: JoinSet<()>,
}

struct Mesh(Published<Membership>);

impl Mesh {
    fn change_local(&self, change: impl Fn(&mut NodeMetadata)) {
        let mut membership = Membership::clone(&self.0.load());
        let local = membership.local.clone();
        for member in membership.members.iter_mut().filter(|member| member.id == local) {
            let mut metadata = NodeMetadata::clone(&member.metadata);
            change(&mut metadata);
            member.metadata = Arc::new(metadata);
            member.metadata_version = MetadataVersion(member.metadata_version.0 + 1);
        }
        self.0.publish(membership);
    }
}

impl MembershipView for Mesh {
    fn current(&self) -> Arc<Membership> {
        self.0.load()
    }

    fn changed(&self, _seen: u64) -> VersionFuture<'_> {
        // The control endpoint answers what is now; it waits for nothing.
        Box::pin(pending())
    }
}

impl Node {
    /// Serves a mesh of `node-a`, alive, and `node-b` in `state`.
    pub(crate) async fn start(security: Security, state: MemberState) -> Result<Self, Failure> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), security, state).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, security: Security, state: MemberState) -> Result<Self, Failure> {
        let mesh = Arc::new(Mesh(Published::new(membership(state)?)));
        let members: Arc<dyn MembershipView> = Arc::<Mesh>::clone(&mesh);
        let readiness = Readiness::new("worker");
        let inflight = Inflight::new();
        let workloads = vec![Workload { name: "rpc", inflight: inflight.clone() }];
        let (drain, handle) = Drain::new(workloads, lifecycle(&mesh), readiness.clone());
        let ports = Ports {
            labels: Some(labels(&mesh)),
            drain: Some(handle),
            ..Ports::new(members, Arc::new(String::new), readiness)
        };
        let server = Server::bind(addr, security, Limits::default()).await?;
        let bound = server.local_addr();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(router(ports), CancellationToken::new()));
        tasks.spawn(async {
            drain.run().await;
        });
        Ok(Self { addr: bound, mesh, inflight, _server: tasks })
    }

    /// Makes the node see `node-b` in `state` from now on.
    pub(crate) fn see(&self, state: MemberState) -> Result<(), Failure> {
        self.mesh.0.publish(membership(state)?);
        Ok(())
    }

    pub(crate) fn http_url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// Says what work `node-a` takes.
fn lifecycle(mesh: &Arc<Mesh>) -> Arc<ChangeLifecycle> {
    let mesh = Arc::clone(mesh);
    Arc::new(move |lifecycle| {
        mesh.change_local(|metadata| metadata.lifecycle = lifecycle);
        Box::pin(async { Ok(()) })
    })
}

/// Changes the labels of `node-a`; refuses one that is called `long`.
fn labels(mesh: &Arc<Mesh>) -> Arc<ChangeLabels> {
    let mesh = Arc::clone(mesh);
    Arc::new(move |changes: LabelChanges| {
        let refused = changes.contains_key("long");
        if !refused {
            mesh.change_local(|metadata| {
                for (key, value) in &changes {
                    metadata.labels.remove(key);
                    metadata.labels.extend(value.clone().map(|value| (key.clone(), value)));
                }
            });
        }
        let reason = "labels would not be valid".to_owned();
        Box::pin(async move { if refused { Err(LabelsRefused::Invalid { reason }) } else { Ok(()) } })
    })
}

fn membership(state: MemberState) -> Result<Membership, Failure> {
    let members = vec![member("node-a", "dispatcher", MemberState::Alive)?, member("node-b", "worker", state)?];
    Ok(Membership { version: 1, local: "node-a".parse()?, members })
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
        labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: std::collections::BTreeSet::new(),
        rpc_endpoint: None,
    };
    Ok(Member {
        id: id.parse()?,
        boot_epoch: BootEpoch(u64::MAX),
        incarnation: Incarnation(2),
        state,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: Instant::now(),
        rtt: (role == "worker").then_some(Duration::from_micros(250)),
    })
}
