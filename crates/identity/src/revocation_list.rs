//! One signed list of revoked certificates (RFC 5280 §5), parsed, and authenticated if its issuer is known.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use twox_hash::XxHash64;
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};
use x509_cert::Certificate;
use x509_cert::crl::TbsCertList;
use x509_cert::der::asn1::{Any, BitString};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{self, Decode, Reader, SliceReader};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber as CrlNumberExtension, KeyUsage};

use crate::revocation_error::LearnRevocationsError;

/// The number that a CA gives each list it signs, each higher than the last (RFC 5280 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CrlNumber([u8; Self::MAX_BYTES]);

impl CrlNumber {
    /// Longest number, in bytes (RFC 5280 §5.2.3).
    pub const MAX_BYTES: usize = 20;

    /// Reads a big-endian number; `None` if it is longer than [`CrlNumber::MAX_BYTES`].
    #[must_use]
    pub fn from_be_bytes(bytes: &[u8]) -> Option<Self> {
        let mut number = [0; Self::MAX_BYTES];
        let start = Self::MAX_BYTES.checked_sub(bytes.len())?;
        number.get_mut(start..)?.copy_from_slice(bytes);
        Some(Self(number))
    }

    /// Returns the number, big-endian.
    #[must_use]
    pub const fn as_be_bytes(&self) -> &[u8; Self::MAX_BYTES] {
        &self.0
    }
}

/// Which edition of which list: what nodes tell one another of the lists they hold.
///
/// Heads of one scope are ordered: the greater one is the newer list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevocationHead {
    /// Hash of issuer, issuer's key and distribution point: a CA may keep several lists, and several CAs may have one name.
    pub scope: u64,
    /// The list's number; 0 if the CA gave none.
    pub number: CrlNumber,
    /// When it was issued, in seconds since 1970: orders lists without a number.
    pub issued_at_secs: u64,
}

/// A signed list. Cloning is a reference count.
#[derive(Debug, Clone)]
pub(crate) struct RevocationList {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    der: Box<[u8]>,
    entries: CertRevocationList<'static>,
    revoked: usize,
    head: RevocationHead,
    issued_at: SystemTime,
    next_update: UnixTime,
    is_authentic: bool,
}

/// Who may sign lists, and how signatures are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authorities<'a> {
    pub(crate) certificates: &'a [CertificateDer<'static>],
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl RevocationList {
    /// Parses a list. If one of `authorities` has the issuer's name, one of those must have signed it.
    pub(crate) fn parse(der: &[u8], authorities: Authorities<'_>) -> Result<Self, LearnRevocationsError> {
        // webpki knows which lists it cannot judge by: delta, indirect, unknown critical extensions.
        let entries =
            OwnedCertRevocationList::from_der(der).map_err(|source| LearnRevocationsError::Unsupported { source })?;
        let entries = CertRevocationList::from(entries);
        let signed = Signed::split(der).map_err(|source| LearnRevocationsError::Malformed { source })?;
        let list = TbsCertList::from_der(signed.to_be_signed).map_err(malformed)?;
        let next_update = list.next_update.ok_or(LearnRevocationsError::NoNextUpdate)?.to_unix_duration();
        let (number, key_id) = extensions(&list)?;
        let scope = scope(&[entries.issuer(), &key_id, entries.issuing_distribution_point().unwrap_or_default()]);
        let is_authentic = signed.is_by_one_of(entries.issuer(), authorities)?;
        Ok(Self {
            inner: Arc::new(Inner {
                der: der.into(),
                revoked: list.revoked_certificates.as_ref().map_or(0, Vec::len),
                head: RevocationHead { scope, number, issued_at_secs: list.this_update.to_unix_duration().as_secs() },
                issued_at: UNIX_EPOCH + list.this_update.to_unix_duration(),
                next_update: UnixTime::since_unix_epoch(next_update),
                entries,
                is_authentic,
            }),
        })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.inner.der
    }

    pub(crate) fn head(&self) -> RevocationHead {
        self.inner.head
    }

    /// How many certificates it revokes.
    pub(crate) fn revoked(&self) -> usize {
        self.inner.revoked
    }

    pub(crate) fn issued_at(&self) -> SystemTime {
        self.inner.issued_at
    }

    pub(crate) fn next_update(&self) -> UnixTime {
        self.inner.next_update
    }

    /// Whether its signature was checked. One that was not came from a file, and its CA is not known here.
    pub(crate) fn is_authentic(&self) -> bool {
        self.inner.is_authentic
    }

    /// Whether it is of the CA that issued `certificate`. Name and serial number identify a certificate (RFC 5280 §4.1.2.2).
    pub(crate) fn concerns(&self, certificate: &EndEntityCert<'_>) -> bool {
        self.inner.entries.issuer() == certificate.issuer()
    }

    pub(crate) fn revokes(&self, certificate: &EndEntityCert<'_>) -> Result<bool, webpki::Error> {
        Ok(self.inner.entries.find_serial(certificate.serial())?.is_some())
    }
}

/// A signed list, taken apart.
struct Signed<'a> {
    to_be_signed: &'a [u8],
    algorithm: Any,
    signature: BitString,
}

impl<'a> Signed<'a> {
    fn split(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let signed = reader.sequence(|list| {
            let to_be_signed = list.tlv_bytes()?;
            Ok::<_, der::Error>(Self { to_be_signed, algorithm: list.decode()?, signature: list.decode()? })
        })?;
        reader.finish()?;
        Ok(signed)
    }

    /// Whether one of `authorities` signed it. `false` if none has the issuer's name.
    fn is_by_one_of(&self, issuer: &[u8], authorities: Authorities<'_>) -> Result<bool, LearnRevocationsError> {
        let mut is_known = false;
        for certificate in authorities.certificates {
            let Ok(authority) = EndEntityCert::try_from(certificate) else { continue };
            if authority.subject() != issuer || !may_sign_lists(certificate) {
                continue;
            }
            is_known = true;
            let fits = authorities.algorithms.all.iter();
            let mut fits = fits.filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm.value());
            let signature = self.signature.raw_bytes();
            if fits.any(|algorithm| authority.verify_signature(*algorithm, self.to_be_signed, signature).is_ok()) {
                return Ok(true);
            }
        }
        if is_known { Err(LearnRevocationsError::BadSignature) } else { Ok(false) }
    }
}

/// A CA may sign lists unless it says what its key is for and leaves them out (RFC 5280 §4.2.1.3).
fn may_sign_lists(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else { return false };
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(usage) => usage.is_none_or(|(_, usage)| usage.crl_sign()),
        Err(_malformed) => false,
    }
}

/// Reads the number, and what identifies the key that signed.
fn extensions(list: &TbsCertList) -> Result<(CrlNumber, Vec<u8>), LearnRevocationsError> {
    let (mut number, mut key_id) = (CrlNumber::default(), Vec::new());
    for extension in list.crl_extensions.iter().flatten() {
        if extension.extn_id == CrlNumberExtension::OID {
            let CrlNumberExtension(value) =
                CrlNumberExtension::from_der(extension.extn_value.as_bytes()).map_err(malformed)?;
            number = CrlNumber::from_be_bytes(value.as_bytes()).ok_or(LearnRevocationsError::LongNumber)?;
        } else if extension.extn_id == AuthorityKeyIdentifier::OID {
            key_id = extension.extn_value.as_bytes().to_vec();
        }
    }
    Ok((number, key_id))
}

/// Hashes parts so that no two lists of parts look the same.
fn scope(parts: &[&[u8]]) -> u64 {
    let mut text = Vec::new();
    for part in parts {
        text.extend(part.len().to_be_bytes());
        text.extend(*part);
    }
    XxHash64::oneshot(0, &text)
}

fn malformed(source: der::Error) -> LearnRevocationsError {
    LearnRevocationsError::Malformed { source }
}
