//! What our own certificate must pass before it is shown to anybody.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as TlsError};

use crate::error::{CredentialsError, CredentialsInput};
use crate::peer;
use crate::spiffe::SpiffeId;
use crate::verifier::{ChainVerifier, Side};

/// From when to when a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Window {
    pub(crate) fn contains(self, now: SystemTime) -> Result<(), CredentialsError> {
        let now = system(unix(now)); // certificates count in whole seconds
        if let Ok(ago) = now.duration_since(self.not_after)
            && !ago.is_zero()
        {
            return Err(CredentialsError::Expired { ago });
        }
        match self.not_before.duration_since(now) {
            Ok(wait) if !wait.is_zero() => Err(CredentialsError::NotYetValid { wait }),
            _ => Ok(()),
        }
    }
}

/// What a certificate that passed says of itself.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) window: Window,
}

/// Checks what peers would check, and that the key is the certificate's.
pub(crate) fn check(
    certified: &CertifiedKey,
    verifier: &ChainVerifier,
    now: SystemTime,
) -> Result<Checked, CredentialsError> {
    let [leaf, intermediates @ ..] = certified.cert.as_slice() else {
        return Err(CredentialsError::NoCertificate { input: CredentialsInput::Certificate });
    };
    let spiffe_id = peer::spiffe_id_of(leaf).map_err(|source| CredentialsError::Unnamed { source })?;
    certified.keys_match().map_err(|source| CredentialsError::KeyMismatch { source })?;
    let window = window(|time| verifier.verify_chain(Side::Server, leaf, intermediates, time))?;
    window.contains(now)?;
    for (peer, by) in [(Side::Server, "clients"), (Side::Client, "servers")] {
        verifier
            .verify_chain(peer, leaf, intermediates, unix(now))
            .map_err(|source| CredentialsError::Untrusted { by, source })?;
    }
    Ok(Checked { spiffe_id, window })
}

/// Reads a certificate's dates from what its verifier says at both ends of time: it looks at the leaf's
/// dates before anything else, and its error carries them. This saves a second X.509 parser.
pub(crate) fn window(verify: impl Fn(UnixTime) -> Result<(), TlsError>) -> Result<Window, CredentialsError> {
    let end_of_time = UnixTime::since_unix_epoch(Duration::MAX);
    let not_after = match verify(end_of_time) {
        Err(TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => not_after,
        Err(source) => return Err(CredentialsError::Dates { source }),
        Ok(()) => end_of_time,
    };
    let epoch = UnixTime::since_unix_epoch(Duration::ZERO);
    let not_before = match verify(epoch) {
        Err(TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => not_before,
        _ => epoch,
    };
    Ok(Window { not_before: system(not_before), not_after: system(not_after) })
}

/// A time before 1970 is as early as can be.
pub(crate) fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A certificate's years have four digits, so its dates fit; if one did not, it would count as long past.
fn system(time: UnixTime) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(UNIX_EPOCH)
}
