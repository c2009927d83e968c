//! Values that every part of OmniRelay names: node ids, endpoints, metadata, members.
//!
//! Values only: no traits, no protocol, no wire format. A value that exists is valid; the
//! constructors refuse the rest with an error that names the field and the limit.
//!
//! ```
//! use mesh_types::{Endpoint, NodeId};
//!
//! let node: NodeId = "node-a".parse()?;
//! let endpoint: Endpoint = "10.0.0.7:17421".parse()?;
//! assert_eq!(format!("{node} at {endpoint}"), "node-a at 10.0.0.7:17421");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(clippy::disallowed_types, clippy::expect_used, clippy::indexing_slicing)]

mod endpoint;
mod features;
mod lifecycle;
mod member;
mod metadata;
mod name;
mod version;

pub use endpoint::{Endpoint, ParseEndpointError};
pub use features::{Feature, Features};
pub use lifecycle::{NodeLifecycle, ParseLifecycleError};
pub use member::{Member, MemberState, Membership};
pub use metadata::{MetadataError, NodeMetadata};
pub use name::{ClusterId, NameError, NodeId, Region, Role, ServiceName};
pub use version::{BootEpoch, Incarnation, MetadataVersion};
