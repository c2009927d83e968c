//! What lets clients notice that a server was started anew.

use std::fmt;
use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

/// A secret of a node that outlives its process.
///
/// A server that is started anew knows nothing of the connections it had. If it can still make the reset tokens that its
/// clients hold, and recognise the connection IDs it once gave out, the first packet of each old connection is
/// answered with a reset (RFC 9000 §10.3), and the client connects anew at once. Otherwise that packet goes unanswered, and
/// every call waits until the connection has timed out.
///
/// Whoever knows it can end this node's connections, and can do no more with it.
#[derive(Clone)]
pub struct NodeSecret(hmac::Key);

impl NodeSecret {
    /// Takes 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Returns the configuration of an endpoint whose connections a later one with the same secret can reset.
    #[must_use]
    pub fn endpoint_config(&self) -> EndpointConfig {
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, self.derive("omnirelay quic stateless reset").as_ref());
        let id_key = self.derive("omnirelay quic connection id");
        let id_key = id_key.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        config
    }

    fn derive(&self, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.0, purpose.as_bytes())
    }
}

impl fmt::Debug for NodeSecret {
    /// Shows nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSecret").finish_non_exhaustive()
    }
}
