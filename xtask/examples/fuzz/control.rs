//! Requests to the control endpoint, from whoever may open a connection: paths, queries, JSON.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use control_api::{Drain, Ports, Readiness};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use mesh_types::Membership;
use peers_core::{MembershipView, VersionFuture};
use tower_service::Service as _;

use crate::hellos::start;

/// The control endpoint of a node that knows itself alone.
pub(crate) struct Control {
    router: Router,
    /// Empties the node when it is asked to, which is at once: it has no calls.
    drain: RefCell<BoxFuture<'static, Infallible>>,
}

/// Members that never change.
#[derive(Debug)]
struct Fixed(Arc<Membership>);

impl MembershipView for Fixed {
    fn current(&self) -> Arc<Membership> {
        Arc::clone(&self.0)
    }

    fn changed(&self, _seen: u64) -> VersionFuture<'_> {
        Box::pin(std::future::pending())
    }
}

/// Returns requests that are answered: method and path in a line, then the body.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let requests = [
        "GET /control/peers?status=alive&role=worker\n",
        "GET /control/lifecycle\n",
        "POST /control/labels\n{\"nodeId\":\"node-a\",\"labels\":{\"rack\":\"r1\",\"zone\":null}}",
        "POST /control/lifecycle\n{\"nodeId\":\"node-a\",\"lifecycle\":\"draining\"}",
        "POST /control/upgrade/drain\n{\"timeoutMs\":1000}",
        "GET /control/upgrade\n",
        "GET /readyz\n",
    ];
    requests.map(|request| request.as_bytes().to_vec()).to_vec()
}

impl Control {
    pub(crate) fn new(now: Instant) -> anyhow::Result<Self> {
        let members = start("node-a", now)?.snapshot();
        let readiness = Readiness::new("worker");
        let announce = Arc::new(|_| Box::pin(std::future::ready(Ok(()))) as _);
        let (drain, handle) = Drain::new(Vec::new(), announce, readiness.clone());
        let mut ports = Ports::new(Arc::new(Fixed(Arc::new(members))), Arc::new(String::new), readiness);
        ports.labels = Some(Arc::new(|_| Box::pin(std::future::ready(Ok(())))));
        ports.drain = Some(handle);
        Ok(Self { router: control_api::router(ports), drain: RefCell::new(drain.run().boxed()) })
    }

    /// Sends a request, and says what became of it.
    pub(crate) fn take(&self, data: &[u8]) -> &'static str {
        let Ok(request) = request(data) else { return "no request" };
        let mut answering = Box::pin(self.router.clone().call(request));
        let mut drain = self.drain.borrow_mut();
        // Whoever wants the node emptied waits for that.
        let answer = (0..2).find_map(|_turn| {
            let answer = answering.as_mut().now_or_never();
            if answer.is_none()
                && let Some(never) = drain.as_mut().now_or_never()
            {
                match never {}
            }
            answer.map(|Ok(answer)| answer)
        });
        let Some(answer) = answer else { return "waits" };
        let status = answer.status();
        let is_known = !status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_known, "answered with {status}");
        if status.is_client_error() { "refused" } else { "accepted" }
    }
}

fn request(data: &[u8]) -> anyhow::Result<Request<Body>> {
    let end = data.iter().position(|byte| *byte == b'\n').context("no line")?;
    let (line, body) = data.split_at(end);
    let (method, target) = str::from_utf8(line)?.split_once(' ').context("no path")?;
    let json = "application/json";
    let request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(target);
    Ok(request.header("content-type", json).body(Body::from(body.to_vec()))?)
}
