//! Until when a call may take, and which came first: the deadline or the answer.

use std::future::pending;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::{Instant, sleep_until};

/// The handler is at work.
const WORKING: u8 = 0;
/// The head of the answer came in time; its body is under way.
const ANSWERING: u8 = 1;
/// The deadline came before the head: it is answered with a status.
const TOO_LATE: u8 = 2;
/// The deadline came in the middle of the body: the stream is reset.
const CUT_OFF: u8 = 3;

/// Until when a call may take, and which came first.
#[derive(Debug)]
pub(crate) struct Timing {
    deadline: Option<Instant>,
    state: AtomicU8,
}

impl Timing {
    pub(crate) const fn until(deadline: Option<Instant>) -> Self {
        Self { deadline, state: AtomicU8::new(WORKING) }
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Notes that there is an answer; returns whether it is in time.
    pub(crate) fn answer(&self) -> bool {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        self.change(WORKING, ANSWERING).is_ok()
    }

    /// Resolves when the deadline has come in the middle of an answer, and then only.
    pub(crate) async fn cuts_off(&self) {
        let Some(deadline) = self.deadline else { return pending().await };
        sleep_until(deadline).await;
        if self.change(WORKING, TOO_LATE).is_ok() {
            return pending().await;
        }
        if self.change(ANSWERING, CUT_OFF).is_err() {
            pending::<()>().await;
        }
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.state.load(Ordering::Acquire) == CUT_OFF
    }

    fn change(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_that_began_in_time_is_cut_off() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let (slow, quick) = (Timing::until(Some(deadline)), Timing::until(Some(deadline)));
        assert!(quick.answer());
        quick.cuts_off().await;
        assert!(quick.is_cut_off() && Instant::now() >= deadline);
        timeout(Duration::from_secs(9), slow.cuts_off()).await.expect_err("it is answered, not cut off");
        assert!(!slow.answer() && !slow.is_cut_off());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_at_the_deadline_is_too_late() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let timing = Timing::until(Some(deadline));
        sleep_until(deadline).await;
        assert!(!timing.answer());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_nothing_is_cut_off() {
        let timing = Timing::until(None);
        assert!(timing.answer());
        timeout(Duration::from_secs(1 << 30), timing.cuts_off()).await.expect_err("there is no deadline");
    }
}
