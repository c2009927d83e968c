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

mod labels;
mod peer;
mod ports;
mod published;

pub use labels::LabelError;
pub use peer::{Health, Http3Hint, Lifecycle, Peer, PeerEndpoint, PeerUpdate, Protocol, Protocols, ShardsOwned};
pub use ports::{MembershipView, PeerSource, PeerUpdates, VersionFuture};
pub use published::Published;
