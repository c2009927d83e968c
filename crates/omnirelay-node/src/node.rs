//! Who the node is, and what its configuration makes of it.

use std::time::{Instant, SystemTime};

use identity::{CredentialSource as _, CredentialsInput, FileCredentials, LoadCredentialsError, SpiffeId};
use mesh_types::{ClusterId, Endpoint, NodeId, Role};

use crate::config::{Config, ConfigError, GossipConfig, Problem};
use crate::standalone::Standalone;

/// Why the node's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A setting or a file behind it is wrong.
    #[error("`{setting}` cannot be used")]
    Credentials {
        /// The setting that names the file.
        setting: &'static str,
        /// What is wrong with the file.
        source: Box<LoadCredentialsError>,
    },
    /// The certificate is another node's.
    #[error(transparent)]
    Mismatch(ConfigError),
}

/// Loads the certificate that `config` names, as of `now`, and checks that it is this node's.
///
/// # Errors
/// The certificate cannot be used, or is not of the node, cluster and role that are configured.
pub(crate) fn load_credentials(config: &Config, now: SystemTime) -> Result<FileCredentials, IdentityError> {
    let credentials = FileCredentials::load(config.tls.files(), now).map_err(|source| {
        let setting = match source.input() {
            CredentialsInput::Key => "mesh.gossip.tls.key",
            CredentialsInput::TrustBundle => "mesh.gossip.tls.trustBundle",
            CredentialsInput::RevocationLists => "mesh.gossip.tls.certificateRevocationList",
            _ => "mesh.gossip.tls.certificate",
        };
        IdentityError::Credentials { setting, source: source.into() }
    })?;
    confirm(&config.gossip, credentials.source().current().spiffe_id())?;
    Ok(credentials)
}

/// Checks that what is configured is what the certificate says; what is not configured is taken from it.
fn confirm(gossip: &GossipConfig, id: &SpiffeId) -> Result<(), IdentityError> {
    let named = [
        ("mesh.gossip.nodeId", gossip.node_id.as_ref().map(NodeId::as_str), id.node().as_str()),
        ("mesh.gossip.clusterId", gossip.cluster_id.as_ref().map(ClusterId::as_str), id.cluster().as_str()),
        ("mesh.gossip.role", gossip.role.as_ref().map(Role::as_str), id.role().as_str()),
    ];
    let mismatch = |(key, configured, certified): &(&'static str, Option<&str>, &str)| match configured {
        Some(configured) if configured != certified => {
            let (configured, certified) = ((*configured).to_owned(), (*certified).to_owned());
            Some(Problem::NotTheCertificates { key, configured, certified })
        }
        _ => None,
    };
    let problems: Vec<_> = named.iter().filter_map(mismatch).collect();
    if problems.is_empty() { Ok(()) } else { Err(IdentityError::Mismatch(ConfigError { problems })) }
}

/// Returns the members of a node whose gossip is switched off.
pub(crate) fn standalone(config: &GossipConfig, id: &SpiffeId, reached_at: Endpoint, now: Instant) -> Standalone {
    Standalone::new(id.node().clone(), config.metadata(id, reached_at), now)
}
