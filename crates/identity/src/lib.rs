//! Certificates to mutual-TLS configurations, SPIFFE IDs read back and checked.
//!
//! [`Credentials`] are a node's certificate, key and trust bundle, parsed and checked once; from then on
//! they hand out rustls configurations for both sides of a mesh connection. Those speak TLS 1.3 only,
//! demand a certificate from both sides, never resume a session and never send early data. No name of
//! DNS is checked: who a peer is stands in the [`SpiffeId`] of its certificate, which
//! [`Credentials::verify_peer`] reads after the handshake, before any data flows.
//!
//! Key bytes do not leave this crate, and it reads no clock: `now` comes in. The one exception is inside
//! rustls, which asks the system for the time of each handshake.
//!
//! ```
//! use identity::SpiffeId;
//!
//! let id: SpiffeId = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a".parse()?;
//! assert_eq!((id.cluster().as_str(), id.node().as_str()), ("alpha", "node-a"));
//! # Ok::<(), identity::ParseSpiffeIdError>(())
//! ```

mod checks;
mod credentials;
mod error;
mod peer;
mod pem;
mod refusal;
mod spiffe;
mod trust_domain;
mod verifier;

pub use credentials::{CertificateFiles, Credentials};
pub use error::{CredentialsError, CredentialsInput, LoadCredentialsError};
pub use peer::{PeerRefused, ReadSpiffeIdError};
pub use refusal::{RefusalReason, refusal_reason, refusal_reason_of_alert};
pub use spiffe::{ParseSpiffeIdError, SpiffeId};
pub use trust_domain::{TrustDomain, TrustDomainError};
