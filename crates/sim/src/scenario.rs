//! What the protocol promises, measured on simulated meshes.
//!
//! Each function runs one mesh of one seed and returns what was seen; `cargo xtask sim membership --scenario` runs many
//! and prints them as tables.

mod clocks;
mod distance;
mod large;
mod rolling;
mod sick;
mod storm;
mod whole;

pub use clocks::{Clocks, clocks};
pub use distance::{Tuned, between_sites, tuned};
pub use large::{Large, large};
pub use rolling::{Rolled, rolling};
pub use sick::{Illness, Sickness};
pub use storm::{Storm, storm};
pub use whole::{Cut, Joins, Spread, crash, cut_in_half, joins_at_once, spread};

use std::time::Duration;

use mesh_types::MemberState;

use crate::{Mesh, Settings};

/// Longest wait for a mesh to find together, or for news to be everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a mesh and lets it come to rest; `None` if not all see all within a minute.
fn at_rest(settings: Settings) -> Option<Mesh> {
    let mut mesh = Mesh::start(settings);
    mesh.run_until(PATIENCE, Mesh::all_see_all)?;
    // Everybody has a round trip of its links.
    mesh.run_for(Duration::from_secs(10));
    Some(mesh)
}

/// Whether all observers, as far as they count, hold a node for gone by verdict.
fn is_gone(mesh: &Mesh, subject: usize, counts: impl Fn(usize) -> bool) -> bool {
    let gone = |state| matches!(state, Some(MemberState::Unreachable | MemberState::Dead));
    mesh.running().filter(|(number, _)| counts(*number)).all(|(_, core)| gone(core.state_of(mesh.id(subject))))
}

fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of packets and bytes are far below 2^52")]
    let count = count as f64;
    count / time.as_secs_f64()
}
