//! What the other side of one handshake showed, for the audit of those that are refused.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::peer::PeerRefused;

/// Longest name noted, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Notes whom the certificate that one client shows names, be it accepted or not; clones share the note.
///
/// A handshake that fails leaves no certificate behind to ask. What is noted is a claim, and nothing more: nobody has
/// checked it. Made for one handshake; the first certificate stays.
#[derive(Debug, Clone, Default)]
pub struct Presented(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    name: OnceLock<String>,
    refused: OnceLock<PeerRefused>,
}

impl Presented {
    /// Returns the first URI of the certificate shown, cut at 256 bytes; `None` if there was none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.get().map(String::as_str)
    }

    /// Returns why the client was refused whose certificate is good; `None` if that was not the reason.
    #[must_use]
    pub fn refused(&self) -> Option<&PeerRefused> {
        self.0.refused.get()
    }

    pub(crate) fn refuse(&self, refused: PeerRefused) {
        self.0.refused.get_or_init(|| refused);
    }

    pub(crate) fn note(&self, certificate: &CertificateDer<'_>) {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return };
        let Some(uri) = certificate.valid_uri_names().next() else { return };
        let end = uri.floor_char_boundary(MAX_NAME_BYTES);
        self.0.name.get_or_init(|| uri.get(..end).unwrap_or_default().to_owned());
    }
}
