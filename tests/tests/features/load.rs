//! Callers that go on while something is done.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::application::Application;
use crate::mesh::Node;
use crate::process::within_limit;
use crate::{Failure, Outcome};

/// How often it is looked whether something has come to hold.
const TICK: Duration = Duration::from_millis(5);

const CALLERS: usize = 4;

/// Returns a client as an application beside `node` has it: tonic's own, without TLS.
pub(crate) async fn client(node: &Node) -> Result<EchoClient<Channel>, Failure> {
    let local = node.local.clone().ok_or_else(|| format!("{} takes no calls of applications", node.name))?;
    let socket = local.strip_prefix("unix:").ok_or("no socket")?.to_owned();
    let connect = service_fn(move |_uri| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    Ok(EchoClient::new(Endpoint::from_static("http://own-node").connect_with_connector(connect).await?))
}

pub(crate) fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: text.into(), ..EchoRequest::default() }
}

/// Calls until each of `applications` has answered: the news of a service takes its time.
pub(crate) async fn until_all_answer(client: &mut EchoClient<Channel>, applications: &[&Application]) -> Outcome {
    let mut ticks = interval(TICK);
    let calls = async {
        while applications.iter().any(|application| application.echo.calls().ended == 0) {
            ticks.tick().await;
            // Whoever is not known yet does not answer.
            drop(client.unary(says("a")).await);
        }
    };
    within_limit("an answer of each", calls).await
}

/// Callers that go on until they are told to stop.
pub(crate) struct Load {
    done: Arc<AtomicUsize>,
    stop: CancellationToken,
    callers: JoinSet<Result<(), Status>>,
}

impl Load {
    pub(crate) fn start(client: &EchoClient<Channel>) -> Self {
        let (done, stop, mut callers) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new(), JoinSet::new());
        for _ in 0..CALLERS {
            let (mut client, done, stop) = (client.clone(), Arc::clone(&done), stop.clone());
            callers.spawn(async move {
                while !stop.is_cancelled() {
                    client.unary(says("a")).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { done, stop, callers }
    }

    /// Waits until so many more calls have been answered.
    pub(crate) async fn more(&self, count: usize) -> Outcome {
        let (wanted, mut ticks) = (self.done.load(Ordering::Relaxed) + count, interval(TICK));
        let answered = async {
            // A caller that has failed has ended.
            while self.done.load(Ordering::Relaxed) < wanted && self.callers.len() == CALLERS {
                ticks.tick().await;
            }
        };
        within_limit("more answers", answered).await
    }

    /// Ends the load; fails if a call has.
    pub(crate) async fn end(mut self) -> Outcome {
        self.stop.cancel();
        while let Some(ended) = within_limit("the callers' end", self.callers.join_next()).await? {
            ended??;
        }
        Ok(())
    }
}
