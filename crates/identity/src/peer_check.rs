//! A rule of one's own about whom to talk to.

use std::fmt;

use rustls::pki_types::CertificateDer;

use crate::spiffe::SpiffeId;

/// A rule of one's own about whom to talk to, beside those that the mesh has.
///
/// It is asked about whoever has passed all the others: its chain leads to the trust bundle, is not revoked, and names whom it should.
/// It is asked by servers within the handshake, by clients before a byte of a call is sent, and about open connections
/// whenever those are looked through; for one connection more than once. Any thread may ask; it must neither block nor take long.
pub trait PeerCheck: fmt::Debug + Send + Sync {
    /// Says whether to talk to the holder of `chain`, its own certificate first; `id` is its SPIFFE ID, which a server that is known by
    /// a DNS name may lack.
    ///
    /// # Errors
    /// Why not, in words for logs and for our own side of the connection: the other side is told no more than `access_denied`.
    fn check(&self, id: Option<&SpiffeId>, chain: &[CertificateDer<'_>]) -> Result<(), String>;
}
