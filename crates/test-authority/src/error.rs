//! Why a certificate could not be made.

use bootstrap::CaError;
use identity::{CredentialsError, ParseSpiffeIdError};

/// Why a certificate for a test could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The CA could not be made, or did not issue.
    #[error("cannot issue certificates")]
    Issue(#[from] CaError),
    /// A certificate was asked for that names nobody.
    #[error("certificate would name nobody")]
    Holder(#[from] ParseSpiffeIdError),
    /// The certificate is none that a node starts with.
    #[error("cannot use the certificate")]
    Credentials(#[from] CredentialsError),
}
