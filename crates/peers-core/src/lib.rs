//! Peers as values and ports, and the lock-free snapshot cell that readers share.
//!
//! A *peer* is a member of the mesh that can be called. This crate holds what the planes share:
//! the ports [`MembershipView`] and [`PeerSource`], and [`Published`], the one pointer type through
//! which immutable snapshots reach their readers. It knows no runtime, socket or clock.
//!
//! ```
//! use peers_core::Published;
//!
//! let cell = Published::new(vec![1, 2]);
//! let before = cell.load();
//! cell.publish(vec![3]);
//! assert_eq!((before.as_slice(), cell.load().as_slice()), ([1, 2].as_slice(), [3].as_slice()));
//! ```
#![deny(clippy::disallowed_types, clippy::expect_used, clippy::indexing_slicing)]

mod balancer;
mod breaker;
mod candidates;
mod cell;
mod census;
mod chooser;
mod choosers;
mod durations;
mod entropy;
mod estimator;
mod filter;
mod fleet;
mod group;
mod handle;
mod labels;
mod lease;
mod load;
mod local;
#[cfg(all(test, loom))]
mod models;
mod peer;
mod pick_error;
mod plan;
mod ports;
mod published;
mod shared;
mod spec;
mod sync;
mod table;
mod telemetry;
mod tick;
mod window;
mod word;

pub use balancer::Balancer;
pub use breaker::{BreakerOptions, BreakerReason, BreakerState, Jitter, Unreported};
pub use cell::Http3Learned;
pub use census::{LastPeer, Rails};
pub use chooser::{Chooser, Reach, Refusal};
pub use choosers::{
    Adaptive, ConsistentHash, FewestPending, PickFirst, ProbeTicket, Probed, Random, RoundRobin, ShardAware, TwoRandom,
    Weighted, hash_key,
};
pub use durations::DurationHistogram;
pub use entropy::Entropy;
pub use filter::Filters;
pub use fleet::{Calls, Fleet};
pub use group::{Group, PickCx};
pub use handle::PeerHandle;
pub use labels::LabelError;
pub use lease::{Outcome, PeerKey, PeerLease};
pub use load::{InFlight, LoadGauge, ServerLoad};
pub use local::LocalBalancer;
pub use peer::{Health, Http3Hint, Lifecycle, Peer, PeerEndpoint, PeerUpdate, Protocol, Protocols, ShardsOwned};
pub use pick_error::PickError;
pub use ports::{
    LoadProbe, MembershipView, OutcomeObserver, PeerSource, PeerUpdates, ShardMapVersion, ShardOwners, VersionFuture,
};
pub use published::Published;
pub use shared::{Local, TableOptions};
pub use spec::{BuildChooserError, ChooserPorts, ChooserSpec, ParseChooserError};
pub use table::{Applied, PeerTable};
pub use telemetry::{Labels, Sink};
pub use tick::Tick;
