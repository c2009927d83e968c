//! Records that several cores of one process hold, each kept once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use mesh_types::{NodeId, NodeMetadata};
use twox_hash::XxHash64;

use crate::record::{Record, RecordError};

/// A record, and the name of its node.
pub(crate) type NamedRecord = (NodeId, Arc<Record>);

/// So many records that nobody holds any more are kept at least before they are looked for.
const LEAST_TIDIED: usize = 64;

/// Records as they have been decoded, for all cores of a process that are given it: what thousands of cores know of one node is
/// then in memory once. Clones are of the same archive.
///
/// It holds what cores hold, and at most as much again. What a core does is not changed by it.
#[derive(Debug, Clone, Default)]
pub struct Archive(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// By a hash of the bytes. Of two with one hash the first is kept, and the other stays its holder's own.
    records: BTreeMap<u64, (NodeId, Weak<Record>)>,
    tidied_at: usize,
}

impl Archive {
    /// Decodes a record of `node`, unless somebody holds it already. `own` is the local node's: see [`Record::decode`].
    pub(crate) fn decode(&self, node: NodeId, bytes: &Bytes, own: &NodeMetadata) -> Result<NamedRecord, RecordError> {
        let hash = XxHash64::oneshot(0, bytes);
        // A panic elsewhere leaves it whole: nothing is changed but in one step.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, record)) = kept.records.get(&hash)
            && let Some(record) = record.upgrade()
        {
            if *known == node && record.bytes == *bytes {
                return Ok((known.clone(), record));
            }
            return Ok((node, Arc::new(Record::decode(bytes, own)?)));
        }
        let record = Arc::new(Record::decode(bytes, own)?);
        kept.records.insert(hash, (node.clone(), Arc::downgrade(&record)));
        kept.tidy();
        Ok((node, record))
    }
}

impl Kept {
    fn tidy(&mut self) {
        if self.records.len() > 2 * self.tidied_at.max(LEAST_TIDIED) {
            self.records.retain(|_hash, (_node, record)| record.strong_count() > 0);
            self.tidied_at = self.records.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use mesh_types::{Features, NameError, NodeLifecycle};

    use super::*;

    fn metadata(endpoint: &str) -> NodeMetadata {
        NodeMetadata {
            role: "worker".parse().expect("a name"),
            cluster: "alpha".parse().expect("a name"),
            region: "eu-1".parse().expect("a name"),
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: endpoint.parse().expect("an endpoint"),
            labels: BTreeMap::new(),
            features: Features::default(),
            lifecycle: NodeLifecycle::Active,
            services: BTreeSet::new(),
            rpc_endpoint: None,
        }
    }

    fn decode(archive: &Archive, node: &str, endpoint: &str) -> Result<NamedRecord, NameError> {
        let bytes = Record::encode(Arc::new(metadata(endpoint))).expect("valid").bytes;
        Ok(archive.decode(node.parse()?, &bytes, &metadata("10.0.0.1:1")).expect("valid"))
    }

    #[test]
    fn what_several_cores_know_of_a_node_is_in_memory_once_with_its_name() -> Result<(), NameError> {
        let archive = Archive::default();
        let (name, record) = decode(&archive, "a", "10.0.0.2:1")?;
        let (same_name, same) = decode(&archive, "a", "10.0.0.2:1")?;
        assert!(Arc::ptr_eq(&record, &same) && std::ptr::eq(name.as_str(), same_name.as_str()));
        let (_, newer) = decode(&archive, "a", "10.0.0.3:1")?;
        assert_eq!(newer.metadata.endpoint, metadata("10.0.0.3:1").endpoint);
        let (other, of_other) = decode(&archive, "b", "10.0.0.2:1")?;
        assert_eq!((other.as_str(), &of_other.metadata), ("b", &record.metadata));
        Ok(())
    }

    #[test]
    fn what_nobody_holds_any_more_is_forgotten() -> Result<(), NameError> {
        let archive = Archive::default();
        let kept = decode(&archive, "a", "10.0.0.2:1")?;
        for port in 1..=1_000 {
            decode(&archive, "b", &format!("10.0.0.3:{port}"))?;
            let held = archive.0.lock().unwrap_or_else(PoisonError::into_inner).records.len();
            assert!(held <= 2 * LEAST_TIDIED, "{held} records");
        }
        assert!(Arc::ptr_eq(&kept.1, &decode(&archive, "a", "10.0.0.2:1")?.1));
        Ok(())
    }
}
