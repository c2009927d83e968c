//! The task that follows the credentials, and cuts off who is no longer trusted.

use std::sync::Arc;
use std::time::Duration;

use identity::{CredentialSource, Credentials};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::registry::{Entry, Registry, wall_clock};

/// How often connections are looked through for certificates that have run out.
const TICK: Duration = Duration::from_secs(1);

/// Sweeps after each change, until it is dropped.
pub(crate) async fn follow(source: Arc<dyn CredentialSource>, registry: Registry) {
    let mut seen = source.current();
    let mut version = seen.revocations().version();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            new = source.changed(&seen) => {
                seen = new;
                sweep(&seen, registry.entries()).await;
            }
            newer = seen.revocations().changed(version) => {
                version = newer;
                sweep(&seen, registry.entries()).await;
            }
            _ = ticks.tick() => sweep(&seen, registry.over(wall_clock())).await,
        }
    }
}

/// Cuts those off who are no longer trusted, and lets others have their turn meanwhile: each takes a signature or two.
async fn sweep(credentials: &Credentials, entries: Vec<Entry>) {
    let now = wall_clock();
    for entry in entries {
        entry.cut_unless_trusted(credentials, now);
        yield_now().await;
    }
}
