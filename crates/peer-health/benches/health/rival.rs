//! What a user would write instead: a map of structs behind a lock, cloned for whoever wants to see all of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use mesh_types::NodeId;
use peer_health::Lease;

use crate::peers::{METADATA, Peers, lease};

/// What is known of one peer.
#[derive(Clone)]
#[expect(dead_code, reason = "readers would want it; here it only costs")]
pub(crate) struct Record {
    last_heartbeat: Option<SystemTime>,
    last_disconnect: Option<SystemTime>,
    leases: Vec<Lease>,
    metadata: BTreeMap<String, String>,
}

pub(crate) struct LockedMap(RwLock<HashMap<NodeId, Record>>);

impl LockedMap {
    /// Makes a map that knows of `peers` what the tracker does.
    pub(crate) fn of(peers: &Peers) -> Self {
        let record = |n| Record {
            last_heartbeat: Some(SystemTime::UNIX_EPOCH),
            last_disconnect: None,
            leases: vec![lease(n)],
            metadata: METADATA.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let records = peers.known.iter().enumerate().map(|(n, (id, _))| (id.clone(), record(n)));
        Self(RwLock::new(records.collect()))
    }

    pub(crate) fn snapshot(&self) -> HashMap<NodeId, Record> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
