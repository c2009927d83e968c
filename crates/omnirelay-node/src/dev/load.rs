//! Steady calls to the service of the nodes, by the name of the service, as an application of the mesh makes them.

mod counts;
mod roster;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatcher::{
    Body, Call, Encoding, Forward, Forwarded, Handler, LocalServices, Messages, OutboundOptions, OutboundPorts,
    Outbounds, ServiceName, Shape, Status,
};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use grpc_client_factory::{BuildFactoryError, ClientFactory, FactoryOptions, Resent};
use http::{Request, Response};
use identity::Credentials;
use peers_core::{ChooserPorts, Peer};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::demo;

pub(crate) use counts::Counts;
use roster::Roster;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Most calls under way: beyond it, no further one begins.
const UNDER_WAY_MAX: usize = 256;

/// Every so manieth call does not say that it may be executed twice.
const NOT_IDEMPOTENT: u64 = 10;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4096;

/// Calls that go on until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    peers: watch::Sender<Vec<Peer>>,
    counts: watch::Receiver<Counts>,
    caller: Arc<Caller>,
    factory: ClientFactory,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// The way out, with a count of the calls that took more than one attempt.
#[derive(Debug)]
struct Caller {
    outbounds: Outbounds,
    retried: Arc<AtomicU64>,
}

impl Load {
    /// Begins to make `per_second` calls as whom `credentials` name. Call it within the runtime.
    ///
    /// # Errors
    /// No connections can be made.
    pub(crate) fn start(credentials: Credentials, per_second: u16) -> Result<Self, BuildFactoryError> {
        let node = credentials.spiffe_id().node().clone();
        let factory = ClientFactory::new(Arc::new(credentials), FactoryOptions::default())?;
        let (peers, seen) = watch::channel(Vec::new());
        let local = LocalServices::new(Vec::new()).expect("none that could be wrong");
        let ports = OutboundPorts { node, factory: factory.clone(), mesh: Arc::new(Roster(seen)), local };
        let made = Outbounds::new(ports, OutboundOptions::default(), ChooserPorts::default());
        let (outbounds, following) = made.expect("the usual choosers need no ports");
        let caller = Arc::new(Caller { outbounds, retried: Arc::default() });
        let (tell, counts) = watch::channel(Counts::default());
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(following.run(stop.clone()));
        let period = Duration::from_secs(1) / u32::from(per_second.max(1));
        tasks.spawn(call_on(Arc::clone(&caller), period, tell, stop.clone()));
        Ok(Self { peers, counts, caller, factory, tasks, stop })
    }

    /// Takes in what a node tells of its members.
    pub(crate) fn follows(&self, documents: &[Box<RawValue>]) {
        match roster::peers(documents) {
            Ok(now) => drop(self.peers.send_if_modified(|peers| {
                let has_changed = *peers != now;
                if has_changed {
                    *peers = now;
                }
                has_changed
            })),
            Err(error) => tracing::warn!(%error, "a node tells of members that nobody can read"),
        }
    }

    /// Returns what the calls have come to so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts { retried: self.caller.retried.load(Ordering::Relaxed), ..*self.counts.borrow() }
    }

    /// Begins no more calls, waits for those under way, and returns what all have come to.
    pub(crate) async fn stop(mut self) -> Counts {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.factory.close(Duration::ZERO).await;
        self.counts()
    }
}

/// How a call has ended.
struct Ended {
    is_idempotent: bool,
    is_ok: bool,
}

async fn call_on(caller: Arc<Caller>, period: Duration, tell: watch::Sender<Counts>, stop: CancellationToken) {
    let procedure = demo::hello();
    let handler = Handler::new(Forwarded::new(Arc::<Caller>::clone(&caller), ANSWER_BYTES_MAX));
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut calls, mut begun) = (JoinSet::new(), 0_u64);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = calls.join_next() => count(&tell, ended),
            _at = due.tick(), if calls.len() < UNDER_WAY_MAX => {
                // Before the first node has told of its service, there is nobody to call.
                if begun > 0 || caller.knows(procedure.service()) {
                    begun += 1;
                    calls.spawn(call(handler.clone(), !begun.is_multiple_of(NOT_IDEMPOTENT)));
                }
            }
        }
    }
    while let Some(ended) = calls.join_next().await {
        count(&tell, ended);
    }
}

fn count(tell: &watch::Sender<Counts>, ended: Result<Ended, tokio::task::JoinError>) {
    // A call that has panicked has failed.
    let ended = ended.unwrap_or(Ended { is_idempotent: true, is_ok: false });
    tell.send_modify(|counts| {
        let place = match (ended.is_idempotent, ended.is_ok) {
            (true, true) => &mut counts.ok,
            (true, false) => &mut counts.failed,
            (false, true) => &mut counts.once_ok,
            (false, false) => &mut counts.once_failed,
        };
        *place += 1;
    });
}

async fn call(handler: Handler, is_idempotent: bool) -> Ended {
    let mut call = Call::new(demo::hello(), Shape::Unary, Messages::one("\"Ada\""));
    call.meta.encoding = Some(Encoding::JSON);
    call.meta.is_idempotent = is_idempotent;
    call.deadline = Some(Instant::now() + DEADLINE);
    let answered = async {
        let mut messages = handler.oneshot(call).await?.messages;
        while let Some(message) = messages.next().await {
            drop(message?);
        }
        Ok::<_, Status>(())
    };
    let answered = answered.await;
    if let Err(status) = &answered {
        tracing::debug!(%status, is_idempotent, "a call has failed");
    }
    Ended { is_idempotent, is_ok: answered.is_ok() }
}

impl Forward for Caller {
    fn knows(&self, service: &ServiceName) -> bool {
        self.outbounds.knows(service)
    }

    fn forward(&self, service: &ServiceName, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let (answer, retried) = (self.outbounds.forward(service, request), Arc::clone(&self.retried));
        Box::pin(async move {
            let response = answer.await;
            if response.extensions().get::<Resent>().is_some() {
                retried.fetch_add(1, Ordering::Relaxed);
            }
            response
        })
    }
}
