//! Pages that are no calls.

use bytes::Bytes;
use dispatcher::middleware::{CatchPanic, Deadlines};
use dispatcher::{
    Body, Dispatcher, Forward, Front, LatencySummary, OutboundSummary, PeerSummary, Procedure, Raw, Readiness, Request,
    ServiceName,
};
use futures_util::future::BoxFuture;
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tower::ServiceExt as _;

use crate::fixture::{BoxError, Outcome};

/// A way out with one peer.
#[derive(Debug)]
struct Payments;

impl Forward for Payments {
    fn knows(&self, _service: &ServiceName) -> bool {
        false
    }

    fn outbounds(&self) -> Vec<OutboundSummary> {
        let peer = PeerSummary {
            peer: "node-b".to_owned(),
            endpoint: "10.0.0.2:7070".to_owned(),
            status: "closed".to_owned(),
            inflight: 1,
            successes: 2,
            failures: 3,
            latency_ms: Some(LatencySummary { p50: 1.5, p90: 2.0, p99: 9.0 }),
        };
        let (service, transport, chooser) = ("payments".to_owned(), "grpc".to_owned(), Some("adaptive".to_owned()));
        vec![OutboundSummary { service, transport, chooser, peers: vec![peer] }]
    }

    fn forward(
        &self,
        service: &ServiceName,
        _request: http::Request<Body>,
    ) -> BoxFuture<'static, http::Response<Body>> {
        unreachable!("nobody calls {service}")
    }
}

async fn get(front: &Front, path: &str) -> Result<(StatusCode, Value), BoxError> {
    let Ok(response) = front.clone().oneshot(http::Request::get(path).body(Empty::<Bytes>::new())?).await;
    let (head, body) = response.into_parts();
    Ok((head.status, serde_json::from_slice(&body.collect().await?.to_bytes())?))
}

#[tokio::test]
async fn introspection_shows_what_comes_in_and_goes_out() -> Outcome {
    let note = Procedure::oneway("notes/take".parse()?, Raw, |_: Request<Bytes>| async { Ok(()) });
    let dispatcher = Dispatcher::builder()
        .layer("catch-panic", CatchPanic)
        .procedure(note.layer("deadlines", Deadlines::default()))
        .build()?;
    let front = Front::builder(dispatcher)
        .named("notebook".parse()?)
        .grpc_service(EchoServer::new(EchoService::default()))
        .component("gossip", "membership")
        .forward(std::sync::Arc::new(Payments))
        .build();
    let expected = json!({
        "service": "notebook",
        "status": "healthy",
        "procedures": {
            "unary": [],
            "oneway": [{ "service": "notes", "name": "take", "encoding": "raw", "middleware": ["deadlines"] }],
            "serverStream": [],
            "clientStream": [],
            "duplex": [],
        },
        "components": [
            { "name": "grpc", "type": "inbound" },
            { "name": "http", "type": "inbound" },
            { "name": "omnirelay.test.v1.Echo", "type": "grpc-service" },
            { "name": "gossip", "type": "membership" },
        ],
        "middleware": ["catch-panic"],
        "outbounds": [{
            "service": "payments",
            "transport": "grpc",
            "chooser": "adaptive",
            "peers": [{
                "peer": "node-b",
                "endpoint": "10.0.0.2:7070",
                "status": "closed",
                "inflight": 1,
                "successes": 2,
                "failures": 3,
                "latencyMs": { "p50": 1.5, "p90": 2.0, "p99": 9.0 },
            }],
        }],
    });
    assert_eq!(get(&front, "/omnirelay/introspect").await?, (StatusCode::OK, expected));
    Ok(())
}

#[tokio::test]
async fn a_node_that_drains_is_alive_and_not_ready() -> Outcome {
    let readiness = Readiness::new("gateway");
    let front = Front::builder(Dispatcher::default()).readiness(readiness.clone()).build();
    let health = |status: &str, draining: bool| json!({ "status": status, "mode": "gateway", "issues": [], "activeRequests": 0, "draining": draining });
    assert_eq!(get(&front, "/readyz").await?, (StatusCode::OK, health("healthy", false)));
    readiness.set_draining(true);
    assert_eq!(get(&front, "/readyz").await?, (StatusCode::SERVICE_UNAVAILABLE, health("draining", true)));
    assert_eq!(get(&front, "/healthz").await?, (StatusCode::OK, health("draining", true)));
    Ok(())
}
