//! Between user events and the wire schema.

use mesh_proto::gossip as proto;
use mesh_types::{BootEpoch, NodeId};

use super::UserEvent;
use crate::wire::Rejected;

pub(crate) fn encode(event: &UserEvent) -> proto::UserEvent {
    proto::UserEvent {
        origin: event.origin.to_string(),
        boot_epoch: event.boot_epoch.0,
        sequence: event.sequence,
        name: event.name.clone(),
        payload: event.payload.clone(),
    }
}

/// Reads and checks an event.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn decode(encoded: proto::UserEvent) -> Result<UserEvent, Rejected> {
    let proto::UserEvent { origin, boot_epoch, sequence, name, payload } = encoded;
    let origin: NodeId = origin.parse().map_err(|source| Rejected::Name { field: "origin", source })?;
    let event = UserEvent { origin, boot_epoch: BootEpoch(boot_epoch), sequence, name, payload };
    event.validate().map_err(|source| Rejected::UserEvent { source })?;
    Ok(event)
}
