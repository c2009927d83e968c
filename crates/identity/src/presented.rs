//! What the other side of one handshake showed, for the audit of those that are refused.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Longest name noted, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Notes whom the certificate that one client shows names, be it accepted or not; clones share the note.
///
/// A handshake that fails leaves no certificate behind to ask. What is noted is a claim, and nothing more: nobody has
/// checked it. Made for one handshake; the first certificate stays.
#[derive(Debug, Clone, Default)]
pub struct Presented(Arc<OnceLock<String>>);

impl Presented {
    /// Returns the first URI of the certificate shown, cut at 256 bytes; `None` if there was none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    pub(crate) fn note(&self, certificate: &CertificateDer<'_>) {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return };
        let Some(uri) = certificate.valid_uri_names().next() else { return };
        let end = uri.floor_char_boundary(MAX_NAME_BYTES);
        self.0.get_or_init(|| uri.get(..end).unwrap_or_default().to_owned());
    }
}
