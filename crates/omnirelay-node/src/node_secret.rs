//! The node's secret: 32 bytes in its state directory that outlive the process.
//!
//! Every listener of the node over QUIC takes it, so that clients notice a restart at once.

use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mesh_server::NodeSecret;
use ring::rand::{SecureRandom as _, SystemRandom};
use tempfile::NamedTempFile;

/// Name of its file.
const FILE: &str = "node-secret";

const BYTES: usize = 32;

/// Why a node has no secret although it has a state directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeSecretError {
    #[error("cannot make directory `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` does not hold {BYTES} bytes; without it a new one is made", path.display())]
    Length { path: PathBuf },
    #[error("the system has no randomness to give")]
    Randomness,
}

/// Reads the secret in `directory`, and makes it the first time. Both are for the user of this process alone.
///
/// # Errors
/// The directory or the file cannot be used.
pub(crate) fn load(directory: &Path) -> Result<NodeSecret, NodeSecretError> {
    let path = directory.join(FILE);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    make(directory, &path)?;
    // Whoever was first has made the one that counts.
    read(&path)?.ok_or_else(|| NodeSecretError::Read { path, source: io::ErrorKind::NotFound.into() })
}

fn read(path: &Path) -> Result<Option<NodeSecret>, NodeSecretError> {
    let mut bytes = Vec::with_capacity(BYTES + 1);
    let all = fs::File::open(path).and_then(|file| file.take(BYTES as u64 + 1).read_to_end(&mut bytes));
    match all {
        Ok(_length) => {
            let secret = bytes.as_slice().try_into().map(NodeSecret::new);
            secret.map(Some).map_err(|_wrong_length| NodeSecretError::Length { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NodeSecretError::Read { path: path.to_owned(), source }),
    }
}

/// Writes a new secret as a whole, unless there is one by now.
fn make(directory: &Path, path: &Path) -> Result<(), NodeSecretError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| NodeSecretError::Directory { path: directory.to_owned(), source })?;
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| NodeSecretError::Randomness)?;
    let failed = |source| NodeSecretError::Write { path: path.to_owned(), source };
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_file) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_nobody_else_to_read() -> Result<(), Box<dyn Error>> {
        let dir = TempDir::new()?;
        let state = dir.path().join("var").join("omnirelay");
        load(&state)?;
        let first = fs::read(state.join(FILE))?;
        load(&state)?;
        assert_eq!((fs::read(state.join(FILE))?, first.len()), (first.clone(), BYTES));
        let mode = |path: &Path| Ok::<_, io::Error>(fs::metadata(path)?.permissions().mode() & 0o777);
        assert_eq!((mode(&state)?, mode(&state.join(FILE))?), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state)?.count(), 1, "something else was left");

        let other = dir.path().join("other");
        load(&other)?;
        assert_ne!(fs::read(other.join(FILE))?, first);
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_secret_is_named_and_kept() -> Result<(), Box<dyn Error>> {
        let dir = TempDir::new()?;
        let path = dir.path().join(FILE);
        for wrong in [&b"short"[..], &[7; BYTES + 1]] {
            fs::write(&path, wrong)?;
            let told = load(dir.path()).map(drop).map_err(|error| error.to_string());
            assert_eq!(told, Err(format!("`{}` does not hold 32 bytes; without it a new one is made", path.display())));
            assert_eq!(fs::read(&path)?, wrong);
        }
        Ok(())
    }
}
