//! The routes, asked without a socket.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use control_api::{Readiness, router};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

async fn answer(readiness: Readiness, method: Method, uri: &str) -> Result<Response, Failure> {
    let request = Request::builder().method(method).uri(uri).body(Body::empty())?;
    Ok(router(ports(readiness)?).oneshot(request).await?)
}

fn header(response: &Response, name: HeaderName) -> Result<String, Failure> {
    Ok(response.headers().get(name).map(|value| value.to_str()).transpose()?.unwrap_or_default().to_owned())
}

async fn text(response: Response) -> Result<String, Failure> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

/// Asks a fresh router and returns status, content type and body.
async fn ask(readiness: Readiness, method: Method, uri: &str) -> Result<(StatusCode, String, String), Failure> {
    let response = answer(readiness, method, uri).await?;
    Ok((response.status(), header(&response, CONTENT_TYPE)?, text(response).await?))
}

async fn get(uri: &str) -> Result<(StatusCode, Value), Failure> {
    let (status, content_type, body) = ask(Readiness::new("worker"), Method::GET, uri).await?;
    assert_eq!(content_type, "application/json");
    Ok((status, serde_json::from_str(&body)?))
}

#[tokio::test]
async fn members_are_served_at_both_paths_and_filtered_by_the_query() -> Outcome {
    for path in ["/control/peers", "/omnirelay/control/peers"] {
        let (status, document) = get(path).await?;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(document["localNodeId"], json!("node-a"));
        assert_eq!(document["peers"][0]["lastSeen"], document["generatedAt"]);
        let ids: Vec<_> = document["peers"].as_array().into_iter().flatten().map(|peer| &peer["nodeId"]).collect();
        assert_eq!(ids, [&json!("node-a"), &json!("node-b")]);
    }
    let (_, suspects) = get("/control/peers?status=Suspect&role=worker").await?;
    assert_eq!(suspects["peers"].as_array().map(Vec::len), Some(1));
    assert_eq!(suspects["peers"][0]["nodeId"], json!("node-b"));
    Ok(())
}

#[tokio::test]
async fn a_wrong_query_is_refused_with_what_is_valid() -> Outcome {
    let cases = [
        ("status=Dead", "status `Dead` is not one of Alive, Suspect, Left"),
        ("role=", "role is empty"),
        (
            "stauts=Alive",
            "Failed to deserialize query string: stauts: unknown field `stauts`, expected `status` or `role`",
        ),
    ];
    for (query, message) in cases {
        let (status, body) = get(&format!("/control/peers?{query}")).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body, json!({"error": {"code": "invalid-argument", "message": message}}));
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_told_apart() -> Outcome {
    let (status, body) = get("/control/nothing").await?;
    let message = "nothing is at `/control/nothing`; see /control/peers, /control/labels, /control/lifecycle, /control/upgrade, \
                   /control/logging, /control/tracing, /metrics, /healthz, /readyz";
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body, json!({"error": {"code": "not-found", "message": message}}));

    let refused = answer(Readiness::new("worker"), Method::POST, "/control/peers").await?;
    let allowed = header(&refused, ALLOW)?;
    assert_eq!((refused.status(), allowed.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD"));
    let expected = json!({"error": {"code": "method-not-allowed", "message": "`POST` is not possible here"}});
    assert_eq!(serde_json::from_str::<Value>(&text(refused).await?)?, expected);
    Ok(())
}

#[tokio::test]
async fn a_head_request_gets_the_head_only() -> Outcome {
    let answer = ask(Readiness::new("worker"), Method::HEAD, "/control/peers").await?;
    assert_eq!(answer, (StatusCode::OK, "application/json".to_owned(), String::new()));
    Ok(())
}

#[tokio::test]
async fn metrics_are_the_text_of_the_port() -> Outcome {
    let answer = ask(Readiness::new("worker"), Method::GET, "/metrics").await?;
    let content_type = "text/plain; version=0.0.4; charset=utf-8".to_owned();
    assert_eq!(answer, (StatusCode::OK, content_type, "mesh_gossip_links 2\n".to_owned()));
    Ok(())
}

/// Asks both health routes and checks their statuses and their one body.
async fn check_health(readiness: &Readiness, ready: StatusCode, body: Value) -> Outcome {
    for (path, expected) in [("/healthz", StatusCode::OK), ("/readyz", ready)] {
        let (status, _, text) = ask(readiness.clone(), Method::GET, path).await?;
        assert_eq!((status, serde_json::from_str::<Value>(&text)?), (expected, body.clone()), "{path}");
    }
    assert_eq!(readiness.is_ready(), ready == StatusCode::OK);
    Ok(())
}

fn health(status: &str, issues: &[&str], draining: bool) -> Value {
    json!({"status": status, "mode": "worker", "issues": issues, "activeRequests": 0, "draining": draining})
}

#[tokio::test]
async fn a_node_is_ready_while_it_has_no_issue_and_is_not_draining() -> Outcome {
    let readiness = Readiness::new("worker");
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    check_health(&readiness, StatusCode::OK, health("healthy", &[], false)).await?;
    readiness.raise("mesh", "no seed answers");
    readiness.raise("certificate", "expires in 2 h");
    let issues = ["certificate: expires in 2 h", "mesh: no seed answers"];
    check_health(&readiness, unavailable, health("unhealthy", &issues, false)).await?;
    readiness.clear("certificate");
    readiness.clear("mesh");
    check_health(&readiness, StatusCode::OK, health("healthy", &[], false)).await?;
    readiness.set_draining(true);
    check_health(&readiness, unavailable, health("draining", &[], true)).await
}

#[tokio::test]
async fn requests_are_counted_by_route_and_code_and_never_by_a_path_of_the_clients() -> Outcome {
    let (recorder, handle) = telemetry::build_metrics()?;
    let recording = metrics::set_default_local_recorder(&recorder);
    for path in ["/control/peers", "/control/peers?status=x", "/invented/1", "/invented/2"] {
        get(path).await?;
    }
    drop(recording);
    let text = handle.render();
    let mut counted: Vec<_> =
        text.lines().filter(|line| line.starts_with("omnirelay_control_requests_total")).collect();
    counted.sort_unstable();
    let expected = [
        "omnirelay_control_requests_total{route=\"/control/peers\",code=\"200\"} 1",
        "omnirelay_control_requests_total{route=\"/control/peers\",code=\"400\"} 1",
        "omnirelay_control_requests_total{route=\"none\",code=\"404\"} 2",
    ];
    assert_eq!(counted, expected);
    Ok(())
}
