//! The gossip protocol of OmniRelay as a pure state machine: who is in the mesh, and how we know.
//!
//! [`Core`] takes messages, commands and the time, and gives messages to send and events. It owns no socket, clock,
//! task or source of randomness, so that a mesh of hundreds runs in one thread, and the same seed gives the same run.
//! It never trusts a name: the shell says whom a message came from, after checking a certificate.
//!
//! The protocol is of the SWIM family (Das, Gupta, Motivala, *SWIM*, DSN 2002), with three changes:
//! updates are flooded at once over a sparse overlay of hash rings (after Suresh et al., *Rapid*, USENIX ATC 2018, §4.1)
//! instead of riding on ticks; a silent member is judged by a quorum of verifiers who are asked by unicast, and only
//! the verdict is flooded; and probes carry a digest of the table, whose mismatch starts a delta sync.
//!
//! ```
//! use std::time::Instant;
//! use membership::{Core, Input, LocalNode, Options, Output};
//!
//! let local = LocalNode {
//!     id: "node-a".parse()?,
//!     boot_epoch: mesh_types::BootEpoch(1),
//!     metadata: mesh_types::NodeMetadata {
//!         role: "worker".parse()?,
//!         cluster: "alpha".parse()?,
//!         region: "eu-1".parse()?,
//!         mesh_version: "0.1.0".into(),
//!         http3_support: true,
//!         endpoint: "10.0.0.1:17421".parse()?,
//!         labels: Default::default(),
//!         features: Default::default(),
//!         lifecycle: Default::default(),
//!         services: Default::default(),
//!         rpc_endpoint: None,
//!     },
//! };
//! # #[expect(clippy::disallowed_methods, reason = "an example needs a moment to start at")]
//! let now = Instant::now();
//! let mut core = Core::new(local, Options::default(), 7, now)?;
//! core.handle(Input::Join(vec!["10.0.0.2:17421".parse()?]), now)?;
//! assert!(matches!(core.poll_output(), Some(Output::Connect { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::disallowed_types, clippy::expect_used, clippy::indexing_slicing)]

mod archive;
mod claim;
mod class;
mod core;
mod death;
mod departure;
mod dissemination;
mod event;
mod exchange;
mod flaps;
mod health;
mod hello;
mod joining;
mod knob;
mod options;
mod outbox;
mod overlay;
mod pacing;
mod probing;
mod profile;
mod record;
mod refutation;
mod responses;
mod rumour;
mod suspicion;
mod sync;
mod table;
mod user_events;
mod verification;
mod wire;

pub use crate::archive::Archive;
pub use crate::class::{Class, Queue};
pub use crate::core::Core;
pub use crate::event::{Event, Stats};
pub use crate::exchange::{Channel, Input, LocalNode, Output, StartError};
pub use crate::hello::{HelloError, Sender};
pub use crate::knob::{Amount, Bound, Knob, KnobFacts, OptionsError};
pub use crate::options::Options;
pub use crate::profile::{ParseProfileError, Profile, RttClass};
pub use crate::record::RecordError;
pub use crate::suspicion::quorum;
pub use crate::user_events::{SendEventError, UserEvent, UserEventError};
pub use crate::wire::{Message, Rejected, decode};
