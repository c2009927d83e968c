//! Certificates to mutual-TLS configurations, SPIFFE IDs read back and checked.
//!
//! [`Credentials`] are a node's certificate, key and trust bundle, parsed and checked once; from then on
//! they hand out rustls configurations for both sides of a mesh connection. Those speak TLS 1.3 only,
//! demand a certificate from both sides, never resume a session and never send early data. No name of
//! DNS is checked: who a peer is stands in the [`SpiffeId`] of its certificate, which
//! [`Credentials::verify_peer`] reads after the handshake, before any data flows.
//!
//! A [`CredentialSource`] is where transports get credentials from and hear that there are new ones: [`FileCredentials`] watch
//! files, [`SharedCredentials`] are set by whoever has them. Both share a set of [`Revocations`], which every handshake is
//! checked against.
//!
//! Key bytes do not leave this crate, and it reads no clock: `now` comes in. The exceptions are who watches files, and
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
mod expected;
mod file_contents;
mod files;
mod live;
mod peer;
mod peer_check;
mod pem;
mod presented;
mod refusal;
mod report;
mod revocation_error;
mod revocation_list;
mod revocations;
mod source;
mod spiffe;
mod trust_domain;
mod verifier;

pub use credentials::{CertificateFiles, Credentials};
pub use error::{CredentialsError, CredentialsInput, LoadCredentialsError};
pub use expected::ExpectedPeer;
pub use files::{FileCredentials, FileOptions};
pub use live::live_server_config;
pub use peer::{PeerRefused, ReadSpiffeIdError};
pub use peer_check::PeerCheck;
pub use presented::Presented;
pub use refusal::{RefusalReason, refusal_reason, refusal_reason_of_alert, refusal_reason_of_quic};
pub use revocation_error::{LearnRevocationsError, RevocationFileError};
pub use revocation_list::{CrlNumber, RevocationHead};
pub use revocations::{Learnt, Revocations, StaleLists};
pub use source::{CredentialSource, CredentialsFuture, ReplaceCredentialsError, SharedCredentials};
pub use spiffe::{ParseSpiffeIdError, SpiffeId};
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use verifier::Side;
