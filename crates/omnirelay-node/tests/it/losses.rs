//! What a node that dies takes along.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tokio::time::interval;
use tonic::Code;
use tonic::transport::Channel;

use crate::process::{TestResult, within_limit};
use crate::service_mesh::{App, Mesh, client, says, until_all_answer};

/// Callers at once.
const CALLERS: usize = 16;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is said of a call that was under way.
const LOST: &str = "was lost; the call may have been executed";

/// What callers have seen, one call after the other each.
#[derive(Default)]
struct Seen {
    ok: AtomicUsize,
    /// Calls whose callers were told that nobody knows what became of them.
    lost: AtomicUsize,
    /// Calls that failed otherwise.
    failed: AtomicUsize,
    /// The first of those.
    failure: OnceLock<tonic::Status>,
    is_over: AtomicBool,
}

async fn call_on(mut client: EchoClient<Channel>, is_idempotent: bool, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::SeqCst) {
        let mut request = says("a", is_idempotent);
        request.set_timeout(PATIENCE);
        let place = match client.unary(request).await {
            Ok(_) => &seen.ok,
            Err(status) if status.code() == Code::Unavailable && status.message().contains(LOST) => &seen.lost,
            Err(status) => {
                seen.failure.get_or_init(|| status);
                &seen.failed
            }
        };
        place.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_node_that_dies_takes_along_the_calls_that_it_had_and_no_others() -> TestResult {
    for is_idempotent in [false, true] {
        let (apps, mut mesh) = ([App::start().await?, App::start().await?, App::start().await?], Mesh::new()?);
        let (_node, socket) = mesh.dispatcher("dispatcher").await?;
        let mut workers = Vec::new();
        for (name, app) in ["node-b", "node-c", "node-d"].into_iter().zip(&apps) {
            workers.push(mesh.worker(name, app).await?);
        }
        let mut client = client(socket).await?;
        until_all_answer(&mut client, &apps.each_ref()).await?;
        let (seen, mut callers) = (Arc::<Seen>::default(), JoinSet::new());
        for _ in 0..CALLERS {
            callers.spawn(call_on(client.clone(), is_idempotent, Arc::clone(&seen)));
        }
        let more = async |count| {
            let (wanted, mut ticks) = (seen.ok.load(Ordering::SeqCst) + count, interval(Duration::from_millis(1)));
            while seen.ok.load(Ordering::SeqCst) < wanted {
                ticks.tick().await;
            }
        };
        within_limit(more(200)).await?;
        workers[0].process.kill().await?;
        within_limit(more(600)).await?;
        seen.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = within_limit(callers.join_next()).await? {
            ended?;
        }
        let in_flight_max = if is_idempotent { 0 } else { CALLERS };
        let (lost, failed) = (seen.lost.load(Ordering::SeqCst), seen.failed.load(Ordering::SeqCst));
        assert!(
            lost <= in_flight_max && failed == 0,
            "idempotent {is_idempotent}: {lost} lost, {failed} failed: {:?}",
            seen.failure
        );
    }
    Ok(())
}
