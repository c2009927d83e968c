//! A node that is emptied: who may ask for it, what is under way, and what is cut off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use control_api::{Drain, LifecycleRefused, PeerName, Ports, Readiness, Workload, router};
use http_body_util::BodyExt as _;
use identity::SpiffeId;
use mesh_server::Inflight;
use mesh_types::NodeLifecycle;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

/// A node with one workload, and what it has told the mesh.
struct Node {
    control: Router,
    inflight: Inflight,
    told: Arc<Mutex<Vec<NodeLifecycle>>>,
    tasks: JoinSet<std::convert::Infallible>,
}

impl Node {
    fn start() -> Result<Self, Failure> {
        let told: Arc<Mutex<Vec<NodeLifecycle>>> = Arc::default();
        let noted = Arc::clone(&told);
        let announce = Arc::new(move |lifecycle| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(lifecycle);
            Box::pin(async { Ok::<_, LifecycleRefused>(()) }) as _
        });
        let (inflight, readiness) = (Inflight::new(), Readiness::new("worker"));
        let workloads = vec![Workload { name: "rpc", inflight: inflight.clone() }];
        let (drain, handle) = Drain::new(workloads, announce, readiness.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(drain.run());
        let control = router(Ports { drain: Some(handle), ..ports(readiness)? });
        Ok(Self { control, inflight, told, tasks })
    }

    /// Asks as a client of `role` and returns status and document.
    async fn ask(&self, role: &str, method: &str, path: &str, body: &str) -> Result<(StatusCode, Value), Failure> {
        let id: SpiffeId = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/node-z").parse()?;
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let control = self.control.clone().layer(Extension(PeerName::from(id)));
        let response = control.oneshot(request.body(Body::from(body.to_owned()))?).await?;
        let status = response.status();
        Ok((status, serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?))
    }

    async fn drain(&self, body: &str) -> Result<Value, Failure> {
        let (status, document) = self.ask("operator", "POST", "/control/upgrade/drain", body).await?;
        assert_eq!(status, StatusCode::OK, "{document}");
        Ok(document)
    }

    /// Returns the document without its time, and whether that is one.
    async fn shown(&self) -> Result<Value, Failure> {
        let (_, mut document) = self.ask("worker", "GET", "/omnirelay/control/upgrade", "").await?;
        let since = document.as_object_mut().and_then(|fields| fields.remove("since")).unwrap_or_default();
        assert!(since.as_str().is_some_and(|since| since.ends_with("+00:00")), "{since}");
        Ok(document)
    }

    fn told(&self) -> Vec<NodeLifecycle> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a call that ends when `release` says so.
    fn begin(&self, release: &watch::Sender<bool>) -> JoinSet<StatusCode> {
        let release = release.subscribe();
        let held = move || {
            let mut release = release.clone();
            async move { release.wait_for(|released| *released).await.map(|_| "done").unwrap_or("gone") }
        };
        let service = self.inflight.guard(Router::new().route("/", get(held)));
        let mut calls = JoinSet::new();
        calls.spawn(async move {
            let Ok(response) = service.oneshot(Request::new(Body::empty())).await;
            let status = response.status();
            // The call is over with its body.
            drop(response.into_body().collect().await);
            status
        });
        calls
    }

    async fn until(&self, state: &str) -> Result<Value, Failure> {
        loop {
            let shown = self.shown().await?;
            if shown["state"] == json!(state) {
                return Ok(shown);
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    }
}

fn document(state: &str, lifecycle: &str, (active, cut): (usize, usize)) -> Value {
    json!({
        "nodeId": "node-a", "state": state, "lifecycle": lifecycle, "remainingMs": null, "reason": null,
        "activeRequests": active, "cutRequests": cut,
        "workloads": [{"name": "rpc", "activeRequests": active, "cutRequests": cut}],
    })
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_calls_under_way() -> Outcome {
    let mut node = Node::start()?;
    let release = watch::Sender::new(false);
    let mut call = node.begin(&release);
    tokio::task::yield_now().await;
    assert_eq!(node.shown().await?, document("active", "active", (1, 0)));

    let begun = node.drain(r#"{"nodeId":"node-a","timeoutMs":60000,"reason":"new kernel"}"#).await?;
    assert_eq!((&begun["state"], &begun["reason"]), (&json!("draining"), &json!("new kernel")));
    assert!(begun["remainingMs"].as_u64().is_some_and(|ms| (59_000..=60_000).contains(&ms)), "{begun}");
    assert_eq!(node.told(), [NodeLifecycle::Draining]);
    let (ready, health) = node.ask("worker", "GET", "/readyz", "").await?;
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&health["status"], &health["draining"]), (&json!("draining"), &json!(true)));

    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(node.shown().await?["state"], json!("draining"));
    release.send_replace(true);
    assert_eq!(call.join_next().await.ok_or("no call")??, StatusCode::OK);
    let mut drained = document("drained", "draining", (0, 0));
    drained["reason"] = json!("new kernel");
    assert_eq!(node.until("drained").await?, drained);
    node.tasks.shutdown().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_at_the_deadline_is_cut_off_and_counted() -> Outcome {
    let (recorder, metrics) = telemetry::build_metrics()?;
    let _recording = metrics::set_default_local_recorder(&recorder);
    let node = Node::start()?;
    let never = watch::Sender::new(false);
    let (mut first, mut second) = (node.begin(&never), node.begin(&never));
    tokio::task::yield_now().await;
    node.drain(r#"{"timeoutMs":1500}"#).await?;
    for call in [&mut first, &mut second] {
        assert_eq!(call.join_next().await.ok_or("no call")??, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(node.until("drained").await?, document("drained", "draining", (0, 2)));
    let text = metrics.render();
    assert!(text.contains("omnirelay_drain_cut_total{workload=\"rpc\"} 2\n"), "{text}");

    node.ask("operator", "POST", "/control/upgrade/resume", "").await?;
    assert_eq!(node.shown().await?, document("active", "active", (0, 0)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_resumes_is_ready_again_and_forgets_the_deadline() -> Outcome {
    let node = Node::start()?;
    node.drain("").await?;
    node.until("drained").await?;
    let (status, resumed) = node.ask("operator", "POST", "/omnirelay/control/upgrade/resume", "{}").await?;
    assert_eq!((status, &resumed["state"]), (StatusCode::OK, &json!("active")));
    assert_eq!(node.told(), [NodeLifecycle::Draining, NodeLifecycle::Active]);
    assert_eq!(node.ask("worker", "GET", "/readyz", "").await?.0, StatusCode::OK);
    // What came after the drain is not cut off by it.
    let never = watch::Sender::new(false);
    let mut call = node.begin(&never);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(node.shown().await?, document("active", "active", (1, 0)));
    call.shutdown().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lifecycle_and_a_drain_are_one_state() -> Outcome {
    let node = Node::start()?;
    let never = watch::Sender::new(false);
    let mut call = node.begin(&never);
    tokio::task::yield_now().await;
    let change = |lifecycle: &str| json!({"lifecycle": lifecycle, "timeoutMs": 5000}).to_string();
    node.ask("operator", "POST", "/control/lifecycle", &change("draining")).await?;
    let draining = node.shown().await?;
    assert_eq!(draining["state"], json!("draining"));
    assert!(draining["remainingMs"].as_u64().is_some_and(|ms| (4000..=5000).contains(&ms)), "{draining}");
    node.ask("operator", "POST", "/control/lifecycle", &change("cordoned")).await?;
    assert_eq!(node.shown().await?, document("active", "cordoned", (1, 0)));
    call.shutdown().await;
    node.drain("").await?;
    assert_eq!(node.shown().await?, document("drained", "draining", (0, 0)));
    node.ask("operator", "POST", "/control/lifecycle", &change("active")).await?;
    assert_eq!(node.shown().await?, document("active", "active", (0, 0)));
    Ok(())
}

/// Asks for a drain as `role`, and checks that it is refused with `status` and `message`, and that nothing begins.
async fn check_refused(role: &str, body: &str, status: StatusCode, message: &str) -> Outcome {
    let node = Node::start()?;
    let (found, told) = node.ask(role, "POST", "/control/upgrade/drain", body).await?;
    assert_eq!(found, status, "{body}");
    assert!(told["error"]["message"].as_str().unwrap_or_default().contains(message), "{told}");
    assert_eq!((node.told(), node.shown().await?), (Vec::new(), document("active", "active", (0, 0))));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_may_not_or_asks_for_something_else_begins_no_drain() -> Outcome {
    check_refused("worker", "", StatusCode::FORBIDDEN, "may not drain the node").await?;
    let elsewhere = r#"{"nodeId":"node-b"}"#;
    check_refused("operator", elsewhere, StatusCode::PRECONDITION_FAILED, "not `node-b`").await?;
    let message = "timeoutMs 86400001 is more than 86400000";
    check_refused("operator", r#"{"timeoutMs":86400001}"#, StatusCode::BAD_REQUEST, message).await?;
    let long = json!({"reason": "r".repeat(257)}).to_string();
    check_refused("operator", &long, StatusCode::BAD_REQUEST, "reason has 257 bytes, more than 256").await?;
    check_refused("operator", r#"{"node":"node-a"}"#, StatusCode::BAD_REQUEST, "unknown field `node`").await
}
