//! Why credentials are refused before they are used.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::peer::ReadSpiffeIdError;
use crate::revocation_error::RevocationFileError;
use crate::source::ReplaceCredentialsError;

/// One of the parts that credentials are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsInput {
    /// The node's certificate, followed by intermediates.
    Certificate,
    /// The certificate's private key.
    Key,
    /// The certificates of the CAs that vouch for peers.
    TrustBundle,
    /// The lists of revoked certificates.
    RevocationLists,
}

impl fmt::Display for CredentialsInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::TrustBundle => "trust bundle",
            Self::RevocationLists => "revocation lists",
        })
    }
}

/// Why certificate, key and trust bundle make no usable credentials.
///
/// [`CredentialsError::input`] says in which of them the fault was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A part is larger than 1 MiB.
    #[error("{input} is larger than {limit} bytes")]
    TooLarge {
        /// Which part.
        input: CredentialsInput,
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// A part is not well-formed PEM.
    #[error("{input} is not well-formed PEM")]
    Pem {
        /// Which part.
        input: CredentialsInput,
        /// Where the PEM breaks off.
        source: io::Error,
    },
    /// A part that should hold certificates holds none.
    #[error("{input} holds no certificate")]
    NoCertificate {
        /// Which part.
        input: CredentialsInput,
    },
    /// There is no private key, or an encrypted one.
    #[error("key holds no unencrypted private key")]
    NoKey,
    /// There are several private keys, so that it is a guess which is meant.
    #[error("key holds {count} private keys, not one")]
    SeveralKeys {
        /// How many there are.
        count: usize,
    },
    /// The private key is malformed or of an unsupported kind.
    #[error("private key cannot be used")]
    BadKey {
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The private key belongs to another certificate.
    #[error("private key belongs to another certificate")]
    KeyMismatch {
        /// What the comparison said.
        source: rustls::Error,
    },
    /// A certificate of the trust bundle cannot be decoded.
    #[error("certificate {position} of the trust bundle cannot be used")]
    BadAnchor {
        /// Its place in the bundle, from 1.
        position: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The certificate does not say which node it is for.
    #[error("certificate does not say which node it is for")]
    Unnamed {
        /// Why not.
        source: ReadSpiffeIdError,
    },
    /// The certificate's dates cannot be read.
    #[error("dates of the certificate cannot be read")]
    Dates {
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// The certificate's time has passed.
    #[error("certificate expired {ago:?} ago")]
    Expired {
        /// For how long it has been expired, in whole seconds.
        ago: Duration,
    },
    /// The certificate's time has not come yet.
    #[error("certificate becomes valid in {wait:?}")]
    NotYetValid {
        /// How long until it is valid, in whole seconds.
        wait: Duration,
    },
    /// Peers with the same trust bundle would refuse the certificate.
    #[error("certificate would be refused by {by} with this trust bundle")]
    Untrusted {
        /// Who would refuse it: `servers` or `clients`.
        by: &'static str,
        /// What they would say.
        source: rustls::Error,
    },
}

impl CredentialsError {
    /// Returns the part in which the fault was found.
    #[must_use]
    pub const fn input(&self) -> CredentialsInput {
        match self {
            Self::TooLarge { input, .. } | Self::Pem { input, .. } | Self::NoCertificate { input } => *input,
            Self::NoKey | Self::SeveralKeys { .. } | Self::BadKey { .. } | Self::KeyMismatch { .. } => {
                CredentialsInput::Key
            }
            Self::BadAnchor { .. } => CredentialsInput::TrustBundle,
            Self::Unnamed { .. }
            | Self::Dates { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::Untrusted { .. } => CredentialsInput::Certificate,
        }
    }
}

/// Why credentials could not be loaded from files. Each variant names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadCredentialsError {
    /// A file cannot be read.
    #[error("cannot read {input} `{}`", path.display())]
    Read {
        /// What the file should hold.
        input: CredentialsInput,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was read, but what it holds cannot be used.
    #[error("cannot use {input} `{}`", path.display())]
    Unusable {
        /// What the file should hold.
        input: CredentialsInput,
        /// The file in which the fault was found.
        path: PathBuf,
        /// What is wrong with it.
        source: CredentialsError,
    },
    /// The certificate is good, and has been revoked.
    #[error("certificate `{}` with serial number {serial} has been revoked", path.display())]
    Revoked {
        /// The file of the certificate.
        path: PathBuf,
        /// Its serial number, in hexadecimal.
        serial: String,
    },
    /// The certificate is good, but cannot take the place of the one in use.
    #[error("cannot use certificate `{}` instead of the one in use", path.display())]
    NotAReplacement {
        /// The file of the certificate.
        path: PathBuf,
        /// Why not.
        source: ReplaceCredentialsError,
    },
    /// The revocation lists cannot be used.
    #[error("cannot use revocation lists `{}`", path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RevocationFileError,
    },
}

impl LoadCredentialsError {
    /// Returns which of the files is at fault.
    #[must_use]
    pub const fn input(&self) -> CredentialsInput {
        match self {
            Self::Read { input, .. } | Self::Unusable { input, .. } => *input,
            Self::Revoked { .. } | Self::NotAReplacement { .. } => CredentialsInput::Certificate,
            Self::Revocations { .. } => CredentialsInput::RevocationLists,
        }
    }
}
