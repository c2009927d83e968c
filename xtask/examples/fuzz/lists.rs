//! Revocation lists, as they come from a file or from another node: PEM or DER in, never a panic.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bootstrap::{DevCa, Validity};
use identity::{Credentials, RevocationFileError, Revocations, StaleLists};

/// Lists of a CA that the target does not know: empty, with three entries, for one distribution point, and as PEM.
const LISTS: [&[u8]; 4] = [
    include_bytes!("lists/empty.der"),
    include_bytes!("lists/three.der"),
    include_bytes!("lists/point.der"),
    include_bytes!("lists/three.pem"),
];

/// A node that is handed lists.
#[derive(Debug)]
pub(crate) struct Lists {
    credentials: Credentials,
    signed: Vec<u8>,
}

impl Lists {
    /// Makes a node, and a CA that signs a list which the node can check.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let a_day = Validity::starting(now, Duration::from_secs(24 * 3600));
        let ca = DevCa::generate("mesh.example", a_day)?;
        let issued = ca.issue(&"spiffe://mesh.example/cluster/a/role/worker/node/n".parse()?, a_day)?;
        let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
        let credentials = Credentials::from_pem(certificate, key, ca.trust_bundle_pem().as_bytes(), now);
        let signed = ca.revocation_list(1, [&issued], a_day)?.der().to_vec();
        Ok(Self { credentials: credentials.context("the target's certificate")?, signed })
    }

    /// Returns what to start from, all of which is accepted.
    pub(crate) fn corpus(&self) -> Vec<Vec<u8>> {
        LISTS.iter().map(|list| list.to_vec()).chain([self.signed.clone()]).collect()
    }

    /// Takes `data` as a file, and as a list that another node sent, and says what became of the file.
    pub(crate) fn take(&self, data: &[u8]) -> &'static str {
        let sent = Revocations::new(StaleLists::Keep).learn(data, &self.credentials);
        match Revocations::new(StaleLists::Keep).learn_file(data, &self.credentials) {
            Ok(_) if sent.is_ok() => "accepted, authentic",
            Ok(_) => "accepted",
            Err(RevocationFileError::List { source, .. }) => source.reason(),
            Err(RevocationFileError::Empty) => "empty",
            Err(RevocationFileError::Pem { .. }) => "pem",
            Err(_) => "oversize",
        }
    }
}
