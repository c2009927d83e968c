//! The task that follows the credentials, and wakes the driver when there is something to do about them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use identity::{CredentialSource, Credentials};
use mesh_types::NodeId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::link::Report;

/// How often links are looked through for certificates that have run out.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What has happened to the credentials.
#[derive(Debug)]
pub(crate) enum Change {
    /// There are others.
    Credentials(Arc<Credentials>),
    /// There is a newer list of revoked certificates.
    Revocations,
    /// Time has passed.
    Tick,
}

/// Reports every change until the driver closes its queue. `seen` is what the driver has.
pub(crate) async fn follow(
    source: Arc<dyn CredentialSource>,
    mut seen: Arc<Credentials>,
    reports: mpsc::Sender<Report>,
) {
    let mut version = seen.revocations().version();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let change = tokio::select! {
            new = source.changed(&seen) => Change::Credentials(new),
            newer = seen.revocations().changed(version) => {
                version = newer;
                Change::Revocations
            }
            _ = ticks.tick() => Change::Tick,
            () = reports.closed() => return,
        };
        if let Change::Credentials(new) = &change {
            seen = Arc::clone(new);
        }
        if reports.send(Report::Credentials(change)).await.is_err() {
            return;
        }
    }
}

/// Reports that the link to `peer` is to be renewed, at some moment within `window`, unless the driver stops before.
pub(crate) async fn renew_within(window: Duration, peer: NodeId, reports: mpsc::Sender<Report>) {
    let delay = some_of(window, &peer);
    tokio::select! {
        () = sleep(delay) => {}
        () = reports.closed() => return,
    }
    // The driver may be gone already; then nobody needs to know.
    drop(reports.send(Report::RenewalDue { peer }).await);
}

/// Returns some part of `window`. Chance spreads load here; it protects nothing.
fn some_of(window: Duration, peer: &NodeId) -> Duration {
    let chance = RandomState::new().hash_one(peer) >> 32;
    window.mul_f64(f64::from(u32::try_from(chance).unwrap_or_default()) / f64::from(u32::MAX))
}

/// Reports that `peer` is to be asked for revocation lists, at some moment within `window`, unless the driver stops before.
pub(crate) async fn ask_within(window: Duration, peer: NodeId, reports: mpsc::Sender<Report>) {
    let delay = some_of(window, &peer);
    ask_after(delay, peer, reports).await;
}

/// Reports that `peer` is to be asked for revocation lists, once `delay` has passed, unless the driver stops before.
pub(crate) async fn ask_after(delay: Duration, peer: NodeId, reports: mpsc::Sender<Report>) {
    tokio::select! {
        () = sleep(delay) => {}
        () = reports.closed() => return,
    }
    // The driver may be gone already; then nobody needs to know.
    drop(reports.send(Report::AskDue { peer }).await);
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn renewals_are_spread_over_the_window_and_none_comes_after_it() -> Result<(), Box<dyn std::error::Error>> {
        const COUNT: usize = 200;
        let (window, start) = (Duration::from_secs(30), Instant::now());
        let (reports, mut queue) = mpsc::channel(COUNT);
        let mut tasks = JoinSet::new();
        for number in 0..COUNT {
            tasks.spawn(renew_within(window, format!("node-{number}").parse()?, reports.clone()));
        }
        let mut early = 0;
        for _ in 0..COUNT {
            queue.recv().await.ok_or("a task has ended without a report")?;
            let passed = start.elapsed();
            assert!(passed <= window, "{passed:?}");
            early += usize::from(passed < window / 2);
        }
        // Of 200 tosses of a coin; once in 10^12 times they are further off.
        assert!((50..=150).contains(&early), "{early} of {COUNT} in the first half");
        Ok(())
    }

    #[tokio::test]
    async fn nothing_is_waited_for_once_the_driver_has_stopped() -> Result<(), Box<dyn std::error::Error>> {
        let (reports, queue) = mpsc::channel(1);
        drop(queue);
        renew_within(Duration::MAX / 4, "node-a".parse()?, reports).await;
        Ok(())
    }
}
