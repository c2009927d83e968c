//! What a node says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{ClusterId, Endpoint, Features, NodeLifecycle, Region, Role, ServiceName};

/// What a node says of itself to the mesh, without its version and state.
///
/// Within the bounds that [`NodeMetadata::validate`] checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMetadata {
    /// What the node is for.
    pub role: Role,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Where it runs.
    pub region: Region,
    /// Version of OmniRelay it runs, such as `0.1.0`.
    pub mesh_version: Arc<str>,
    /// Whether it serves HTTP/3.
    pub http3_support: bool,
    /// Where its gossip listens, as others can reach it.
    pub endpoint: Endpoint,
    /// Free-form labels of the operator.
    pub labels: BTreeMap<String, String>,
    /// What it can do beyond the least.
    pub features: Features,
    /// What work it takes.
    pub lifecycle: NodeLifecycle,
    /// Services that it takes calls for, at [`NodeMetadata::rpc_endpoint`].
    pub services: BTreeSet<ServiceName>,
    /// Where it takes calls, as others can reach it; `None` if it takes none.
    pub rpc_endpoint: Option<Endpoint>,
}

/// Which bound a node's metadata breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The version is empty or longer than 32 bytes.
    #[error("mesh version is {bytes} bytes long; 1 to {} are valid", NodeMetadata::MAX_VERSION_BYTES)]
    MeshVersion {
        /// Its length.
        bytes: usize,
    },
    /// There are more than 32 labels.
    #[error("{count} labels, more than {}", NodeMetadata::MAX_LABELS)]
    Labels {
        /// How many there are.
        count: usize,
    },
    /// A label's key is empty or longer than 63 bytes.
    #[error("label key `{key}` is {} bytes long; 1 to {} are valid", key.len(), NodeMetadata::MAX_LABEL_KEY_BYTES)]
    LabelKey {
        /// The key as given.
        key: String,
    },
    /// A label's value is longer than 128 bytes.
    #[error("value of label `{key}` is {bytes} bytes long, more than {}", NodeMetadata::MAX_LABEL_VALUE_BYTES)]
    LabelValue {
        /// The label's key.
        key: String,
        /// The value's length.
        bytes: usize,
    },
    /// There are more than 64 services.
    #[error("{count} services, more than {}", NodeMetadata::MAX_SERVICES)]
    Services {
        /// How many there are.
        count: usize,
    },
}

impl NodeMetadata {
    /// Longest mesh version, in bytes.
    pub const MAX_VERSION_BYTES: usize = 32;
    /// Most labels a node may carry.
    pub const MAX_LABELS: usize = 32;
    /// Longest label key, in bytes.
    pub const MAX_LABEL_KEY_BYTES: usize = 63;
    /// Longest label value, in bytes.
    pub const MAX_LABEL_VALUE_BYTES: usize = 128;
    /// Most services a node may announce.
    pub const MAX_SERVICES: usize = 64;

    /// Checks every bound.
    ///
    /// # Errors
    /// The first bound that is broken.
    pub fn validate(&self) -> Result<(), MetadataError> {
        let bytes = self.mesh_version.len();
        if bytes == 0 || bytes > Self::MAX_VERSION_BYTES {
            return Err(MetadataError::MeshVersion { bytes });
        }
        if self.labels.len() > Self::MAX_LABELS {
            return Err(MetadataError::Labels { count: self.labels.len() });
        }
        for (key, value) in &self.labels {
            if key.is_empty() || key.len() > Self::MAX_LABEL_KEY_BYTES {
                return Err(MetadataError::LabelKey { key: key.clone() });
            }
            if value.len() > Self::MAX_LABEL_VALUE_BYTES {
                return Err(MetadataError::LabelValue { key: key.clone(), bytes: value.len() });
            }
        }
        if self.services.len() > Self::MAX_SERVICES {
            return Err(MetadataError::Services { count: self.services.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Result<NodeMetadata, Box<dyn std::error::Error>> {
        Ok(NodeMetadata {
            role: "worker".parse()?,
            cluster: "alpha".parse()?,
            region: "eu-1".parse()?,
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: "127.0.0.1:1".parse()?,
            labels: BTreeMap::new(),
            features: Features::default(),
            lifecycle: NodeLifecycle::default(),
            services: BTreeSet::new(),
            rpc_endpoint: None,
        })
    }

    #[test]
    fn bounds_hold_at_the_limit_and_break_one_past_it() -> Result<(), Box<dyn std::error::Error>> {
        let mut at_limit = metadata()?;
        at_limit.mesh_version = "v".repeat(32).into();
        at_limit.labels = (0..32).map(|i| (format!("{i:063}"), "v".repeat(128))).collect();
        at_limit.services = (0..64).map(|i| format!("{i:063}").parse()).collect::<Result<_, _>>()?;
        assert_eq!(at_limit.validate(), Ok(()));

        let broken = |change: fn(&mut NodeMetadata)| {
            let mut metadata = at_limit.clone();
            change(&mut metadata);
            metadata.validate()
        };
        assert_eq!(broken(|m| m.mesh_version = "".into()), Err(MetadataError::MeshVersion { bytes: 0 }));
        assert_eq!(broken(|m| m.mesh_version = "v".repeat(33).into()), Err(MetadataError::MeshVersion { bytes: 33 }));
        let one_more = |m: &mut NodeMetadata| drop(m.labels.insert("rack".to_owned(), String::new()));
        assert_eq!(broken(one_more), Err(MetadataError::Labels { count: 33 }));
        let long_key = |m: &mut NodeMetadata| m.labels = BTreeMap::from([("k".repeat(64), String::new())]);
        assert_eq!(broken(long_key), Err(MetadataError::LabelKey { key: "k".repeat(64) }));
        let long_value = |m: &mut NodeMetadata| m.labels = BTreeMap::from([("k".to_owned(), "v".repeat(129))]);
        assert_eq!(broken(long_value), Err(MetadataError::LabelValue { key: "k".to_owned(), bytes: 129 }));
        let service: ServiceName = "one-more".parse()?;
        at_limit.services.insert(service);
        assert_eq!(at_limit.validate(), Err(MetadataError::Services { count: 65 }));
        Ok(())
    }
}
