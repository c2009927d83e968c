//! Who is not let in for the certificate shown, or for speaking something else.

use std::net::UdpSocket;
use std::time::Duration;

use test_cluster::{Authority, Holder};
use tokio::time::timeout;

use crate::raw::{Raw, hello, tls, without_certificate};
use crate::refusal::Target;
use crate::{Failure, LIMIT};
use mesh_proto::Message as _;

/// Connects with `config` and says hello. Checks that nothing comes of it: in TLS 1.3 the client's handshake ends before
/// the server has looked at its certificate.
async fn check(target: Target, config: rustls::ClientConfig, reason: &str, words: &str) -> Result<(), Failure> {
    let attempt = async {
        let raw = Raw::connect_with(target.address, config).await?;
        raw.say(&hello("mallory").encode_to_vec()).await
    };
    let answer = timeout(LIMIT, attempt).await?;
    assert!(answer.is_err(), "{reason}: let in");
    target.has_refused(reason, words).await
}

#[tokio::test]
async fn a_stranger_without_a_certificate_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let config = without_certificate(tls(&*target.authority().credentials("mallory")?));
    check(target, config, "no_certificate", "peer sent no certificates").await
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let mut config = tls(&*target.authority().credentials("mallory")?);
    config.client_auth_cert_resolver = tls(&*Authority::new()?.credentials("mallory")?).client_auth_cert_resolver;
    check(target, config, "unknown_ca", "UnknownIssuer").await
}

#[tokio::test]
async fn an_expired_certificate_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let expired = Holder { age: Duration::from_secs(2 * 3600), ..Holder::new("mallory") };
    let config = tls(&*target.authority().credentials_with(&expired)?);
    check(target, config, "expired", "certificate expired").await
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let beta = Holder { cluster: "beta".to_owned(), ..Holder::new("mallory") };
    let config = tls(&*target.authority().credentials_with(&beta)?);
    let words = "peer spiffe://mesh.test/cluster/beta/role/worker/node/mallory is not of cluster `test`";
    check(target, config, "wrong_cluster", words).await
}

#[tokio::test]
async fn a_certificate_of_another_trust_domain_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let also_trusts = vec![target.authority().trust_bundle_pem()];
    let config = tls(&*target.other_domain.credentials_with(&Holder { also_trusts, ..Holder::new("mallory") })?);
    let words = "peer spiffe://other.test/cluster/test/role/worker/node/mallory is not of trust domain `mesh.test`";
    check(target, config, "wrong_trust_domain", words).await
}

#[tokio::test]
async fn who_speaks_another_application_protocol_is_refused() -> Result<(), Failure> {
    let target = Target::start().await?;
    let mut config = tls(&*target.authority().credentials("mallory")?);
    config.alpn_protocols = vec![b"omnirelay-gossip/9".to_vec()];
    check(target, config, "application_protocol", "").await
}

#[tokio::test]
async fn datagrams_that_are_no_quic_are_ignored() -> Result<(), Failure> {
    let target = Target::start().await?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let noise: Vec<u8> = (0..1_400_u32).map(|i| i.wrapping_mul(167).to_le_bytes()[0]).collect();
    for length in [0, 1, 20, 21, 1_200, 1_400] {
        socket.send_to(&noise[..length], target.address)?;
    }
    // Long header, QUIC version 1, and nothing that belongs there.
    let mut initial = vec![0xc0, 0, 0, 0, 1];
    initial.extend(&noise[..1_195]);
    socket.send_to(&initial, target.address)?;
    target.goes_on().await
}
