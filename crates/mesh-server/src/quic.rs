//! A connection over QUIC: handshake, identity, HTTP/3.

use std::sync::Arc;

use identity::{Credentials, Presented};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Incoming, ServerConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::audit::{Applicant, quic_reason};
use crate::bind::BindError;
use crate::http3::{self, ACCESS_DENIED};
use crate::options::Options;
use crate::peer::Protocol;
use crate::registry::Registered;
use crate::serve::Serve;
use crate::server::{Ended, Shared};

const HTTP3: &[u8] = b"h3";

/// Most bytes of clients whose handshake has not begun, all together.
const INCOMING_BYTES: u64 = 8 * 1024 * 1024;

/// Returns what the endpoint listens with, if it does. Each connection is accepted with credentials of its own.
pub(crate) fn server_config(options: &Options, credentials: &Credentials) -> Result<Option<ServerConfig>, BindError> {
    let Some(quic) = &options.quic else { return Ok(None) };
    let crypto = QuicServerConfig::try_from(credentials.server_config(&[HTTP3]));
    let mut config = ServerConfig::with_crypto(Arc::new(crypto.map_err(|source| BindError::Quic { source })?));
    config
        .transport_config(Arc::new(quic.transport_config()))
        .max_incoming(options.limits.max_handshakes)
        .incoming_buffer_size_total(INCOMING_BYTES);
    Ok(Some(config))
}

/// Serves one connection to its end. Gives back its `handshake` slot when that is over.
pub(crate) async fn serve<S: Serve>(
    shared: Arc<Shared<S>>,
    config: ServerConfig,
    incoming: Incoming,
    handshake: OwnedSemaphorePermit,
) -> Ended {
    // What is under way here at shutdown is no call yet: nobody waits for it.
    let admitted = shared.shutdown.run_until_cancelled(admit(&shared, config, incoming, handshake));
    let Some(Some((connection, registered))) = admitted.await else { return Ended::Finished };
    tracing::debug!(peer = ?registered.peer(), "connected");
    http3::serve(&shared, &connection, &registered).await
}

/// Returns the connection and its place in the registry, or refuses it.
async fn admit<S>(
    shared: &Shared<S>,
    mut config: ServerConfig,
    incoming: Incoming,
    handshake: OwnedSemaphorePermit,
) -> Option<(quinn::Connection, Registered)> {
    let address = incoming.remote_address();
    let applicant = Applicant { address, transport: "quic", presented: Presented::default() };
    let credentials = shared.source.current();
    let revocations = credentials.revocations().version();
    match QuicServerConfig::try_from(credentials.server_config_admitting(&[HTTP3], &applicant.presented)) {
        Ok(crypto) => config.crypto = Arc::new(crypto),
        Err(error) => {
            applicant.failed("handshake", &error);
            return None;
        }
    }
    let connecting = async { incoming.accept_with(Arc::new(config))?.await };
    let connected = timeout(shared.options.limits.handshake_timeout, connecting).await;
    drop(handshake);
    let connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            applicant.turned_away(quic_reason(&error), &error);
            return None;
        }
        Err(elapsed) => {
            applicant.failed("handshake_timeout", &elapsed);
            return None;
        }
    };
    match shared.admit(&credentials, revocations, chain_of(&connection), (address, Protocol::Http3)) {
        Ok(registered) => Some((connection, registered)),
        Err(refused) => {
            applicant.refused(refused.reason(), &refused);
            connection.close(ACCESS_DENIED, refused.to_string().as_bytes());
            None
        }
    }
}

fn chain_of(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let chain = connection.peer_identity().and_then(|identity| identity.downcast().map_or(None, |chain| Some(*chain)));
    chain.unwrap_or_default()
}
