//! The certificates of a run, as credentials and as files.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use identity::Credentials;
use test_authority::{Authority, Holder, Issued};

/// Name of the file with the trust bundle.
pub(crate) const BUNDLE: &str = "ca.pem";

/// Two CAs that a mesh trusts, and a folder with what they have issued. The second is the one that the first is replaced by.
pub(crate) struct Certificates {
    authorities: [Authority; 2],
    folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let authorities = [Authority::new()?, Authority::new()?];
        let folder = tempfile::tempdir().context("cannot make a folder for certificates")?;
        let certificates = Self { authorities, folder };
        let bundle: String = certificates.authorities.iter().map(Authority::trust_bundle_pem).collect();
        certificates.write(BUNDLE, &bundle)?;
        Ok(certificates)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Issues a certificate for `node` by the first CA, and writes it and its key.
    pub(crate) fn issue(&self, node: &str) -> anyhow::Result<Arc<Credentials>> {
        self.issue_by(0, node)
    }

    /// Issues a certificate for `node` in this role, and writes it and its key.
    pub(crate) fn issue_as(&self, node: &str, role: &str) -> anyhow::Result<()> {
        let [authority, _] = &self.authorities;
        let issued = authority.issue(&Holder { role: role.to_owned(), ..Holder::new(node) })?;
        self.write_issued(node, &issued)
    }

    /// Issues a certificate for `node` by one CA or, for an odd number, by the other; and writes it and its key in place of those that
    /// were there.
    pub(crate) fn issue_by(&self, number: usize, node: &str) -> anyhow::Result<Arc<Credentials>> {
        let [first, second] = &self.authorities;
        let (authority, other) = if number.is_multiple_of(2) { (first, second) } else { (second, first) };
        let holder = Holder { also_trusts: vec![other.trust_bundle_pem()], ..Holder::new(node) };
        let issued = authority.issue(&holder)?;
        self.write_issued(node, &issued)?;
        authority.credentials_of(&issued, &holder).context("cannot use what was issued")
    }

    fn write_issued(&self, node: &str, issued: &Issued) -> anyhow::Result<()> {
        self.write(&format!("{node}.key"), issued.key_pem())?;
        self.write(&format!("{node}.pem"), issued.certificate_pem())
    }

    /// Puts a file in its place at once, whole.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (path, whole) = (self.folder().join(name), self.folder().join(format!("{name}.new")));
        std::fs::write(&whole, text).with_context(|| format!("cannot write `{name}`"))?;
        std::fs::rename(whole, path).with_context(|| format!("cannot replace `{name}`"))
    }
}
