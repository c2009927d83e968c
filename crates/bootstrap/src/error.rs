//! Why the CA did not issue a certificate.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use identity::{SpiffeId, TrustDomain, TrustDomainError};

/// Why a CA could not be made, or a certificate not be issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The CA's trust domain is not one.
    #[error("CA has no valid trust domain")]
    TrustDomain {
        /// What is wrong with it.
        source: TrustDomainError,
    },
    /// The certificate is for a node of another trust domain.
    #[error("CA of trust domain `{ours}` does not issue for {id}")]
    OtherTrustDomain {
        /// Whom the certificate is for.
        id: SpiffeId,
        /// The trust domain of the CA.
        ours: TrustDomain,
    },
    /// The validity ends before it begins, or lies outside the years 1970 to 9999.
    #[error("validity is empty or outside the years 1970 to 9999")]
    Validity {
        /// Where it begins.
        not_before: SystemTime,
        /// Where it ends.
        not_after: SystemTime,
    },
    /// A key could not be made or a certificate not be signed.
    #[error("cannot {action} for {subject}")]
    Sign {
        /// What was being done.
        action: &'static str,
        /// Whom it was for.
        subject: String,
        /// What the cryptography said.
        source: rcgen::Error,
    },
    /// The certificate that was issued cannot be read back.
    #[error("certificate issued for {id} cannot be read back")]
    Unreadable {
        /// Whom it is for.
        id: SpiffeId,
        /// What is wrong with it.
        source: webpki::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory holds the certificate of another CA.
    #[error("`{}` is the certificate of another CA", path.display())]
    OtherCa {
        /// The file.
        path: PathBuf,
    },
}
