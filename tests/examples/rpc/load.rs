//! Calls that go on while something breaks, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use test_rpc::rpc::EchoRequest;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::calls::{Carrier, Echo};
use crate::serve::{BY, CALL};

/// What became of one call.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Result<Via, Status>,
}

/// By which protocol a call has come to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    Http2,
    Http3,
}

impl Done {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.begun
    }

    pub(crate) fn is_via(&self, via: Via) -> bool {
        self.outcome.as_ref().is_ok_and(|by| *by == via)
    }
}

/// One who calls, as often as it is told.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    echo: Echo,
    deadline: Option<Duration>,
    payload: Bytes,
    calls: Arc<AtomicU64>,
    name: &'static str,
}

impl Caller {
    /// No two callers of a run have the same name: servers tell calls apart by it.
    pub(crate) fn new(name: &'static str, carrier: Carrier, deadline: Option<Duration>) -> Self {
        let (echo, payload) = (EchoClient::new(carrier), Bytes::from_static(b"load"));
        Self { echo, deadline, payload, calls: Arc::default(), name }
    }

    pub(crate) fn with_payload(self, bytes: usize) -> Self {
        Self { payload: vec![7; bytes].into(), ..self }
    }

    /// Makes one call.
    pub(crate) async fn call(&self) -> Done {
        self.call_with(EchoRequest { payload: self.payload.clone(), ..EchoRequest::default() }).await
    }

    /// Makes one call that the server answers when it is told to.
    pub(crate) async fn held(&self) -> Done {
        self.call_with(EchoRequest { held: true, ..EchoRequest::default() }).await
    }

    async fn call_with(&self, request: EchoRequest) -> Done {
        let mut request = Request::new(request);
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        let call = format!("{}-{}", self.name, self.calls.fetch_add(1, Ordering::Relaxed));
        request.metadata_mut().insert(CALL, call.parse().expect("letters and digits"));
        let begun = Instant::now();
        let outcome = self.echo.clone().unary(request).await.and_then(|answer| via(&answer));
        Done { begun, ended: Instant::now(), outcome }
    }
}

fn via<T>(answer: &tonic::Response<T>) -> Result<Via, Status> {
    match answer.metadata().get(BY).map(|by| by.as_bytes()) {
        Some(b"http2") => Ok(Via::Http2),
        Some(b"http3") => Ok(Via::Http3),
        by => Err(Status::internal(format!("the answer came by {by:?}"))),
    }
}

/// Callers at work.
pub(crate) struct Load {
    stop: CancellationToken,
    running: JoinSet<Vec<Done>>,
}

impl Load {
    /// Begins a call each `every`, however long calls take.
    pub(crate) fn open(caller: Caller, every: Duration) -> Self {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        running.spawn(async move {
            let mut turns = interval(every);
            // A machine that has stood still does not get all the calls of that time at once.
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut calls = JoinSet::new();
            let mut done = Vec::new();
            while stopped.run_until_cancelled(turns.tick()).await.is_some() {
                let caller = caller.clone();
                calls.spawn(async move { caller.call().await });
                while let Some(ended) = calls.try_join_next() {
                    done.extend(ended);
                }
            }
            done.extend(calls.join_all().await);
            done
        });
        Self { stop, running }
    }

    /// Lets `count` call, each again as soon as it has an answer.
    pub(crate) fn closed(caller: &Caller, count: usize) -> Self {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..count {
            let (caller, stopped) = (caller.clone(), stop.clone());
            running.spawn(async move {
                let mut done = Vec::new();
                while !stopped.is_cancelled() {
                    done.push(caller.call().await);
                }
                done
            });
        }
        Self { stop, running }
    }

    /// Lets the calls under way come to their end; returns all, those first that began first.
    pub(crate) async fn end(self) -> Vec<Done> {
        self.stop.cancel();
        let mut done: Vec<_> = self.running.join_all().await.into_iter().flatten().collect();
        done.sort_by_key(|done| done.begun);
        done
    }
}

/// Lets `time` pass, because what goes on meanwhile is what is measured.
pub(crate) async fn pass(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

/// Returns how many have failed, and tells of the first.
pub(crate) fn failures<'a>(done: impl IntoIterator<Item = &'a Done>) -> usize {
    let mut failed = done.into_iter().filter_map(|done| done.outcome.as_ref().err().map(|status| (done, status)));
    let Some((first, status)) = failed.next() else { return 0 };
    println!("        a call failed after {:.1?}: {:?}: {}", first.took(), status.code(), status.message());
    1 + failed.count()
}

/// Returns when calls that begin between `from` and `until` do well from then on: each is answered within `soon`. `None` if they
/// never do.
pub(crate) fn healthy_from(done: &[Done], (from, until): (Instant, Instant), soon: Duration) -> Option<Instant> {
    let mut window = done.iter().filter(|call| call.begun >= from && call.begun < until).peekable();
    let mut healthy = window.peek().map(|first| first.begun);
    while let Some(call) = window.next() {
        if call.outcome.is_err() || call.took() > soon {
            healthy = window.peek().map(|next| next.begun);
        }
    }
    healthy
}

/// Returns the longest that a call has taken which was under way at `from` or began before `until`.
pub(crate) fn longest(done: &[Done], (from, until): (Instant, Instant)) -> Option<Duration> {
    done.iter().filter(|call| call.ended > from && call.begun < until).map(Done::took).max()
}

/// Returns what `percent` of the times are at most.
pub(crate) fn percentile(done: &[Done], percent: usize) -> Duration {
    let mut times: Vec<_> = done.iter().map(Done::took).collect();
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}
