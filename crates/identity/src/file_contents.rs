//! What the files of credentials hold, and what says that they have changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::credentials::{CertificateFiles, Credentials, path_of, read_bounded};
use crate::error::{CredentialsInput, LoadCredentialsError};

/// What says that one of some files may have changed; a file that is not there has no stamp.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Option<Stamp>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Follows symbolic links: one that is swung elsewhere leads to another inode.
    pub(crate) fn of(paths: &[PathBuf]) -> Self {
        // That a file is missing is told by who reads it.
        Self(paths.iter().map(|path| fs::metadata(path).map_or(None, |found| Some(Stamp::of(&found)))).collect())
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What the files hold: certificate, key, trust bundle, and revocation lists if there is a file of them.
pub(crate) struct Contents(Vec<Content>);

/// What a file holds, or why it cannot be read.
pub(crate) type Content = Result<Vec<u8>, (io::ErrorKind, String)>;

/// How many files make an identity.
const IDENTITY: usize = 3;

impl Contents {
    pub(crate) fn read(paths: &[PathBuf]) -> Self {
        // An I/O error can be neither cloned nor hashed, and is looked at more than once.
        let told = |error: io::Error| (error.kind(), error.to_string());
        Self(paths.iter().map(|path| read_bounded(path).map_err(told)).collect())
    }

    /// What is taken together with the certificate, to tell whether it has changed.
    pub(crate) fn identity(&self) -> &[Content] {
        self.0.get(..IDENTITY).unwrap_or(&self.0)
    }

    /// The rest.
    pub(crate) fn lists(&self) -> &[Content] {
        self.0.get(IDENTITY..).unwrap_or_default()
    }

    pub(crate) fn credentials(
        &self,
        files: &CertificateFiles,
        now: SystemTime,
    ) -> Result<Credentials, LoadCredentialsError> {
        let bytes = |index, input| self.bytes(index, input, path_of(files, input));
        let certificate = bytes(0, CredentialsInput::Certificate)?;
        let key = bytes(1, CredentialsInput::Key)?;
        let trust_bundle = bytes(2, CredentialsInput::TrustBundle)?;
        Credentials::from_pem(certificate, key, trust_bundle, now).map_err(|source| {
            let input = source.input();
            LoadCredentialsError::Unusable { input, path: path_of(files, input).to_owned(), source }
        })
    }

    pub(crate) fn revocation_lists(&self, path: &Path) -> Result<&[u8], LoadCredentialsError> {
        self.bytes(IDENTITY, CredentialsInput::RevocationLists, path)
    }

    fn bytes(&self, index: usize, input: CredentialsInput, path: &Path) -> Result<&[u8], LoadCredentialsError> {
        let unread = || (io::ErrorKind::NotFound, "it was not read".to_owned());
        let content = self.0.get(index).map_or_else(|| Err(unread()), |read| read.as_deref().map_err(Clone::clone));
        content.map_err(|(kind, text)| {
            let source = io::Error::new(kind, text);
            LoadCredentialsError::Read { input, path: path.to_owned(), source }
        })
    }
}
