//! Who may connect, and who a client is.

use std::fmt;
use std::sync::Arc;

use identity::{CredentialSource, SpiffeId};
use mesh_server::NodeSecret;
use mesh_types::NodeId;

/// How clients prove who they are.
#[derive(Debug, Clone)]
pub enum Security {
    /// Mutual TLS: HTTP/3, HTTP/2 and HTTP/1.1 at one port, and every client has a certificate of the mesh.
    MutualTls {
        /// Each handshake uses those that it has then; a client that it no longer trusts is cut off.
        credentials: Arc<dyn CredentialSource>,
        /// Outlives the process, so that clients over QUIC notice a restart at once.
        node_secret: Option<NodeSecret>,
    },
    /// Plain HTTP/1.1 for the newcomer's own machine: anybody on it may ask. Any other address is refused.
    PlaintextLoopback,
}

/// Role of those who may change things: people and their tools.
const OPERATOR: &str = "operator";

/// Who a client is, as its certificate says. Handlers find it among the extensions of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName(Arc<SpiffeId>);

impl PeerName {
    pub(crate) fn node(&self) -> &NodeId {
        self.0.node()
    }

    pub(crate) fn is_operator(&self) -> bool {
        self.0.role().as_str() == OPERATOR
    }
}

impl From<SpiffeId> for PeerName {
    fn from(id: SpiffeId) -> Self {
        Self(Arc::new(id))
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
