//! `mesh upgrade`, and verbs that wait until a node is empty.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use control_api::Security;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, Response};
use mesh_types::MemberState;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tower::{ServiceExt as _, service_fn};

use crate::command::{DEADLINE, Run, run};
use crate::node::{Failure, Node};

type Outcome = Result<(), Failure>;

async fn node() -> Result<Node, Failure> {
    Node::start(Security::PlaintextLoopback, MemberState::Alive).await
}

async fn call(node: &Node, args: &[&str]) -> Result<Run, Failure> {
    run(&[&["mesh"], args, &["--endpoint", &node.http_url()]].concat()).await
}

fn done(stdout: &str) -> Run {
    Run { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

/// Has a call under way until `released` says true.
async fn begin(node: &Node, released: &watch::Sender<bool>) -> JoinSet<()> {
    let released = released.subscribe();
    let service = service_fn(move |_request: Request<()>| {
        let mut released = released.clone();
        async move {
            if released.wait_for(|released| *released).await.is_err() {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let guarded = node.inflight.guard(service);
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        let Ok(_answer) = guarded.oneshot(Request::new(())).await;
    });
    while node.inflight.active() == 0 {
        tokio::task::yield_now().await;
    }
    calls
}

#[tokio::test]
async fn a_drain_waits_for_its_deadline_and_says_what_was_cut_off() -> Outcome {
    let (node, never) = (node().await?, watch::Sender::new(false));
    assert_eq!(call(&node, &["upgrade", "status"]).await?, done("node-a  active  0 under way\n"));
    let _call = begin(&node, &never).await;
    let drain = ["upgrade", "drain", "node-a", "--within", "500ms", "--reason", "new kernel", "--wait"];
    let drained = done("node-a  drained  0 under way  1 cut off  new kernel\n");
    assert_eq!(call(&node, &drain).await?, drained);
    assert_eq!(call(&node, &["upgrade", "status"]).await?, drained);
    let status = call(&node, &["upgrade", "status", "-o", "json"]).await?;
    let document: Value = serde_json::from_str(&status.stdout)?;
    assert_eq!((&document["cutRequests"], &document["lifecycle"]), (&json!(1), &json!("draining")));
    assert_eq!(call(&node, &["upgrade", "resume", "self"]).await?, done("node-a  active  0 under way\n"));
    Ok(())
}

/// Calls a verb of `mesh peers` that waits while a call is under way, then lets the call end, and checks what it prints.
async fn check_waits(verb: &str, stdout: &str) -> Outcome {
    let (node, release) = (node().await?, watch::Sender::new(false));
    let _call = begin(&node, &release).await;
    let waiting = async { call(&node, &["peers", verb, "node-a", "--wait"]).await };
    let releasing = async {
        // The node has been told before the call ends.
        let mut looks = interval(Duration::from_millis(5));
        while !call(&node, &["upgrade", "status"]).await?.stdout.contains(if verb == "drain" {
            "draining"
        } else {
            "cordoned"
        }) {
            looks.tick().await;
        }
        release.send_replace(true);
        Ok::<_, Failure>(())
    };
    let (waited, ()) = timeout(DEADLINE, async { tokio::try_join!(waiting, releasing) }).await??;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), stdout), "{}", waited.stderr);
    Ok(())
}

#[tokio::test]
async fn verbs_that_wait_return_when_the_last_call_has_ended() -> Outcome {
    check_waits("drain", "node-a  drained  0 under way\n").await?;
    check_waits("cordon", "node-a  active  0 under way  cordoned\n").await
}

#[tokio::test]
async fn whoever_waits_for_a_drain_hears_that_somebody_has_ended_it() -> Outcome {
    let (node, never) = (node().await?, watch::Sender::new(false));
    let _call = begin(&node, &never).await;
    let waiting = async { call(&node, &["upgrade", "drain", "--wait"]).await };
    let resuming = async {
        let mut looks = interval(Duration::from_millis(5));
        while !call(&node, &["upgrade", "status"]).await?.stdout.contains("draining") {
            looks.tick().await;
        }
        call(&node, &["upgrade", "resume"]).await
    };
    let (waited, resumed) = timeout(DEADLINE, async { tokio::try_join!(waiting, resuming) }).await??;
    assert_eq!(resumed, done("node-a  active  1 under way\n"));
    let told = "error: the drain was ended by somebody else: the node takes work again\n";
    assert_eq!(waited, Run { code: Some(1), stdout: String::new(), stderr: told.to_owned() });
    Ok(())
}

#[tokio::test]
async fn another_node_is_not_emptied_here() -> Outcome {
    let node = node().await?;
    let failed = call(&node, &["upgrade", "drain", "node-b"]).await?;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    assert!(failed.stderr.contains("this is `node-a`, not `node-b`"), "{}", failed.stderr);
    assert_eq!(call(&node, &["upgrade", "drain", "--within", "soon"]).await?.code, Some(2));
    assert_eq!(call(&node, &["upgrade", "status"]).await?, done("node-a  active  0 under way\n"));
    Ok(())
}
