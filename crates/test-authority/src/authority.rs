//! Certificates for a test, good ones and bad ones.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Issued, SignedRevocations, Validity};
use identity::Credentials;

use crate::error::AuthorityError;

/// Trust domain of [`Authority::new`].
const TRUST_DOMAIN: &str = "mesh.test";

const HOUR: Duration = Duration::from_secs(3600);

/// A CA made for the test. Its own certificate has been valid for two days and is for another.
#[derive(Debug)]
pub struct Authority {
    ca: DevCa,
    trust_domain: String,
}

/// Whom a certificate is for, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Cluster it names; default `test`.
    pub cluster: String,
    /// Role it names; default `worker`.
    pub role: String,
    /// Node it names.
    pub node: String,
    /// How long ago it was issued; default now. At most a day.
    pub age: Duration,
    /// For how long it is issued; default an hour.
    pub lifetime: Duration,
    /// Other CAs its holder trusts, as PEM; default none.
    pub also_trusts: Vec<String>,
}

impl Holder {
    /// Makes a holder with nothing wrong.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            cluster: "test".to_owned(),
            role: "worker".to_owned(),
            node: node.to_owned(),
            age: Duration::ZERO,
            lifetime: HOUR,
            also_trusts: Vec::new(),
        }
    }
}

impl Authority {
    /// Makes a CA for the trust domain `mesh.test`. No two trust each other.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new() -> Result<Self, AuthorityError> {
        Self::of(TRUST_DOMAIN)
    }

    /// Makes a CA for another trust domain.
    ///
    /// # Errors
    /// The trust domain is none, or there is no randomness to be had.
    pub fn of(trust_domain: &str) -> Result<Self, AuthorityError> {
        let validity = Validity::starting(wall_clock() - 48 * HOUR, 96 * HOUR);
        let ca = DevCa::generate(trust_domain, validity)?;
        Ok(Self { ca, trust_domain: trust_domain.to_owned() })
    }

    /// Returns the CA's certificate in PEM: what [`Holder::also_trusts`] takes.
    #[must_use]
    pub fn trust_bundle_pem(&self) -> String {
        self.ca.trust_bundle_pem()
    }

    /// Issues what a good node of the test has.
    ///
    /// # Errors
    /// `node` is no name, or there is no randomness to be had.
    pub fn credentials(&self, node: &str) -> Result<Arc<Credentials>, AuthorityError> {
        self.credentials_with(&Holder::new(node))
    }

    /// Issues a certificate as `holder` says. Each has a key of its own.
    ///
    /// # Errors
    /// `holder` has a name that is none, or there is no randomness to be had.
    pub fn credentials_with(&self, holder: &Holder) -> Result<Arc<Credentials>, AuthorityError> {
        self.credentials_of(&self.issue(holder)?, holder)
    }

    /// Issues a certificate as `holder` says, to be revoked or written to a file.
    ///
    /// # Errors
    /// `holder` has a name that is none, or there is no randomness to be had.
    pub fn issue(&self, holder: &Holder) -> Result<Issued, AuthorityError> {
        let Holder { cluster, role, node, age, lifetime, .. } = holder;
        let id = format!("spiffe://{}/cluster/{cluster}/role/{role}/node/{node}", self.trust_domain).parse()?;
        Ok(self.ca.issue(&id, Validity::starting(wall_clock() - *age, *lifetime))?)
    }

    /// Makes credentials of a certificate that was issued for `holder`.
    ///
    /// # Errors
    /// The certificate is none that a node starts with.
    pub fn credentials_of(&self, issued: &Issued, holder: &Holder) -> Result<Arc<Credentials>, AuthorityError> {
        let mut bundle = self.trust_bundle_pem();
        bundle.extend(holder.also_trusts.iter().map(String::as_str));
        let (certificate, key) = (issued.certificate_pem(), issued.key_pem());
        // Read as of its beginning: an expired certificate is a fault that its holder has not noticed.
        let issued_at = wall_clock() - holder.age;
        Ok(Arc::new(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), bundle.as_bytes(), issued_at)?))
    }

    /// Signs list `number` of revoked certificates, good for an hour.
    ///
    /// # Errors
    /// The CA cannot sign.
    pub fn revoke<'a>(
        &self,
        number: u64,
        revoked: impl IntoIterator<Item = &'a Issued>,
    ) -> Result<SignedRevocations, AuthorityError> {
        Ok(self.ca.revocation_list(number, revoked, Validity::starting(wall_clock(), HOUR))?)
    }
}

/// Returns what the clock on the wall says: certificates have their dates by it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the edge of the test: rustls asks the system for the time, too")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
