//! Health and leases of peers: evidence by source, merged snapshots, transitions and anomalies.
//!
//! A [`Tracker`] takes what gossip, leases, transports, breakers, probes and operators say of peers, and says who may
//! get work; a [`HealthBoard`] merges it with other [`HealthProvider`]s into snapshots and tells what happened. The
//! crate knows no runtime, socket or clock: each record brings its [`Moment`], and a [`Timeline`] makes those.
//! Every table in it is bounded, and what finds no room is refused with a [`TrackError`].
//!
//! ```
//! use std::time::{Instant, SystemTime};
//!
//! use peer_health::{Options, Timeline, Tracker};
//!
//! # #[expect(clippy::disallowed_methods, reason = "the host has the clocks")]
//! # fn read_clocks() -> (Instant, SystemTime) { (Instant::now(), SystemTime::now()) }
//! let (monotonic, wall) = read_clocks();
//! let now = Timeline::starting(monotonic).moment(monotonic, wall);
//! let tracker = Tracker::new(Options::default());
//! let worker = tracker.handle(&"worker-a".parse()?, now)?;
//! worker.heartbeat(now);
//! assert!(worker.is_eligible(now));
//! tracker.record_disconnect(&"worker-a".parse()?, Some("reset by peer"), now)?;
//! assert!(!worker.is_eligible(now));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::disallowed_types, clippy::expect_used, clippy::indexing_slicing)]

mod board;
mod breakers;
mod cell;
mod document;
mod emit;
mod events;
mod evidence;
mod fold;
mod gossip;
mod handle;
mod json;
mod lease;
mod metadata;
mod options;
mod outcomes;
mod provider;
mod readiness;
mod roster;
mod slab;
mod snapshot;
mod story;
mod time;
mod tracker;
mod watch;
mod word;

pub use board::HealthBoard;
pub use breakers::BreakerProvider;
pub use document::DocumentFilter;
pub use events::{Event, EventKind, Events};
pub use evidence::{Freshness, HealthState, Source, Verdict, Verdicts};
pub use gossip::{Applied, GossipNews};
pub use handle::{HealthHandle, Outcome};
pub use lease::{Lease, LeaseId, PeerFacts, Release};
pub use metadata::{Metadata, keys};
pub use options::{Options, TrackError};
pub use outcomes::TransportFeed;
pub use provider::{HealthProvider, HealthRecord};
pub use readiness::{ActiveRequest, NodeHealth, Readiness};
pub use snapshot::{PeerHealth, Snapshot, Summary};
pub use time::{Moment, Tick, Timeline, WallTime};
pub use tracker::Tracker;
