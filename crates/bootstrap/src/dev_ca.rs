//! A CA for development and tests.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::{CertificateFiles, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};

use webpki::EndEntityCert;

use crate::error::CaError;
use crate::files;
use crate::validity::Validity;

/// A certificate authority that lives in memory, for development and tests.
///
/// Its key is made at start and never written. Two CAs never have the same name, so that a certificate
/// of one is plainly unknown to those who trust the other.
pub struct DevCa {
    trust_domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

/// A certificate and its private key, fresh from the CA.
pub struct Issued {
    certificate_pem: String,
    key_pem: String,
    serial: Vec<u8>,
}

impl DevCa {
    /// Makes a CA for `trust_domain` with an ECDSA P-256 key of its own.
    ///
    /// # Errors
    /// The trust domain or the validity is none, or there is no randomness to be had.
    pub fn generate(trust_domain: &str, validity: Validity) -> Result<Self, CaError> {
        let trust_domain: TrustDomain = trust_domain.parse().map_err(|source| CaError::TrustDomain { source })?;
        let failed = |action| {
            let subject = format!("the CA of `{trust_domain}`");
            move |source| CaError::Sign { action, subject, source }
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("make a key"))?;
        let mut params = params(validity)?;
        params.distinguished_name = ca_name(&params, &key);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(failed("sign the certificate"))?.pem();
        Ok(Self { trust_domain, issuer: Issuer::new(params, key), certificate_pem })
    }

    /// Returns the CA's certificate in PEM: what those who trust it need.
    #[must_use]
    pub fn trust_bundle_pem(&self) -> String {
        self.certificate_pem.clone()
    }

    /// Makes a key and a certificate for the node `id`, good for both sides of a connection.
    ///
    /// # Errors
    /// The node is of another trust domain, the validity is none, or there is no randomness to be had.
    pub fn issue(&self, id: &SpiffeId, validity: Validity) -> Result<Issued, CaError> {
        if *id.trust_domain() != self.trust_domain {
            return Err(CaError::OtherTrustDomain { id: id.clone(), ours: self.trust_domain.clone() });
        }
        let failed = |action| move |source| CaError::Sign { action, subject: id.to_string(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("make a key"))?;
        let mut params = params(validity)?;
        params.distinguished_name.push(DnType::CommonName, id.node().as_str());
        let uri = id.to_string().try_into().map_err(failed("write the name"))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed("sign the certificate"))?;
        let decoded = EndEntityCert::try_from(certificate.der());
        let serial = decoded.map_err(|source| CaError::Unreadable { id: id.clone(), source })?.serial().to_vec();
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem(), serial })
    }

    pub(crate) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Issues for `id` and writes `<node>.pem`, `<node>.key` (readable by the owner only) and the CA's
    /// `ca.pem` into `dir`. Blocks on the file system.
    ///
    /// # Errors
    /// As [`DevCa::issue`]; or the node has files in `dir` already, `ca.pem` there is of another CA, or
    /// a file cannot be written. Files written before the fault stay.
    pub fn issue_files(&self, id: &SpiffeId, validity: Validity, dir: &Path) -> Result<CertificateFiles, CaError> {
        self.write_files(&self.issue(id, validity)?, id, dir)
    }

    /// Writes what was issued for `id` as [`DevCa::issue_files`] does.
    ///
    /// # Errors
    /// As [`DevCa::issue_files`], without those of [`DevCa::issue`].
    pub fn write_files(&self, issued: &Issued, id: &SpiffeId, dir: &Path) -> Result<CertificateFiles, CaError> {
        files::write(issued, &self.certificate_pem, id, dir)
    }
}

impl Issued {
    /// Returns the certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Returns the certificate's serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Returns the private key in PEM (PKCS#8, not encrypted).
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl fmt::Debug for DevCa {
    /// Says whose CA it is, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevCa").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    /// Shows the certificate, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Parameters with dates and an empty name. The serial number is left to rcgen, which takes 159 bits of the
/// key's SHA-256: the key is fresh, so the number is as random as the key.
fn params(validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    let (first, last) = since_epoch(validity)?;
    let epoch = date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = (epoch + first, epoch + last);
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

/// Returns beginning and end in whole seconds since 1970.
pub(crate) fn since_epoch(validity: Validity) -> Result<(Duration, Duration), CaError> {
    let Validity { not_before, not_after } = validity;
    let (Some(first), Some(last)) = (x509_second(not_before), x509_second(not_after)) else {
        return Err(CaError::Validity { not_before, not_after });
    };
    if first > last {
        return Err(CaError::Validity { not_before, not_after });
    }
    Ok((Duration::from_secs(first), Duration::from_secs(last)))
}

fn x509_second(time: SystemTime) -> Option<u64> {
    let since_epoch = time.duration_since(UNIX_EPOCH).map_or(None, |since| Some(since.as_secs()));
    since_epoch.filter(|second| *second <= Validity::LAST_SECOND)
}

/// A name that no other CA has: it ends in the key's identifier.
fn ca_name(params: &CertificateParams, key: &KeyPair) -> DistinguishedName {
    let key_id: String = params.key_identifier(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("OmniRelay development CA {key_id}"));
    name
}
