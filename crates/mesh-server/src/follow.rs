//! The task that follows the credentials, and cuts off who is no longer trusted.

use std::sync::Arc;
use std::time::Duration;

use identity::CredentialSource;
use tokio::time::{MissedTickBehavior, interval};

use crate::registry::{Registry, wall_clock};

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
                registry.sweep(&seen, wall_clock());
            }
            newer = seen.revocations().changed(version) => {
                version = newer;
                registry.sweep(&seen, wall_clock());
            }
            _ = ticks.tick() => {
                registry.expire(&seen, wall_clock());
            }
        }
    }
}
