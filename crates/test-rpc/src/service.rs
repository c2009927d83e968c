//! The service.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use crate::calls::{Calls, Counters, Running};
use crate::echo::{answer, returned, status, with_metadata};
use crate::rpc::echo_server::Echo;
use crate::rpc::{EchoReply, EchoRequest, StreamRequest, Summary};

/// The `Echo` service of `echo.proto`. Clones are one service: they share what has become of its calls.
#[derive(Debug, Clone, Default)]
pub struct EchoService {
    counters: Counters,
    released: Arc<watch::Sender<bool>>,
}

impl EchoService {
    /// Returns what has become of the calls so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.counters.now()
    }

    /// Waits until what has become of the calls meets `condition`. It waits for ever if it never does.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, condition: impl FnMut(&Calls) -> bool) -> Calls {
        self.counters.wait_for(condition).await
    }

    /// Lets go of the answers that are held, now and from now on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

/// A call that answers with a stream, and where it is.
struct Reply<S> {
    running: Running,
    released: watch::Receiver<bool>,
    source: S,
    index: u64,
}

impl<S> Reply<S> {
    async fn next(&mut self, request: EchoRequest) -> Result<EchoReply, Status> {
        let answered = answer(request, self.index, self.released.clone()).await;
        self.index += 1;
        if answered.is_err() {
            self.running.end();
        }
        answered
    }
}

#[tonic::async_trait]
impl Echo for EchoService {
    type ServerStreamStream = Replies;
    type ChatStream = Replies;

    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        let mut running = self.counters.begin();
        let metadata = returned(&request);
        let outcome = answer(request.into_inner(), 0, self.released.subscribe()).await;
        running.end();
        with_metadata(outcome, metadata)
    }

    async fn server_stream(&self, request: Request<StreamRequest>) -> Result<Response<Replies>, Status> {
        let metadata = returned(&request);
        let replies = stream::unfold(Some(self.reply(request.into_inner())), |state| async move {
            let mut reply = state?;
            let StreamRequest { each, count, failure } = &mut reply.source;
            if reply.index == *count {
                reply.running.end();
                return failure.take().map(|failure| (Err(status(failure)), None));
            }
            let each = each.clone().unwrap_or_default();
            Some((reply.next(each).await, Some(reply)))
        });
        with_metadata(Ok(replies.boxed()), metadata)
    }

    async fn client_stream(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<Summary>, Status> {
        let mut running = self.counters.begin();
        let metadata = returned(&request);
        let outcome = self.sum(request.into_inner(), &mut running).await;
        with_metadata(outcome, metadata)
    }

    async fn chat(&self, request: Request<Streaming<EchoRequest>>) -> Result<Response<Replies>, Status> {
        let metadata = returned(&request);
        let replies = stream::unfold(Some(self.reply(request.into_inner())), |state| async move {
            let mut reply = state?;
            match reply.source.next().await {
                Some(Ok(message)) => Some((reply.next(message).await, Some(reply))),
                // The caller broke off: nobody waits for more.
                Some(Err(status)) => Some((Err(status), None)),
                None => {
                    reply.running.end();
                    None
                }
            }
        });
        with_metadata(Ok(replies.boxed()), metadata)
    }
}

impl EchoService {
    fn reply<S>(&self, source: S) -> Reply<S> {
        Reply { running: self.counters.begin(), released: self.released.subscribe(), source, index: 0 }
    }

    async fn sum(&self, mut requests: Streaming<EchoRequest>, running: &mut Running) -> Result<Summary, Status> {
        let mut sum = Summary::default();
        // If the caller breaks off, nobody waits for the end.
        while let Some(request) = requests.message().await? {
            let answered = answer(request, sum.messages, self.released.subscribe()).await;
            let reply = answered.inspect_err(|_| running.end())?;
            sum.messages += 1;
            sum.bytes = sum.bytes.saturating_add(reply.payload.len().try_into().unwrap_or(u64::MAX));
        }
        running.end();
        Ok(sum)
    }
}
