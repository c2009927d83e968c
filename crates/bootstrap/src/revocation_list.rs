//! Lists of revoked certificates, signed by the CA.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::dev_ca::{DevCa, Issued, since_epoch};
use crate::error::CaError;
use crate::validity::Validity;

/// A signed list of revoked certificates (RFC 5280 §5), fresh from the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRevocations {
    der: Vec<u8>,
    pem: String,
}

impl SignedRevocations {
    /// Returns the list in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the list in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl DevCa {
    /// Signs a list that revokes `revoked`, as of the beginning of `validity`; at its end the next list is due. The CA keeps
    /// no record: each list names all that are revoked, and `number` must be higher than the last one's.
    ///
    /// # Errors
    /// The validity is none, or the CA cannot sign.
    pub fn revocation_list<'a>(
        &self,
        number: u64,
        revoked: impl IntoIterator<Item = &'a Issued>,
        validity: Validity,
    ) -> Result<SignedRevocations, CaError> {
        let (first, last) = since_epoch(validity)?;
        let epoch = date_time_ymd(1970, 1, 1);
        let (this_update, next_update) = (epoch + first, epoch + last);
        let entry = |issued: &Issued| RevokedCertParams {
            serial_number: SerialNumber::from_slice(issued.serial()),
            revocation_time: this_update,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let failed = |source| CaError::Sign { action: "sign a revocation list", subject: format!("{self:?}"), source };
        let list = params.signed_by(self.issuer()).map_err(failed)?;
        Ok(SignedRevocations { der: list.der().to_vec(), pem: list.pem().map_err(failed)? })
    }
}
