//! Applications that call each other by name, each through the node beside it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::process::{TestResult, send, within_limit};
use crate::service_mesh::{App, Mesh, client, says, until_all_answer};

type BoxError = Box<dyn Error + Send + Sync>;

/// Callers that go on until they are told to stop.
struct Load {
    done: Arc<AtomicUsize>,
    stop: CancellationToken,
    callers: JoinSet<Result<(), BoxError>>,
}

impl Load {
    fn start(client: &EchoClient<Channel>, is_idempotent: bool) -> Self {
        let (done, stop, mut callers) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new(), JoinSet::new());
        for _ in 0..8 {
            let (mut client, done, stop) = (client.clone(), Arc::clone(&done), stop.clone());
            callers.spawn(async move {
                while !stop.is_cancelled() {
                    client.unary(says("a", is_idempotent)).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { done, stop, callers }
    }

    /// Waits until so many more calls have been answered.
    async fn more(&self, count: usize) -> TestResult {
        let (wanted, mut ticks) = (self.done.load(Ordering::Relaxed) + count, interval(Duration::from_millis(5)));
        let answered = async {
            // A caller that has failed has ended.
            while self.done.load(Ordering::Relaxed) < wanted && !self.callers.is_empty() {
                ticks.tick().await;
            }
        };
        within_limit(answered).await
    }

    /// Ends the load; fails if a call has.
    async fn end(mut self) -> TestResult {
        self.stop.cancel();
        while let Some(ended) = within_limit(self.callers.join_next()).await? {
            ended?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_application_reaches_another_by_name_and_a_killed_node_costs_no_idempotent_call() -> TestResult {
    let (app, other, mut mesh) = (App::start().await?, App::start().await?, Mesh::new()?);
    let (_node, socket) = mesh.dispatcher("dispatcher").await?;
    let mut workers = [mesh.worker("node-b", &app).await?, mesh.worker("node-c", &other).await?];
    let mut client = client(socket).await?;
    until_all_answer(&mut client, &[&app, &other]).await?;
    let load = Load::start(&client, true);
    load.more(200).await?;
    workers[0].process.kill().await?;
    load.more(400).await?;
    load.end().await
}

#[tokio::test]
async fn a_node_that_is_stopped_under_load_costs_no_call() -> TestResult {
    let (app, other, mut mesh) = (App::start().await?, App::start().await?, Mesh::new()?);
    let (_node, socket) = mesh.dispatcher("gateway").await?;
    let mut workers = [mesh.worker("node-b", &app).await?, mesh.worker("node-c", &other).await?];
    let mut client = client(socket).await?;
    until_all_answer(&mut client, &[&app, &other]).await?;
    let load = Load::start(&client, false);
    load.more(200).await?;
    send(&workers[0].process, Signal::SIGTERM)?;
    load.more(200).await?;
    assert_eq!(within_limit(workers[0].process.wait()).await??.code(), Some(0));
    load.more(200).await?;
    load.end().await
}

#[tokio::test]
async fn a_worker_takes_no_calls_of_applications() -> TestResult {
    let mut mesh = Mesh::new()?;
    let Err(error) = mesh.dispatcher("worker").await else { return Err("it has started".into()) };
    assert!(error.to_string().contains("never came"), "{error}");
    Ok(())
}
