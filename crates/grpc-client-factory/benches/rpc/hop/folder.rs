//! The files of nodes and proxies.

use std::path::{Path, PathBuf};

use test_authority::{Authority, Holder};

use crate::BoxError;

/// Name of the file with the trust bundle.
pub(crate) const BUNDLE: &str = "ca.pem";

/// A folder with certificates and configurations, which goes when it is dropped.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and returns where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, BoxError> {
        let path = self.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Writes the certificate of a node of `role` as `NAME.pem`, its key as `NAME.key`, both as `NAME.both`, and the trust bundle.
    pub(crate) fn issue(&self, authority: &Authority, node: &str, role: &str) -> Result<(), BoxError> {
        let issued = authority.issue(&Holder { role: role.to_owned(), ..Holder::new(node) })?;
        let (certificate, key) = (issued.certificate_pem(), issued.key_pem());
        self.write(&format!("{node}.pem"), certificate)?;
        self.write(&format!("{node}.key"), key)?;
        self.write(&format!("{node}.both"), &format!("{certificate}{key}"))?;
        self.write(BUNDLE, &authority.trust_bundle_pem())?;
        Ok(())
    }
}
