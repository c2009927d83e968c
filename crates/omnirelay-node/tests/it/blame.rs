//! What a node says of others that its calls do not reach, or that fail at them.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use identity::Credentials;
use serde_json::Value;
use test_rpc::Way;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoRequest, Failure};
use tokio::time::interval;
use tonic::Code;
use tonic::transport::Channel;

use crate::api::{ask, credentials, fetch, get};
use crate::process::{TestResult, within_limit};
use crate::service_mesh::{App, Mesh, Node, client, says, until_all_answer};

/// A dispatcher, and two workers that serve the same; to the first leads a way that can be blocked.
struct Trio {
    _mesh: Mesh,
    way: Way,
    far: SocketAddr,
    client: EchoClient<Channel>,
    operator: Credentials,
    control: SocketAddr,
    _apps: [App; 2],
    _nodes: [Node; 3],
}

/// What is held of a worker.
#[derive(Debug, PartialEq)]
struct Held {
    status: Value,
    health: Value,
    source: Value,
    breaker: Value,
}

impl Held {
    fn is(&self, health: &str, breaker: &str) -> bool {
        self.health == health && self.breaker == breaker
    }
}

impl Trio {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let (apps, way, mut mesh) = ([App::start().await?, App::start().await?], Way::blocked().await?, Mesh::new()?);
        let socket = mesh.path().join("node.sock");
        let entry = "control.address = '127.0.0.1:0'\nrpc.chooser = 'round-robin'";
        let local = format!("{entry}\nrpc.local = 'unix:{}'", socket.display());
        let node = mesh.start("node-a", "dispatcher", &local).await?;
        let port = way.address().port();
        let advertised = format!("{}\nrpc.advertisePort = {port}\nmesh.gossip.http3Support = false", apps[0].served());
        let far = mesh.start("node-b", "worker", &advertised).await?;
        let address = far.ready["rpc"].as_str().ok_or("no address of calls")?.parse()?;
        way.lead_to(address);
        let near = mesh.worker("node-c", &apps[1]).await?;
        let mut client = client(socket).await?;
        until_all_answer(&mut client, &[&apps[0], &apps[1]]).await?;
        let control = node.ready["control"].as_str().ok_or("no control address")?.parse()?;
        let operator = credentials(mesh.path(), "node-a")?;
        Ok(Self { _mesh: mesh, way, far: address, client, operator, control, _apps: apps, _nodes: [node, far, near] })
    }

    async fn peer(&self, name: &str) -> Result<Value, Box<dyn Error>> {
        let (_, document) = ask(&self.operator, self.control, &get("/control/peers")).await?;
        let peers = document["peers"].as_array().ok_or("no peers")?;
        Ok(peers.iter().find(|peer| peer["nodeId"] == name).ok_or("no such peer")?.clone())
    }

    async fn held(&self, name: &str) -> Result<Held, Box<dyn Error>> {
        let mut peer = self.peer(name).await?;
        let mut take = |pointer| peer.pointer_mut(pointer).map(Value::take).ok_or_else(|| format!("no {pointer}"));
        Ok(Held {
            status: take("/status")?,
            health: take("/health")?,
            source: take("/healthSource")?,
            breaker: take("/calls/breaker")?,
        })
    }

    /// Returns the value of the series of `name` whose labels have all of `parts`.
    async fn metric(&self, name: &str, parts: &[&str]) -> Result<Option<f64>, Box<dyn Error>> {
        let (_, text) = fetch(&self.operator, self.control, &get("/metrics")).await?;
        let is_it = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                && parts.iter().all(|part| line.contains(part))
        };
        let value = text.lines().find(is_it).and_then(|line| line.rsplit(' ').next());
        Ok(value.map(str::parse).transpose()?)
    }

    /// Makes calls, each of which must do well, until what is held of `node-b` is so.
    async fn call_until(&mut self, health: &str, breaker: &str) -> TestResult {
        let mut ticks = interval(Duration::from_millis(5));
        let calls = async {
            while !self.held("node-b").await?.is(health, breaker) {
                ticks.tick().await;
                self.client.unary(says("a", true)).await?;
            }
            Ok(())
        };
        within_limit(calls).await?
    }
}

fn fails() -> EchoRequest {
    let failure = Failure { code: Code::Unavailable as i32, message: "not now".to_owned(), ..Failure::default() };
    EchoRequest { failure: Some(failure), ..EchoRequest::default() }
}

#[tokio::test]
async fn a_node_that_calls_do_not_reach_is_unhealthy_wherever_one_looks_until_they_do_again() -> TestResult {
    let mut trio = Trio::start().await?;
    trio.call_until("healthy", "closed").await?;
    trio.way.block();
    trio.call_until("unhealthy", "open").await?;
    assert_eq!(trio.held("node-b").await?.status, "Alive", "gossip goes another way, and sees nothing wrong");
    assert_eq!(trio.peer("node-c").await?["health"], "healthy");

    let of_peer = ["rpc_service=\"omnirelay.test.v1.Echo\"", "rpc_transport=\"grpc\"", "rpc_peer=\"node-b\""];
    let told = trio.peer("node-b").await?["calls"]["unreachable"].as_f64();
    assert!(told >= Some(5.0), "{told:?}");
    assert_eq!(trio.metric("omnirelay_peer_unreachable_total", &of_peer).await?, told);
    assert_eq!(trio.metric("omnirelay_peer_breaker_state", &of_peer).await?, Some(1.0));
    assert_eq!(trio.metric("omnirelay_peer_health_state", &["state=\"unhealthy\""]).await?, Some(1.0));

    trio.way.lead_to(trio.far);
    trio.call_until("healthy", "closed").await?;
    assert_eq!(trio.metric("omnirelay_peer_breaker_state", &of_peer).await?, Some(0.0));
    assert_eq!(trio.metric("omnirelay_peer_health_state", &["state=\"unhealthy\""]).await?, Some(0.0));
    Ok(())
}

#[tokio::test]
async fn an_application_that_fails_makes_its_node_degraded_and_no_worse() -> TestResult {
    let mut trio = Trio::start().await?;
    let mut ticks = interval(Duration::from_millis(5));
    let failing = async {
        // Of two, one may be kept out.
        for name in ["node-b", "node-c"].into_iter().cycle() {
            ticks.tick().await;
            trio.client.unary(fails()).await.expect_err("it is to fail");
            let held = trio.held(name).await?;
            // What is held of it may be 100 ms old, its breaker is seen at once.
            if held.breaker == "open" && held.health != "healthy" {
                return Ok((held, trio.peer(name).await?["calls"]["unreachable"].take()));
            }
        }
        Err::<_, Box<dyn Error>>("nobody was asked".into())
    };
    let (held, unreachable) = within_limit(failing).await??;
    let shown = (held.status.as_str(), held.health.as_str(), held.source.as_str(), unreachable.as_u64());
    assert_eq!(shown, (Some("Alive"), Some("degraded"), Some("breaker"), Some(0)));
    Ok(())
}
