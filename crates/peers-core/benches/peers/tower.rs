//! tower's balancer over as many services that are always ready and answer at once.
//!
//! It is driven as tower means it: poll until ready, call, poll the answer, which drops the load's handle. Its load of
//! Peak-EWMA reads tokio's clock, which without a runtime is the system's.

use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma, PendingRequests};

use crate::contest::{Bound, Contest, Turn};
use crate::ours::{ADAPTIVE_CLOCKED, ADAPTIVE_RELEASE, ADAPTIVE_REPORT, TWO_RANDOM_RELEASE, TWO_RANDOM_REPORT};

/// Defaults of linkerd, whose balancer this once was.
const DEFAULT_RTT: Duration = Duration::from_millis(30);
const DECAY: Duration = Duration::from_secs(10);

/// tower's balancer over services of this kind. It takes `&mut self`; the lock is taken once a turn.
type Balanced<S> = Mutex<Balance<ServiceList<Vec<S>>, ()>>;

pub(crate) struct Tower {
    pending: Balanced<PendingRequests<Echo>>,
    peak_ewma: Balanced<PeakEwma<Echo>>,
}

impl Tower {
    pub(crate) fn new(peers: usize) -> Self {
        let pending = (0..peers).map(|_| PendingRequests::new(Echo, CompleteOnResponse::default()));
        let decay_ns = DECAY.as_secs_f64() * 1e9;
        let peak_ewma = (0..peers).map(|_| PeakEwma::new(Echo, DEFAULT_RTT, decay_ns, CompleteOnResponse::default()));
        Self {
            pending: Mutex::new(Balance::new(ServiceList::new(pending.collect::<Vec<_>>()))),
            peak_ewma: Mutex::new(Balance::new(ServiceList::new(peak_ewma.collect::<Vec<_>>()))),
        }
    }

    pub(crate) fn contests(&self) -> [Contest<'_>; 2] {
        [
            Contest::new("tower p2c, pending requests", |turn| call(&self.pending, turn))
                .times(TWO_RANDOM_RELEASE, Bound::AtLeast(7.0))
                .times(TWO_RANDOM_REPORT, Bound::None),
            Contest::new("tower p2c, Peak-EWMA", |turn| call(&self.peak_ewma, turn))
                .times(ADAPTIVE_RELEASE, Bound::AtLeast(9.0))
                .times(ADAPTIVE_REPORT, Bound::None)
                .times(ADAPTIVE_CLOCKED, Bound::None),
        ]
    }
}

fn call<S: Service<(), Response = ()>>(balance: &Mutex<S>, turn: Turn) {
    let mut balance = balance.lock().unwrap_or_else(PoisonError::into_inner);
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..turn.operations {
        assert!(matches!(balance.poll_ready(cx), Poll::Ready(Ok(()))), "all services are ready");
        let answer = pin!(balance.call(()));
        assert!(matches!(black_box(answer.poll(cx)), Poll::Ready(Ok(()))), "the answer is there at once");
    }
}

/// A service that answers at once.
struct Echo;

impl Service<()> for Echo {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}
