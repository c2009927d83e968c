//! Labels of the local node: who may change them, and what comes back.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use control_api::{ChangeLabels, LabelChanges, LabelsRefused, PeerName, Readiness, router};
use http_body_util::BodyExt as _;
use identity::SpiffeId;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

/// What the node was asked to change.
type Asked = Arc<Mutex<Vec<LabelChanges>>>;

/// Notes what it is asked, and answers `result`.
fn changer(asked: &Asked, result: Result<(), LabelsRefused>) -> Arc<ChangeLabels> {
    let asked = Arc::clone(asked);
    Arc::new(move |changes| {
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(changes);
        let result = result.clone();
        Box::pin(async move { result })
    })
}

fn client(role: &str, node: &str) -> Result<PeerName, Failure> {
    let id: SpiffeId = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/{node}").parse()?;
    Ok(id.into())
}

/// Posts `body` as `client` to `node-a`, whose port answers `result`, or has none; returns the answer and what the port
/// was asked.
async fn post(
    client: Option<PeerName>,
    result: Option<Result<(), LabelsRefused>>,
    body: &str,
) -> Result<(StatusCode, Value, Vec<LabelChanges>), Failure> {
    let asked = Asked::default();
    let mut ports = ports(Readiness::new("worker"))?;
    ports.labels = result.map(|result| changer(&asked, result));
    let mut router = router(ports);
    if let Some(client) = client {
        router = router.layer(Extension(client));
    }
    let request = Request::builder().method(Method::POST).uri("/control/labels");
    let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_owned()))?;
    let response = router.oneshot(request).await?;
    let status = response.status();
    let answer = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((status, answer, asked))
}

const CHANGE: &str = r#"{"labels":{"rack":"r2","canary":null}}"#;

fn change() -> LabelChanges {
    LabelChanges::from([("rack".to_owned(), Some("r2".to_owned())), ("canary".to_owned(), None)])
}

/// Returns what a refused request is answered.
fn refused(status: StatusCode, code: &str, message: &str) -> (StatusCode, Value) {
    (status, json!({"error": {"code": code, "message": message}}))
}

#[tokio::test]
async fn operators_the_node_itself_and_loopback_may_change_labels() -> Outcome {
    for who in [None, Some(client("operator", "alice")?), Some(client("dispatcher", "node-a")?)] {
        let (status, answer, asked) = post(who.clone(), Some(Ok(())), CHANGE).await?;
        assert_eq!((status, asked), (StatusCode::OK, vec![change()]), "{who:?}");
        assert_eq!(answer, json!({"nodeId": "node-a", "metadataVersion": 1, "labels": {}}));
    }
    Ok(())
}

#[tokio::test]
async fn another_node_may_not() -> Outcome {
    let (status, answer, asked) = post(Some(client("worker", "node-b")?), Some(Ok(())), CHANGE).await?;
    let message = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-b may not change labels: its role is not \
                   `operator`, and it is not this node";
    assert_eq!((status, answer), refused(StatusCode::FORBIDDEN, "permission-denied", message));
    assert_eq!(asked, []);
    Ok(())
}

#[tokio::test]
async fn a_change_meant_for_another_node_is_refused_with_where_to_ask() -> Outcome {
    let of = |node: &str| json!({"nodeId": node, "labels": {"rack": "r2", "canary": null}}).to_string();
    let (status, answer, asked) = post(None, Some(Ok(())), &of("node-b")).await?;
    let message = "this is `node-a`, not `node-b`: ask at the control endpoint of `node-b`";
    assert_eq!((status, answer), refused(StatusCode::PRECONDITION_FAILED, "failed-precondition", message));
    assert_eq!(asked, []);
    let named = post(None, Some(Ok(())), &of("node-a")).await?;
    assert_eq!((named.0, named.2), (StatusCode::OK, vec![change()]));
    Ok(())
}

#[tokio::test]
async fn what_the_node_refuses_is_told() -> Outcome {
    let invalid = LabelsRefused::Invalid { reason: "33 labels, more than 32".to_owned() };
    let cases = [
        (Some(Err(invalid)), refused(StatusCode::BAD_REQUEST, "invalid-argument", "33 labels, more than 32")),
        (
            Some(Err(LabelsRefused::Ending)),
            refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the node is about to end"),
        ),
        (None, refused(StatusCode::NOT_FOUND, "not-found", "a way to change labels is not kept on this node")),
    ];
    for (result, expected) in cases {
        let (status, answer, _) = post(None, result, CHANGE).await?;
        assert_eq!((status, answer), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_not_understood_changes_nothing() -> Outcome {
    let large = format!("{{\"labels\":{{\"rack\":\"{}\"}}}}", "r".repeat(64 * 1024));
    for body in ["", "{}", "{\"labels\":{\"rack\":1}}", "{\"labels\":{},\"node\":\"node-b\"}", &large] {
        let (status, answer, asked) = post(None, Some(Ok(())), body).await?;
        assert_eq!((status, asked), (StatusCode::BAD_REQUEST, Vec::new()), "{body}");
        assert_eq!(answer["error"]["code"], json!("invalid-argument"));
    }
    Ok(())
}

#[tokio::test]
async fn labels_are_shown_at_both_paths() -> Outcome {
    for path in ["/control/labels", "/omnirelay/control/labels"] {
        let request = Request::get(path).body(Body::empty())?;
        let response = router(ports(Readiness::new("worker"))?).oneshot(request).await?;
        let answer: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
        assert_eq!(answer, json!({"nodeId": "node-a", "metadataVersion": 1, "labels": {}}));
    }
    Ok(())
}
