//! The files of a development mesh: certificates, configurations, logs, in one directory that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Validity};
use identity::{CertificateFiles, Credentials, SpiffeId};
use tempfile::TempDir;

use super::error::DevError;

pub(super) const TRUST_DOMAIN: &str = "dev.omnirelay.local";

/// How long a development mesh may run before its certificates expire.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How a child's control endpoint is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlSecurity {
    /// Plain HTTP on loopback, for curl without certificates.
    Plaintext,
    /// Mutual TLS, as outside of `dev`.
    MutualTls,
}

/// Whether the nodes take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RpcUse {
    /// They do not.
    None,
    /// For the service that there is in development.
    Demo,
}

/// The directory of a development mesh.
#[derive(Debug)]
pub(crate) struct Workspace {
    dir: TempDir,
    operator: CertificateFiles,
    security: ControlSecurity,
    rpc: RpcUse,
}

impl Workspace {
    /// Makes the directory, with certificates for the nodes `names` and for an operator.
    pub(crate) fn create(
        names: &[String],
        (security, rpc): (ControlSecurity, RpcUse),
        now: SystemTime,
    ) -> Result<Self, DevError> {
        let dir = TempDir::with_prefix("omnirelay-dev-").map_err(DevError::Directory)?;
        let operator = issue(names, dir.path(), now)?;
        Ok(Self { dir, operator, security, rpc })
    }

    /// Writes the configuration of the node `name` and returns where it is.
    pub(crate) fn write_config(&self, name: &str, seed: Option<SocketAddr>) -> Result<PathBuf, DevError> {
        let path = self.dir.path().join(format!("{name}.toml"));
        let seeds = seed.map(|address| format!("\"{address}\"")).unwrap_or_default();
        let plaintext = self.security == ControlSecurity::Plaintext;
        let rpc = match self.rpc {
            RpcUse::None => "",
            RpcUse::Demo => "\n[rpc]\naddress = \"127.0.0.1:0\"\n",
        };
        let text = format!(
            r#"[mesh.gossip]
bindAddress = "127.0.0.1"
port = 0
seedPeers = [{seeds}]

[mesh.gossip.tls]
certificate = "{name}.pem"
key = "{name}.key"
trustBundle = "ca.pem"

[control]
address = "127.0.0.1:0"
plaintext = {plaintext}
{rpc}
[log]
filter = "info,gossip=debug"
"#
        );
        fs::write(&path, text).map_err(|source| DevError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    /// Returns where the node `name` logs to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the URL of a control endpoint.
    pub(crate) fn url(&self, control: SocketAddr) -> String {
        match self.security {
            ControlSecurity::Plaintext => format!("http://{control}"),
            ControlSecurity::MutualTls => format!("https://{control}"),
        }
    }

    /// Returns what `omnirelay` needs to ask a control endpoint.
    pub(crate) fn cli_flags(&self) -> String {
        match self.security {
            ControlSecurity::Plaintext => String::new(),
            ControlSecurity::MutualTls => self.certificate_flags(),
        }
    }

    /// Returns what `omnirelay` needs to show who it is.
    pub(crate) fn certificate_flags(&self) -> String {
        let CertificateFiles { certificate, key, trust_bundle } = &self.operator;
        format!(" --cert {} --key {} --ca {}", certificate.display(), key.display(), trust_bundle.display())
    }

    /// Returns what `curl` needs to ask a control endpoint. It cannot check a SPIFFE ID, so it checks nothing.
    pub(crate) fn curl_flags(&self) -> String {
        let CertificateFiles { certificate, key, .. } = &self.operator;
        match self.security {
            ControlSecurity::Plaintext => String::new(),
            ControlSecurity::MutualTls => {
                format!(" --insecure --cert {} --key {}", certificate.display(), key.display())
            }
        }
    }

    /// Returns the operator's credentials, if the control endpoints ask for them.
    pub(crate) fn credentials(&self, now: SystemTime) -> Result<Option<Credentials>, DevError> {
        match self.security {
            ControlSecurity::Plaintext => Ok(None),
            ControlSecurity::MutualTls => self.operator(now).map(Some),
        }
    }

    /// Returns the operator's credentials.
    pub(crate) fn operator(&self, now: SystemTime) -> Result<Credentials, DevError> {
        Ok(Credentials::load(&self.operator, now)?)
    }

    /// Removes the directory and all that is in it.
    pub(crate) fn remove(self) -> Result<(), DevError> {
        let path = self.dir.path().to_owned();
        self.dir.close().map_err(|source| DevError::Remove { path, source })
    }
}

/// Writes certificates of a new CA for the nodes `names` and for an operator into `dir`, and returns the operator's.
pub(crate) fn issue(names: &[String], dir: &Path, now: SystemTime) -> Result<CertificateFiles, DevError> {
    let validity = Validity::starting(now, LIFETIME);
    let ca = DevCa::generate(TRUST_DOMAIN, validity)?;
    for name in names {
        ca.issue_files(&worker(name)?, validity, dir)?;
    }
    issue_operator(&ca, validity, dir)
}

/// Writes a certificate for an operator into `dir`.
pub(super) fn issue_operator(ca: &DevCa, validity: Validity, dir: &Path) -> Result<CertificateFiles, DevError> {
    Ok(ca.issue_files(&spiffe_id("operator", "operator")?, validity, dir)?)
}

/// Returns the identity of the node `name`.
pub(super) fn worker(name: &str) -> Result<SpiffeId, DevError> {
    spiffe_id("worker", name)
}

fn spiffe_id(role: &str, name: &str) -> Result<SpiffeId, DevError> {
    Ok(format!("spiffe://{TRUST_DOMAIN}/cluster/dev/role/{role}/node/{name}").parse()?)
}
