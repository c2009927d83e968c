//! What work the local node takes: who may say so, and what comes back.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use control_api::{Drain, LifecycleRefused, PeerName, Ports, Readiness, router};
use http_body_util::BodyExt as _;
use identity::SpiffeId;
use mesh_types::NodeLifecycle;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

/// Posts `body` as a node of `role` to `node-a`, whose port answers `result`; returns the answer and what the port was asked.
async fn post(
    role: &str,
    result: Result<(), LifecycleRefused>,
    body: &str,
) -> Result<(StatusCode, Value, Vec<NodeLifecycle>), Failure> {
    let asked: Arc<Mutex<Vec<NodeLifecycle>>> = Arc::default();
    let noted = Arc::clone(&asked);
    let announce = Arc::new(move |lifecycle| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(lifecycle);
        let result = result.clone();
        Box::pin(async move { result }) as _
    });
    let readiness = Readiness::new("worker");
    let (drain, handle) = Drain::new(Vec::new(), announce, readiness.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(drain.run());
    let ports = Ports { drain: Some(handle), ..ports(readiness)? };
    let who: SpiffeId = format!("spiffe://mesh.example/cluster/alpha/role/{role}/node/node-z").parse()?;
    let request = Request::post("/control/lifecycle").header(CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_owned()))?;
    let response = router(ports).layer(Extension(PeerName::from(who))).oneshot(request).await?;
    let status = response.status();
    let answer = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((status, answer, asked))
}

#[tokio::test]
async fn an_operator_changes_it_and_sees_what_the_node_says_then_and_who_does_not_understand() -> Outcome {
    for lifecycle in NodeLifecycle::ALL {
        let body = json!({"nodeId": "node-a", "lifecycle": lifecycle.as_str()}).to_string();
        let (status, answer, asked) = post("operator", Ok(()), &body).await?;
        assert_eq!((status, asked), (StatusCode::OK, vec![lifecycle]));
        // The view of the test does not change, and none of its members says that it has the feature.
        let unaware = ["node-a", "node-b"];
        let expected = json!({"nodeId": "node-a", "metadataVersion": 1, "lifecycle": "active", "unaware": unaware});
        assert_eq!(answer, expected);
    }
    Ok(())
}

/// Posts and checks that it is refused with `status` and `message` without having changed anything.
async fn check(role: &str, body: &str, status: StatusCode, message: &str) -> Outcome {
    let (found, answer, asked) = post(role, Ok(()), body).await?;
    assert_eq!((found, asked), (status, Vec::new()), "{body}");
    assert!(answer["error"]["message"].as_str().unwrap_or_default().contains(message), "{answer}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_or_asks_for_something_else_changes_nothing() -> Outcome {
    let drain = r#"{"lifecycle":"draining"}"#;
    check("worker", drain, StatusCode::FORBIDDEN, "may not change the lifecycle").await?;
    let elsewhere = r#"{"nodeId":"node-b","lifecycle":"draining"}"#;
    check("operator", elsewhere, StatusCode::PRECONDITION_FAILED, "not `node-b`").await?;
    let unknown = r#"{"lifecycle":"asleep"}"#;
    let message = "lifecycle `asleep` is not one of active, cordoned, draining";
    check("operator", unknown, StatusCode::BAD_REQUEST, message).await?;
    check("operator", r#"{"node":"a","lifecycle":"active"}"#, StatusCode::BAD_REQUEST, "unknown field").await
}

#[tokio::test]
async fn what_the_node_refuses_is_told() -> Outcome {
    let drain = r#"{"lifecycle":"draining"}"#;
    let (status, answer, _) = post("operator", Err(LifecycleRefused::Ending), drain).await?;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    let reason = "too much".to_owned();
    let (invalid, why, _) = post("operator", Err(LifecycleRefused::Invalid { reason }), drain).await?;
    assert_eq!((invalid, &why["error"]["message"]), (StatusCode::BAD_REQUEST, &json!("too much")));
    Ok(())
}
