//! The one place that reads PEM.
//!
//! `rustls-pemfile` is archived upstream (RUSTSEC-2025-0134). It is a thin layer over
//! `rustls_pki_types::pem::PemObject`, which replaces it: only this file would change.

use std::io;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_pemfile::Item;

/// Returns all certificates in `pem`, in their order; other sections are skipped.
pub(crate) fn certificates(mut pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    rustls_pemfile::certs(&mut pem).collect()
}

/// Returns all unencrypted private keys in `pem`, in their order; other sections are skipped.
pub(crate) fn private_keys(mut pem: &[u8]) -> io::Result<Vec<PrivateKeyDer<'static>>> {
    rustls_pemfile::read_all(&mut pem).filter_map(|item| item.map(private_key).transpose()).collect()
}

fn private_key(item: Item) -> Option<PrivateKeyDer<'static>> {
    match item {
        Item::Pkcs1Key(key) => Some(key.into()),
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        _ => None,
    }
}

/// Returns all revocation lists in `pem` as DER, in their order; other sections are skipped.
pub(crate) fn revocation_lists(mut pem: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    rustls_pemfile::crls(&mut pem).map(|list| Ok(list?.to_vec())).collect()
}
