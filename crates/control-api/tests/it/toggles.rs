//! What is logged and traced: who may change it, and what it is then.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use control_api::{PeerName, Ports, Readiness, Toggle, router};
use http_body_util::BodyExt as _;
use identity::SpiffeId;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

const LOGGING: &str = "/omnirelay/control/logging";
const TRACING: &str = "/omnirelay/control/tracing";

/// A setting that refuses `refused`.
fn toggle<T: Clone + PartialEq + Send + Sync + 'static>(first: T, refused: T) -> (Toggle<T>, Arc<Mutex<T>>) {
    let value = Arc::new(Mutex::new(first));
    let (read, changed) = (Arc::clone(&value), Arc::clone(&value));
    let toggle = Toggle::new(
        move || read.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        move |wanted| {
            if wanted == refused {
                return Err("it is not valid".to_owned());
            }
            *changed.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
            Ok(())
        },
    );
    (toggle, value)
}

/// A node that logs by `filter` and keeps half of its traces.
struct Node {
    ports: Ports,
    filter: Arc<Mutex<String>>,
}

impl Node {
    fn logging_by(filter: &str) -> Result<Self, Failure> {
        let (log_filter, filter) = toggle(filter.to_owned(), "refused".to_owned());
        let (sample_ratio, _) = toggle(0.5, 7.0);
        let (log_filter, sample_ratio) = (Some(log_filter), Some(sample_ratio));
        let ports = Ports { log_filter, sample_ratio, ..ports(Readiness::new("worker"))? };
        Ok(Self { ports, filter })
    }

    /// Asks as a client of `role`; posts if there is a body.
    async fn ask(&self, role: &str, path: &str, body: Option<Value>) -> Result<(StatusCode, Value), Failure> {
        let id: SpiffeId = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/node-z").parse()?;
        let request = match body {
            None => Request::get(path).body(Body::empty())?,
            Some(body) => {
                Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?
            }
        };
        let response = router(self.ports.clone()).layer(Extension(PeerName::from(id))).oneshot(request).await?;
        let status = response.status();
        Ok((status, serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?))
    }

    fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Posts `change` to a node that logs by `filter`, and checks by what it logs then.
async fn check_logging(filter: &str, change: Value, then: &str) -> Outcome {
    let node = Node::logging_by(filter)?;
    let (status, answer) = node.ask("operator", LOGGING, Some(change.clone())).await?;
    assert_eq!((status, &answer["filter"], node.filter().as_str()), (StatusCode::OK, &json!(then), then), "{change}");
    assert_eq!(node.ask("worker", LOGGING, None).await?, (StatusCode::OK, answer));
    Ok(())
}

#[tokio::test]
async fn the_level_and_those_of_targets_change_and_the_rest_stays() -> Outcome {
    let node = Node::logging_by("info,gossip=debug")?;
    let shown =
        json!({"nodeId": "node-a", "level": "info", "targets": {"gossip": "debug"}, "filter": "info,gossip=debug"});
    for path in [LOGGING, "/control/logging"] {
        assert_eq!(node.ask("worker", path, None).await?, (StatusCode::OK, shown.clone()));
    }
    let filter = "info,gossip=debug";
    check_logging(filter, json!({"level": "warn"}), "warn,gossip=debug").await?;
    check_logging(filter, json!({"targets": {"h3": "TRACE"}}), "info,gossip=debug,h3=trace").await?;
    check_logging(filter, json!({"nodeId": "node-a", "level": "off", "targets": {"gossip": null}}), "off").await?;
    check_logging(filter, json!({"filter": "error,a[b{c=1,d}]=info"}), "error,a[b{c=1,d}]=info").await?;
    check_logging("a[b{c=1,d}]=info", json!({"level": "warn"}), "warn,a[b{c=1,d}]=info").await
}

/// Posts `change` as `role` and checks that it is refused and changes nothing.
async fn check_refused(role: &str, path: &str, change: Value, status: StatusCode, message: &str) -> Outcome {
    let node = Node::logging_by("info")?;
    let (found, answer) = node.ask(role, path, Some(change.clone())).await?;
    assert_eq!((found, node.filter().as_str()), (status, "info"), "{change}");
    let told = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(told.contains(message), "{change}: no `{message}` in `{told}`");
    assert_eq!(node.ask("worker", TRACING, None).await?.1["sampleRatio"], json!(0.5));
    Ok(())
}

#[tokio::test]
async fn who_may_not_or_asks_for_what_there_is_not_changes_nothing() -> Outcome {
    let (bad, debug) = (StatusCode::BAD_REQUEST, json!({"level": "debug"}));
    check_refused("worker", LOGGING, debug, StatusCode::FORBIDDEN, "may not change what is logged").await?;
    let elsewhere = json!({"nodeId": "node-b", "level": "debug"});
    check_refused("operator", LOGGING, elsewhere, StatusCode::PRECONDITION_FAILED, "not `node-b`").await?;
    check_refused("operator", LOGGING, json!({"level": "loud"}), bad, "level `loud` is not one of off, error").await?;
    check_refused("operator", LOGGING, json!({"targets": {"a b": "info"}}), bad, "target `a b` is not").await?;
    check_refused("operator", LOGGING, json!({"filter": "refused"}), bad, "it is not valid").await?;
    check_refused("operator", LOGGING, json!({"filter": "info", "level": "info"}), bad, "give either").await?;
    check_refused("operator", LOGGING, json!({}), bad, "give either").await?;
    let many: Value =
        (0..33).map(|number| (format!("t{number}"), json!("info"))).collect::<serde_json::Map<_, _>>().into();
    check_refused("operator", LOGGING, json!({"targets": many}), bad, "33 targets, more than 32").await?;
    let half = json!({"sampleRatio": 0.1});
    check_refused("worker", TRACING, half, StatusCode::FORBIDDEN, "may not change what is traced").await?;
    check_refused("operator", TRACING, json!({"sampleRatio": 7.0}), bad, "it is not valid").await?;
    check_refused("operator", TRACING, json!({"sampleRatio": "all"}), bad, "invalid type").await
}

#[tokio::test]
async fn the_share_of_traces_changes_where_they_go_somewhere() -> Outcome {
    let mut node = Node::logging_by("info")?;
    let (status, answer) = node.ask("operator", TRACING, Some(json!({"sampleRatio": 0.25}))).await?;
    let expected = json!({"nodeId": "node-a", "exporting": true, "sampleRatio": 0.25});
    assert_eq!((status, &answer), (StatusCode::OK, &expected));
    assert_eq!(node.ask("worker", "/control/tracing", None).await?.1, expected);

    node.ports.sample_ratio = None;
    let nowhere = json!({"nodeId": "node-a", "exporting": false, "sampleRatio": null});
    assert_eq!(node.ask("worker", TRACING, None).await?, (StatusCode::OK, nowhere));
    let (not_there, refused) = node.ask("operator", TRACING, Some(json!({"sampleRatio": 0.25}))).await?;
    assert_eq!(not_there, StatusCode::NOT_FOUND);
    assert_eq!(refused["error"]["message"], json!("a collector of spans is not kept on this node"));
    Ok(())
}
