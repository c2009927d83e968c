//! Meshes by profile, and members that are far apart.

use std::time::Duration;

use super::{at_rest, crash, per_second};
use crate::{Settings, Weather};

/// What a tuning promises and costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuned {
    /// Until a crash is seen by all.
    pub crash_seen: Duration,
    /// Bytes per node and second when nothing happens, without what QUIC adds.
    pub bytes_at_rest: f64,
    /// Times a minute that any node suspected another that lived, in the whole mesh, when nothing happens.
    pub suspicions: f64,
}

/// A network between sites: 10 to 80 ms one way, one packet in a hundred lost, one in fifty late by up to 200 ms.
#[must_use]
pub fn between_sites() -> Weather {
    Weather {
        latency: Duration::from_millis(10)..=Duration::from_millis(80),
        loss: 0.01,
        duplication: 0.0,
        reordering: 0.02,
        held_up: Duration::from_millis(200),
    }
}

/// Lets a mesh be at rest for five minutes, then kills a node of another like it; `None` if it does not start or the crash is not
/// seen within a minute.
#[must_use]
pub fn tuned(settings: &Settings) -> Option<Tuned> {
    let mut mesh = at_rest(settings.clone())?;
    let time = Duration::from_secs(300);
    let count = |kind| mesh.counts().get(kind).copied().unwrap_or_default();
    let (bytes, suspects) = (mesh.bytes(), count("suspect"));
    mesh.run_for(time);
    let nodes = f64::from(u32::try_from(mesh.size()).unwrap_or(u32::MAX));
    let suspicions = mesh.counts().get("suspect").copied().unwrap_or_default() - suspects;
    Some(Tuned {
        crash_seen: crash(settings.clone())?,
        bytes_at_rest: per_second(mesh.bytes() - bytes, time) / nodes,
        suspicions: per_second(suspicions, time) * 60.0,
    })
}
