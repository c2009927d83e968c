//! Our certificate, from the flags.

use std::time::SystemTime;

use identity::{CertificateFiles, Credentials};

use crate::args::Global;
use crate::error::CliError;

/// Loads what the three flags name.
pub(crate) fn load(global: &Global) -> Result<Credentials, CliError> {
    let flags = [("--cert", &global.cert), ("--key", &global.key), ("--ca", &global.ca)];
    let missing: Vec<_> = flags.iter().filter(|(_, file)| file.is_none()).map(|(flag, _)| *flag).collect();
    let (Some(certificate), Some(key), Some(trust_bundle)) = (&global.cert, &global.key, &global.ca) else {
        return Err(CliError::NoCredentials { missing: missing.join(", ") });
    };
    let files =
        CertificateFiles { certificate: certificate.clone(), key: key.clone(), trust_bundle: trust_bundle.clone() };
    #[expect(clippy::disallowed_methods, reason = "the edge: whether a certificate is valid is asked now")]
    let now = SystemTime::now();
    Credentials::load(&files, now).map_err(|source| CliError::BadCredentials { source })
}
