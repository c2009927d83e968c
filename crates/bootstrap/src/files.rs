//! What the CA issued, as files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use identity::{CertificateFiles, SpiffeId};

use crate::dev_ca::Issued;
use crate::error::CaError;

/// Writes a node's three files into `dir`, the key first, and overwrites none.
pub(crate) fn write(
    issued: &Issued,
    trust_bundle_pem: &str,
    id: &SpiffeId,
    dir: &Path,
) -> Result<CertificateFiles, CaError> {
    let node = id.node();
    let files = CertificateFiles {
        certificate: dir.join(format!("{node}.pem")),
        key: dir.join(format!("{node}.key")),
        trust_bundle: dir.join("ca.pem"),
    };
    create(&files.key, issued.key_pem(), 0o600).map_err(failed(&files.key))?;
    create(&files.certificate, issued.certificate_pem(), 0o644).map_err(failed(&files.certificate))?;
    write_trust_bundle(&files.trust_bundle, trust_bundle_pem)?;
    Ok(files)
}

/// All nodes of a directory share one trust bundle, so it may be there already.
fn write_trust_bundle(path: &Path, pem: &str) -> Result<(), CaError> {
    match create(path, pem, 0o644) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        written => return written.map_err(failed(path)),
    }
    let present = fs::read(path).map_err(failed(path))?;
    if present == pem.as_bytes() { Ok(()) } else { Err(CaError::OtherCa { path: path.to_owned() }) }
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path: PathBuf = path.to_owned();
    move |source| CaError::Write { path, source }
}
