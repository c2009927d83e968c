//! Emptying the node, and the one place that says what work it takes.

mod machine;

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use mesh_server::Inflight;
use mesh_types::NodeLifecycle;
use peer_health::Readiness;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::lifecycle::{ChangeLifecycle, LifecycleRefused};
use machine::{Machine, Phase, Step};

/// How long calls under way may take unless the request says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Requests that wait for their turn.
const QUEUE: usize = 16;

/// A kind of calls that the node has under way.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What people call it, such as `rpc`.
    pub name: &'static str,
    /// Counts them.
    pub inflight: Inflight,
}

/// How far the node is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainState {
    Active,
    Draining,
    Drained,
}

impl DrainState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

/// What is to be said of it.
#[derive(Debug, Clone)]
pub(crate) struct DrainStatus {
    pub(crate) state: DrainState,
    pub(crate) lifecycle: NodeLifecycle,
    /// When the state began.
    pub(crate) since: Instant,
    /// When what is under way is cut off.
    pub(crate) deadline: Option<Instant>,
    pub(crate) reason: Option<String>,
    /// Calls that were cut off, by workload.
    pub(crate) cut: Vec<usize>,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) lifecycle: NodeLifecycle,
    /// Of a drain: how long calls under way may take.
    pub(crate) timeout: Duration,
    pub(crate) reason: Option<String>,
}

type Asked = (Wish, oneshot::Sender<Result<(), LifecycleRefused>>);

/// Empties the node when it is asked to. One a process; it runs until it is dropped.
pub struct Drain {
    machine: Machine,
    workloads: Arc<[Workload]>,
    announce: Arc<ChangeLifecycle>,
    readiness: Readiness,
    asked: mpsc::Receiver<Asked>,
    status: watch::Sender<DrainStatus>,
}

/// Asks for the node to be emptied, and looks how far that is. Clones share it.
#[derive(Debug, Clone)]
pub struct DrainHandle {
    workloads: Arc<[Workload]>,
    ask: mpsc::Sender<Asked>,
    status: watch::Receiver<DrainStatus>,
}

impl Drain {
    /// Makes it for a node whose calls are `workloads`. `announce` tells the mesh what work the node takes; while it drains,
    /// `readiness` says so, and whoever takes calls refuses new ones by that.
    #[must_use]
    pub fn new(workloads: Vec<Workload>, announce: Arc<ChangeLifecycle>, readiness: Readiness) -> (Self, DrainHandle) {
        let (ask, asked) = mpsc::channel(QUEUE);
        let (since, cut) = (Instant::now(), vec![0; workloads.len()]);
        let (state, lifecycle) = (DrainState::Active, NodeLifecycle::Active);
        let first = DrainStatus { state, lifecycle, since, deadline: None, reason: None, cut };
        let (status, seen) = watch::channel(first);
        let workloads: Arc<[Workload]> = workloads.into();
        let handle = DrainHandle { workloads: Arc::clone(&workloads), ask, status: seen };
        (Self { machine: Machine::new(), workloads, announce, readiness, asked, status }, handle)
    }

    /// Does what it is asked to, for ever.
    ///
    /// # Cancel safety
    /// Dropping the future leaves things as they are.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.settle();
            let deadline = self.machine.deadline().map(Instant::from_std);
            tokio::select! {
                Some((wish, answer)) = self.asked.recv() => {
                    let obeyed = self.obey(wish).await;
                    // Whoever asked may have gone; what was wanted is done all the same.
                    drop(answer.send(obeyed));
                }
                () = until(deadline), if deadline.is_some() => {}
                () = idle(&self.workloads), if deadline.is_some() => {}
                else => pending().await,
            }
        }
    }

    /// Tells the mesh first: then those who come late are few.
    async fn obey(&mut self, wish: Wish) -> Result<(), LifecycleRefused> {
        let Wish { lifecycle, timeout, reason } = wish;
        (self.announce)(lifecycle).await?;
        self.readiness.set_draining(lifecycle == NodeLifecycle::Draining);
        match lifecycle {
            NodeLifecycle::Draining => self.machine.drain(Instant::now().into_std(), timeout),
            NodeLifecycle::Active | NodeLifecycle::Cordoned => {
                self.machine.resume();
                self.status.send_modify(|status| status.cut.fill(0));
            }
        }
        self.status.send_modify(|status| {
            status.lifecycle = lifecycle;
            status.reason = reason;
        });
        self.settle();
        Ok(())
    }

    /// Looks whether the node is empty, and says how things are.
    fn settle(&mut self) {
        let is_idle = self.workloads.iter().all(|workload| workload.inflight.active() == 0);
        match self.machine.step(Instant::now().into_std(), is_idle) {
            Step::Wait => {}
            Step::Ended => tracing::info!("node is drained: all calls have ended"),
            Step::CutOff => self.cut_off(),
        }
        let (state, deadline) = match self.machine.phase() {
            Phase::Open => (DrainState::Active, None),
            Phase::Draining { deadline } => (DrainState::Draining, Some(Instant::from_std(deadline))),
            Phase::Empty => (DrainState::Drained, None),
        };
        self.status.send_modify(|status| {
            if status.state != state {
                status.since = Instant::now();
            }
            status.state = state;
            status.deadline = deadline;
        });
    }

    fn cut_off(&self) {
        let cut: Vec<usize> = self.workloads.iter().map(|workload| workload.inflight.cut_off()).collect();
        for (workload, calls) in self.workloads.iter().zip(&cut).filter(|(_, calls)| **calls > 0) {
            let workload = workload.name;
            tracing::warn!(workload, calls, "node is drained: calls that had not ended by the deadline are cut off");
            metrics::counter!("omnirelay_drain_cut_total", "workload" => workload).increment(*calls as u64);
        }
        self.status.send_modify(|status| status.cut = cut);
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl DrainHandle {
    /// Says what work the node takes from now on; returns when the mesh is told.
    pub(crate) async fn change(&self, wish: Wish) -> Result<(), LifecycleRefused> {
        let (answer, answered) = oneshot::channel();
        if self.ask.send((wish, answer)).await.is_err() {
            return Err(LifecycleRefused::Ending);
        }
        answered.await.unwrap_or(Err(LifecycleRefused::Ending))
    }

    pub(crate) fn status(&self) -> DrainStatus {
        self.status.borrow().clone()
    }

    pub(crate) fn workloads(&self) -> &[Workload] {
        &self.workloads
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Waits until no call is under way.
async fn idle(workloads: &[Workload]) {
    for workload in workloads {
        workload.inflight.emptied().await;
    }
}
