//! Who may change the node at this endpoint, and that it is the node that is meant.

use axum::extract::Extension;
use mesh_types::{Membership, NodeId};

use crate::error::ApiError;
use crate::security::PeerName;

/// Checks that whoever asks may do `what` to the local node, and that `asked`, if given, names it. Returns who asks, for the
/// audit trail.
///
/// # Errors
/// Who asks is neither an operator nor the node itself, or means another node.
pub(crate) fn may_change(
    members: &Membership,
    peer: Option<Extension<PeerName>>,
    asked: Option<String>,
    what: &'static str,
) -> Result<String, ApiError> {
    let by = peer.map(|Extension(name)| name);
    is_allowed(by.as_ref(), &members.local, what)?;
    if let Some(asked) = asked.filter(|asked| asked != members.local.as_str()) {
        return Err(ApiError::OtherNode { asked, local: members.local.clone() });
    }
    Ok(by.map_or_else(|| "loopback".to_owned(), |name| name.to_string()))
}

/// An operator may, and the node's own certificate; plain HTTP is this machine's, where nobody has a name.
fn is_allowed(by: Option<&PeerName>, local: &NodeId, what: &'static str) -> Result<(), ApiError> {
    match by {
        Some(peer) if !peer.is_operator() && peer.node() != local => {
            Err(ApiError::NotAllowed { peer: peer.clone(), what })
        }
        Some(_) | None => Ok(()),
    }
}
