//! Adds gossip to a tonic server: [`server`] is all it takes.
//!
//! Alone, it makes a CA and two servers that find each other: `cargo run -p gossip --example tonic_server`. With files it is one
//! server: `tonic_server CERTIFICATE KEY TRUST_BUNDLE [SEED]`. Ctrl-C leaves the mesh.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod server;

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Validity};
use gossip::Options;
use identity::{CertificateFiles, Credentials};
use peers_core::{Peer, PeerUpdate};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let stop = CancellationToken::new();
    let serving = async {
        match args.as_slice() {
            [] => Box::pin(two_servers(&stop)).await,
            [certificate, key, trust_bundle, seeds @ ..] => {
                let files = CertificateFiles {
                    certificate: certificate.into(),
                    key: key.into(),
                    trust_bundle: trust_bundle.into(),
                };
                one_server(Credentials::load(&files, now())?, seeds, &stop).await
            }
            _ => Err("usage: tonic_server [CERTIFICATE KEY TRUST_BUNDLE [SEED...]]".into()),
        }
    };
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        pressed = tokio::signal::ctrl_c() => pressed?,
    }
    stop.cancel();
    serving.await
}

async fn two_servers(stop: &CancellationToken) -> Result<(), Failure> {
    let today = Validity::starting(now(), Duration::from_secs(24 * 3600));
    let ca = DevCa::generate("mesh.example", today)?;
    let credentials = |node: &str| -> Result<Credentials, Failure> {
        let id = format!("spiffe://mesh.example/cluster/dev/role/worker/node/{node}").parse()?;
        let issued = ca.issue(&id, today)?;
        let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
        Ok(Credentials::from_pem(certificate, key, ca.trust_bundle_pem().as_bytes(), now())?)
    };
    // The first listens where gossip usually does: it is the seed of the second.
    let (first, second) = (credentials("node-a")?, credentials("node-b")?);
    let seed = ["127.0.0.1:17421".to_owned()];
    tokio::try_join!(one_server(first, &[], stop), one_server(second, &seed, stop)).map(|((), ())| ())
}

async fn one_server(credentials: Credentials, seeds: &[String], stop: &CancellationToken) -> Result<(), Failure> {
    let node = credentials.spiffe_id().node().clone();
    let mut options = Options::of(credentials.spiffe_id(), "local".parse()?);
    options.bind_address = Ipv4Addr::LOCALHOST.into();
    options.seed_peers = seeds.iter().map(|seed| seed.parse()).collect::<Result<_, _>>()?;
    options.port = if seeds.is_empty() { options.port } else { 0 };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{node} serves gRPC at {}", listener.local_addr()?);
    let show = |update| match update {
        PeerUpdate::Reset(peers) => peers.iter().for_each(|peer| println!("{node} finds {}", shown(peer))),
        PeerUpdate::Upsert(peer) => println!("{node} finds {}", shown(&peer)),
        PeerUpdate::Remove(peer) => println!("{node} loses {peer}"),
    };
    server::serve(listener, options, Arc::new(credentials), show, stop.clone()).await
}

fn shown(peer: &Peer) -> String {
    let endpoints: Vec<String> = peer.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    format!("{} at {}", peer.id, endpoints.join(", "))
}

#[expect(clippy::disallowed_methods, reason = "the edge: certificates are read and issued as of now")]
fn now() -> SystemTime {
    SystemTime::now()
}
