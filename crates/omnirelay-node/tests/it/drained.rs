//! Nodes that an operator empties while they are called.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use identity::{Credentials, ExpectedPeer};
use serde_json::{Value, json};
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tokio::time::interval;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::api::{ask, credentials, post};
use crate::process::{TestResult, within_limit};
use crate::service_mesh::{App, Mesh, Node, says};

/// Callers of each kind.
const CALLERS: usize = 16;

/// By what a caller calls.
#[derive(Debug, Clone, Copy)]
enum Kind {
    GrpcOverHttp2,
    GrpcOverHttp3,
    Http,
}

/// Three nodes: a gateway, by which all calls come, and two with an application each. The first of those can be emptied.
struct Drill {
    apps: [App; 2],
    mesh: Mesh,
    gateway: Node,
    workers: [Node; 2],
    operator: Credentials,
}

impl Drill {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let (apps, mut mesh) = ([App::start().await?, App::start().await?], Mesh::new()?);
        let gateway = mesh.start("node-a", "gateway", "").await?;
        let with_control = format!("control.address = '127.0.0.1:0'\n{}", apps[0].served());
        let first = mesh.start("node-b", "worker", &with_control).await?;
        let workers = [first, mesh.worker("node-c", &apps[1]).await?];
        mesh.issue("operator", "operator")?;
        let operator = credentials(mesh.path(), "operator")?;
        Ok(Self { apps, mesh, gateway, workers, operator })
    }

    /// Returns a channel to the node, over one protocol.
    fn channel(&self, node: &Node, mode: Http3Mode) -> Result<Channel, Box<dyn Error>> {
        let mut profile = Profile::data_plane();
        profile.http3.mode = mode;
        let options = FactoryOptions { profiles: [("drill".to_owned(), profile)].into(), ..FactoryOptions::default() };
        let factory = ClientFactory::new(Arc::new(credentials(self.mesh.path(), "operator")?), options)?;
        let address: SocketAddr = node.ready["rpc"].as_str().ok_or("no address for calls")?.parse()?;
        Ok(factory.channel(&Target::new(address.into(), ExpectedPeer::Member), "drill")?)
    }

    /// Asks the first worker's control endpoint.
    async fn upgrade(&self, request: &str) -> Result<Value, Box<dyn Error>> {
        let control = self.workers[0].ready["control"].as_str().ok_or("no control address")?.parse()?;
        let (status, document) = ask(&self.operator, control, request).await?;
        assert_eq!(status, 200, "{document}");
        Ok(document)
    }

    /// Empties the first worker, as `omnirelay mesh upgrade drain node-b --wait` does, and returns how that ended.
    async fn drain(&self, timeout_ms: u64) -> Result<Value, Box<dyn Error>> {
        let wanted = json!({"nodeId": "node-b", "timeoutMs": timeout_ms, "reason": "new kernel"});
        let mut document = self.upgrade(&post("/control/upgrade/drain", &wanted)).await?;
        let mut looks = interval(Duration::from_millis(20));
        while document["state"] != "drained" {
            looks.tick().await;
            document = self.upgrade("GET /control/upgrade HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        }
        Ok(document)
    }

    fn begun(&self) -> [u64; 2] {
        self.apps.each_ref().map(|app| app.echo.calls().begun)
    }
}

/// Makes one call.
async fn call(channel: Channel, kind: Kind) -> Result<(), Box<dyn Error + Send + Sync>> {
    if !matches!(kind, Kind::Http) {
        EchoClient::new(channel).unary(says("a", false)).await?;
        return Ok(());
    }
    // One field, number 1, of one byte: see Protocol Buffers' encoding.
    let request = Request::post("/omnirelay.test.v1.Echo/Unary")
        .header("content-type", "application/protobuf")
        .body(Body::new(Full::new(Bytes::from_static(b"\x0a\x01a"))))?;
    let response = channel.oneshot(request).await?;
    let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
    if status == StatusCode::OK { Ok(()) } else { Err(format!("{status}: {body:?}").into()) }
}

/// Calls that go on until they are to end.
#[derive(Default)]
struct Load {
    done: [AtomicUsize; 3],
    is_over: AtomicBool,
}

impl Load {
    /// Calls until the end, or until a call fails.
    async fn call_on(self: Arc<Self>, place: usize, channel: Channel, kind: Kind) -> Result<(), String> {
        while !self.is_over.load(Ordering::SeqCst) {
            call(channel.clone(), kind).await.map_err(|error| format!("{kind:?}: {error}"))?;
            self.done[place].fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Waits until callers of each kind have been answered so many times more.
    async fn more(&self, count: usize) -> TestResult {
        let read = || self.done.each_ref().map(|done| done.load(Ordering::SeqCst));
        let (before, mut looks) = (read(), interval(Duration::from_millis(5)));
        let answered = async {
            while read().iter().zip(before).any(|(now, before)| *now < before + count) {
                looks.tick().await;
            }
        };
        within_limit(answered).await
    }
}

#[tokio::test]
async fn a_node_that_is_emptied_under_load_costs_no_call_of_any_kind() -> TestResult {
    let drill = Drill::start().await?;
    let kinds = [Kind::GrpcOverHttp2, Kind::GrpcOverHttp3, Kind::Http];
    let modes = [Http3Mode::Off, Http3Mode::Only, Http3Mode::Off];
    let first = drill.channel(&drill.gateway, Http3Mode::Off)?;
    let mut looks = interval(Duration::from_millis(10));
    let all_answer = async {
        while drill.begun().contains(&0) {
            looks.tick().await;
            // The news of a service takes its time.
            drop(call(first.clone(), Kind::GrpcOverHttp2).await);
        }
    };
    within_limit(all_answer).await?;
    let (load, mut callers) = (Arc::<Load>::default(), JoinSet::new());
    for (place, (kind, mode)) in kinds.into_iter().zip(modes).enumerate() {
        let channel = drill.channel(&drill.gateway, mode)?;
        for _ in 0..CALLERS {
            callers.spawn(Arc::clone(&load).call_on(place, channel.clone(), kind));
        }
    }
    load.more(30).await?;
    let drained = within_limit(drill.drain(60_000)).await??;
    assert_eq!((&drained["cutRequests"], &drained["activeRequests"]), (&json!(0), &json!(0)), "{drained}");
    let emptied = drill.begun();
    load.more(50).await?;
    let later = drill.begun();
    assert_eq!(later[0], emptied[0], "nothing comes any more");
    assert!(later[1] > emptied[1]);

    // Whoever does not know yet is told to go elsewhere.
    let late = EchoClient::new(drill.channel(&drill.workers[0], Http3Mode::Off)?).unary(says("a", false)).await;
    let late = late.expect_err("it takes no calls");
    assert_eq!(late.code(), Code::Unavailable, "{late:?}");
    assert!(late.message().contains("the node is draining and takes no new calls"), "{late:?}");

    drill.upgrade(&post("/control/upgrade/resume", &json!({"nodeId": "node-b"}))).await?;
    let back = async {
        while drill.begun()[0] == emptied[0] {
            looks.tick().await;
        }
    };
    within_limit(back).await?;
    load.is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = within_limit(callers.join_next()).await? {
        ended??;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_takes_longer_than_an_operator_waits_is_cut_off_and_both_are_told() -> TestResult {
    let drill = Drill::start().await?;
    let channel = drill.channel(&drill.workers[0], Http3Mode::Off)?;
    let (mut client, mut calls) = (EchoClient::new(channel), JoinSet::new());
    let mut looks = interval(Duration::from_millis(10));
    let held = EchoRequest { held: true, ..EchoRequest::default() };
    let known = async {
        while client.unary(says("a", false)).await.is_err() {
            looks.tick().await;
        }
    };
    within_limit(known).await?;
    let before = drill.begun()[0];
    calls.spawn(async move { client.unary(held).await });
    let is_there = async {
        while drill.begun()[0] == before {
            looks.tick().await;
        }
    };
    within_limit(is_there).await?;
    let drained = within_limit(drill.drain(300)).await??;
    assert_eq!((&drained["cutRequests"], &drained["reason"]), (&json!(1), &json!("new kernel")), "{drained}");
    let told = within_limit(calls.join_next()).await?.ok_or("no call")??.expect_err("it was cut off");
    assert_eq!((told.code(), told.message()), (Code::Unavailable, "the node is drained, and the call took too long"));
    assert_eq!(told.metadata().get("retry-after").map(|after| after.as_bytes()), Some(&b"1"[..]));
    Ok(())
}
