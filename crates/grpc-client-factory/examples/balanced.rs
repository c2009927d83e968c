//! Calls a tonic service of many nodes: each call goes to the one that is best, and another where one fails.

use grpc_client_factory::{BalancedOptions, ClientFactory, FactoryError};
use peers_core::{ChooserPorts, PeerSource};
use test_rpc::rpc::{EchoRequest, echo_client::EchoClient};

/// Makes one call to whichever peer `chooser` picks.
///
/// `source` is the gossip's handle, say; `chooser` comes from the configuration: `tiered > two-random`.
///
/// # Errors
/// The chooser cannot be had, or the call failed.
pub async fn call(
    factory: &ClientFactory,
    source: &dyn PeerSource,
    chooser: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let options = BalancedOptions::named(&chooser.parse()?, &ChooserPorts::default())?;
    let channel = factory.balanced(source, options)?;
    match EchoClient::new(channel).unary(EchoRequest::default()).await {
        Ok(reply) => tracing::info!(?reply, "answered"),
        Err(status) => match FactoryError::of(&status) {
            Some(FactoryError::NoPeer { retry_in, .. }) => tracing::warn!(?retry_in, "nobody can be called"),
            _ => return Err(status.into()),
        },
    }
    Ok(())
}
