//! What keeps the way out up to date.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt as _;
use peers_core::PeerUpdates;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::directory::Roll;

/// How often channels are looked for that nobody uses.
const REST_PERIOD: Duration = Duration::from_secs(5);

/// The task that keeps an [`Outbounds`](super::Outbounds) up to date.
pub struct OutboundsTask {
    inner: Arc<Inner>,
    updates: PeerUpdates,
    roll: Roll,
}

impl OutboundsTask {
    /// Takes in what the mesh has told already, so that the first call finds it.
    pub(super) fn begin(inner: &Arc<Inner>, mut updates: PeerUpdates) -> Self {
        let (inner, mut roll) = (Arc::clone(inner), Roll::default());
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Some(first)) = updates.poll_next_unpin(&mut cx) {
            roll.apply(first, &inner.directory);
        }
        Self { inner, updates, roll }
    }

    /// Follows the mesh until `shutdown`. When the mesh has ended, its nodes stay as they were last.
    ///
    /// # Cancel safety
    /// Dropping the future leaves what is known as it is.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(REST_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_ended = false;
        loop {
            let next = async {
                match has_ended {
                    false => self.updates.next().await,
                    true => pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                update = next => match update {
                    Some(update) => self.roll.apply(update, &self.inner.directory),
                    None => has_ended = true,
                },
                _at = ticks.tick() => self.inner.channels.rest(),
            }
        }
    }
}

impl fmt::Debug for OutboundsTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundsTask").field("roll", &self.roll).finish_non_exhaustive()
    }
}
