//! The health of peers, asked over the router of a host that keeps it, and of one that does not.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use control_api::{Ports, Readiness, router};
use http_body_util::BodyExt as _;
use peer_health::{HealthBoard, Moment, Options, Timeline, Tracker};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::mesh::{Failure, ports};

type Outcome = Result<(), Failure>;

const PATH: &str = "/omnirelay/control/lease-health";

/// A host that tracks `worker-a` and `worker-b`, and nothing else: no dispatcher is anywhere near.
struct Host {
    tracker: Arc<Tracker>,
    board: Arc<HealthBoard>,
    router: Router,
}

#[expect(clippy::disallowed_methods, reason = "the edge of the test: the route reads the clock, too")]
fn clocks() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

impl Host {
    fn new() -> Result<Self, Failure> {
        let tracker = Arc::new(Tracker::new(Options::default()));
        let board = Arc::new(HealthBoard::new(Timeline::starting(clocks().0), vec![Arc::clone(&tracker) as _]));
        let lease_health = Some(Arc::clone(&board));
        let router = router(Ports { lease_health, ..ports(Readiness::new("worker"))? });
        let host = Self { tracker, board, router };
        for name in ["worker-a", "worker-b"] {
            host.tracker.record_heartbeat(&name.parse()?, host.now())?;
        }
        Ok(host)
    }

    fn now(&self) -> Moment {
        let (monotonic, wall) = clocks();
        self.board.moment(monotonic, wall)
    }

    async fn ask(&self, query: &str, known: Option<&str>) -> Result<Response, Failure> {
        let mut request = Request::get(format!("{PATH}{query}"));
        if let Some(tag) = known {
            request = request.header(IF_NONE_MATCH, tag);
        }
        Ok(self.router.clone().oneshot(request.body(Body::empty())?).await?)
    }
}

fn header(response: &Response, name: HeaderName) -> Result<String, Failure> {
    Ok(response.headers().get(name).ok_or("a header is missing")?.to_str()?.to_owned())
}

async fn body(response: Response) -> Result<String, Failure> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

#[tokio::test]
async fn a_host_that_keeps_the_health_of_peers_shows_it() -> Outcome {
    let host = Host::new()?;
    let response = host.ask("", None).await?;
    let heads = (header(&response, CONTENT_TYPE)?, header(&response, CACHE_CONTROL)?);
    assert_eq!((response.status(), heads), (StatusCode::OK, ("application/json".to_owned(), "no-cache".to_owned())));
    let document: Value = serde_json::from_str(&body(response).await?)?;
    let ids: Vec<_> = document["peers"].as_array().into_iter().flatten().map(|peer| &peer["peerId"]).collect();
    assert_eq!(ids, ["worker-a", "worker-b"]);
    assert_eq!(document["summary"], json!({"eligiblePeers": 2, "unhealthyPeers": 0, "pendingReassignments": 0}));

    let page: Value = serde_json::from_str(&body(host.ask("?limit=1", None).await?).await?)?;
    assert_eq!((page["peers"].as_array().map(Vec::len), &page["nextCursor"]), (Some(1), &json!("worker-a")));
    let next: Value = serde_json::from_str(&body(host.ask("?limit=1&cursor=worker-a", None).await?).await?)?;
    assert_eq!((&next["peers"][0]["peerId"], next.get("nextCursor")), (&json!("worker-b"), None));
    Ok(())
}

#[tokio::test]
async fn a_version_that_the_client_has_is_not_sent_again() -> Outcome {
    let host = Host::new()?;
    let first = host.ask("", None).await?;
    let tag = header(&first, ETAG)?;
    let text = body(first).await?;
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let same = host.ask("", Some(&known)).await?;
        assert_eq!((same.status(), header(&same, ETAG)?), (StatusCode::NOT_MODIFIED, tag.clone()), "{known}");
        assert_eq!(body(same).await?, "");
    }
    let again = host.ask("", Some("\"other\"")).await?;
    assert_eq!((again.status(), header(&again, ETAG)?), (StatusCode::OK, tag.clone()));
    assert_eq!(body(again).await?, text);

    host.tracker.record_disconnect(&"worker-b".parse()?, Some("reset"), host.now())?;
    host.board.refresh(host.now());
    let changed = host.ask("", Some(&tag)).await?;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(header(&changed, ETAG)?, tag);
    let document: Value = serde_json::from_str(&body(changed).await?)?;
    assert_eq!(document["peers"][1]["isHealthy"], json!(false));
    assert_eq!(document["peers"][1]["metadata"], json!({"disconnect.reason": "reset"}));
    Ok(())
}

#[tokio::test]
async fn a_host_that_keeps_none_says_so() -> Outcome {
    let request = Request::get(PATH).body(Body::empty())?;
    let response = router(ports(Readiness::new("worker"))?).oneshot(request).await?;
    let status = response.status();
    let message = "the health of peers is not kept on this node";
    let expected = json!({"error": {"code": "not-found", "message": message}});
    assert_eq!((status, serde_json::from_str::<Value>(&body(response).await?)?), (StatusCode::NOT_FOUND, expected));
    Ok(())
}

#[tokio::test]
async fn a_wrong_query_is_refused_with_what_is_valid() -> Outcome {
    let host = Host::new()?;
    for (query, message) in [
        ("?state=dead", "state `dead` is not one of unknown, healthy, degraded, unhealthy"),
        ("?limit=0", "limit 0 is not between 1 and 10000"),
    ] {
        let response = host.ask(query, None).await?;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let expected = json!({"error": {"code": "invalid-argument", "message": message}});
        assert_eq!(serde_json::from_str::<Value>(&body(response).await?)?, expected);
    }
    assert_eq!(host.ask("?pear=a", None).await?.status(), StatusCode::BAD_REQUEST);
    Ok(())
}
