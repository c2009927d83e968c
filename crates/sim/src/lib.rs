//! A seeded virtual network and clock for the pure cores.
//!
//! [`Mesh`] runs any number of [`membership::Core`]s in one thread on virtual time: an hour takes seconds, and the same
//! [`Settings`] give the same run, event for event.
//!
//! ```
//! use std::time::Duration;
//! use sim::{Mesh, Settings};
//!
//! let mut mesh = Mesh::start(Settings { nodes: 3, seed: 7, ..Settings::default() });
//! let took = mesh.run_until(Duration::from_secs(5), Mesh::all_see_all);
//! assert!(took.is_some_and(|took| took < Duration::from_secs(1)));
//! ```

mod agenda;
pub mod balance;
pub mod chaos;
mod clock;
mod log;
mod mesh;
mod network;
mod release;
pub mod scenario;
mod settings;

pub use log::LogEntry;
pub use mesh::Mesh;
pub use release::Release;
pub use settings::{Settings, Weather};
