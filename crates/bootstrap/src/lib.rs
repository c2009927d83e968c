//! The certificate authority: the only crate that signs.
//!
//! For now it holds a development CA, [`DevCa`]: it lives in memory, issues certificates that name a node
//! by its SPIFFE ID, and is gone with the process. Only the `dev` command and test kits may reach it; it
//! keeps no record of what it issued or revoked.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use bootstrap::{DevCa, Validity};
//!
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//! let an_hour = Validity::starting(now, Duration::from_secs(3600));
//! let ca = DevCa::generate("mesh.example", an_hour)?;
//! let issued = ca.issue(&"spiffe://mesh.example/cluster/dev/role/worker/node/node-a".parse()?, an_hour)?;
//! let credentials = identity::Credentials::from_pem(
//!     issued.certificate_pem().as_bytes(),
//!     issued.key_pem().as_bytes(),
//!     ca.trust_bundle_pem().as_bytes(),
//!     now,
//! )?;
//! assert_eq!(credentials.spiffe_id().node().as_str(), "node-a");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dev_ca;
mod error;
mod files;
mod revocation_list;
mod validity;

pub use dev_ca::{DevCa, Issued};
pub use error::CaError;
pub use revocation_list::SignedRevocations;
pub use validity::Validity;
