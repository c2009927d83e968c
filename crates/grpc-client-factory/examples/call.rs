//! Calls a tonic service of the mesh, such as the example `hello` of mesh-server serves: over HTTP/3, or HTTP/2 where that does not work.
//!
//! `cargo run -p grpc-client-factory --example call -- node.pem node.key ca.pem 10.0.0.2:7070`

use std::sync::Arc;
use std::time::SystemTime;

use grpc_client_factory::{ChannelFactory as _, ClientFactory, FactoryOptions, Target};
use identity::{CertificateFiles, Credentials, ExpectedPeer};
use test_rpc::rpc::{EchoRequest, echo_client::EchoClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("usage: call CERTIFICATE KEY TRUST-BUNDLE ENDPOINT");
    let [certificate, key, trust_bundle] = [argument()?.into(), argument()?.into(), argument()?.into()];
    #[expect(clippy::disallowed_methods, reason = "the edge: the certificate has its dates by the clock on the wall")]
    let credentials = Credentials::load(&CertificateFiles { certificate, key, trust_bundle }, SystemTime::now())?;

    let factory = ClientFactory::new(Arc::new(credentials), FactoryOptions::default())?;
    let target = Target::new(argument()?.parse()?, ExpectedPeer::Member);
    let channel = factory.channel(&target, FactoryOptions::CONTROL_PLANE)?;
    let reply = EchoClient::new(channel.clone()).unary(EchoRequest::default()).await?;
    tracing::info!(?reply, connection = ?channel.connection(), "answered");
    Ok(())
}
