//! Tells the mesh which services are well.

use std::collections::BTreeSet;

use gossip::{ChangeError, Handle};
use mesh_types::ServiceName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;

/// Announces `own`, always, and `healthy` as it changes, until `stop` or the end of gossip.
pub(crate) async fn announce(
    own: BTreeSet<ServiceName>,
    mut healthy: watch::Receiver<BTreeSet<ServiceName>>,
    gossip: Handle,
    stop: CancellationToken,
) {
    let mut told = BTreeSet::new();
    let telling = async {
        loop {
            let now = &own | &*healthy.borrow_and_update();
            match tell(&gossip, &told, &now).await {
                Ok(()) => told = now,
                Err(ChangeError::Ended) => return,
                Err(error) => tracing::error!(error = %Chain(&error), "services cannot be announced"),
            }
            if healthy.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(telling).await;
    stop.cancelled().await;
}

async fn tell(gossip: &Handle, told: &BTreeSet<ServiceName>, now: &BTreeSet<ServiceName>) -> Result<(), ChangeError> {
    let (gone, new): (BTreeSet<_>, BTreeSet<_>) = (told - now, now - told);
    if !gone.is_empty() {
        gossip.withdraw(gone).await?;
    }
    if !new.is_empty() {
        gossip.announce(new).await?;
    }
    Ok(())
}
