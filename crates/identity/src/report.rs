//! What operators see of a process's credentials: metrics and log events.

use std::error::Error;
use std::time::SystemTime;

use metrics::{counter, gauge};
use tracing::{info, warn};

use crate::credentials::Credentials;

/// What is reloaded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Certificate, key and trust bundle.
    Identity,
    /// The revocation lists.
    Revocations,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Revocations => "revocations",
        }
    }
}

impl Credentials {
    /// Shows how long our certificate is still valid, whether it was revoked and how old the revocation lists are, as
    /// gauges. Call it every few seconds: a gauge does not count down by itself.
    pub fn report(&self, now: SystemTime) {
        let left = match self.not_after().duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        gauge!("mesh_credentials_expiry_seconds").set(left);
        gauge!("mesh_credentials_revoked").set(f64::from(u8::from(self.is_revoked())));
        if let Some(age) = self.revocations().age(now) {
            gauge!("mesh_credentials_crl_age_seconds").set(age.as_secs_f64());
        }
    }
}

/// Counts and logs new credentials that are in use from now on.
pub(crate) fn identity_reloaded(credentials: &Credentials, now: SystemTime) {
    reloaded(Part::Identity, true);
    let valid_for = credentials.not_after().duration_since(now).unwrap_or_default();
    info!(node = %credentials.spiffe_id(), serial = credentials.serial(), ?valid_for, "credentials reloaded");
}

/// Counts and logs a file of revocation lists that was taken.
pub(crate) fn revocations_reloaded(news: usize) {
    reloaded(Part::Revocations, true);
    info!(news, "revocation lists reloaded");
}

/// Counts and logs files that were not taken: what was in use stays in use.
pub(crate) fn reload_failed(part: Part, error: &(dyn Error + 'static)) {
    reloaded(part, false);
    warn!(part = part.as_str(), error, "reload failed: what was in use stays in use");
}

fn reloaded(part: Part, success: bool) {
    let outcome = if success { "success" } else { "failure" };
    counter!("mesh_credentials_reloads_total", "part" => part.as_str(), "outcome" => outcome).increment(1);
    gauge!("mesh_credentials_reload_failing", "part" => part.as_str()).set(f64::from(u8::from(!success)));
}
