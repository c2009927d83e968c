//! Peers that are refused, and the reason each side gives for it.

use std::sync::Arc;

use bootstrap::{DevCa, Validity};
use identity::{Credentials, PeerRefused, RefusalReason, SpiffeId};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::support::{
    ALPN, DOMAIN, Leaf, LooseCa, a_century, ca, connect, connect_nodes, id, member, member_in, node, showing,
    unchecked, year,
};

const GOOD: &str = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a";

/// Connects, and checks what each side says of the end.
#[track_caller]
fn check(client: &Credentials, server: &Credentials, at_client: RefusalReason, at_server: RefusalReason) {
    let (client, server) = connect_nodes(client, server);
    assert_eq!((client.reason(), server.reason()), (Some(at_client), Some(at_server)));
}

/// A client that has no certificate to show.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let ca = ca();
    let (a, b) = (node(&ca, "node-a"), node(&ca, "node-b"));
    let mut anonymous = rustls::ClientConfig::clone(&a.client_config(ALPN));
    anonymous.client_auth_cert_resolver = Arc::new(NoCertificate);
    let (client, server) = connect(Arc::new(anonymous), b.server_config(ALPN));
    let expected = Some(RefusalReason::NoCertificate);
    assert_eq!((client.reason(), server.reason()), (expected, expected));
    let error = b.verify_peer(server.chain()).unwrap_err();
    assert!(matches!(error, PeerRefused::NoCertificate), "{error}");
}

/// A node of `old` that trusts `old` and `new`, and one of `new` that trusts its own only.
fn across_cas() -> (Credentials, Credentials) {
    let (old, new) = (ca(), ca());
    let both = format!("{}{}", old.trust_bundle_pem(), new.trust_bundle_pem());
    (member(&old, &id("alpha", "node-a"), &both), node(&new, "node-b"))
}

#[test]
fn a_client_of_another_ca_is_refused() {
    let (a, b) = across_cas();
    check(&a, &b, RefusalReason::UnknownCa, RefusalReason::UnknownCa);
}

#[test]
fn a_server_of_another_ca_is_refused() {
    let (a, b) = across_cas();
    check(&b, &a, RefusalReason::UnknownCa, RefusalReason::UnknownCa);
}

/// A node whose certificate is valid for `first` and the year after, loaded within.
fn in_years(ca: &DevCa, first: u64) -> Credentials {
    let validity = Validity { not_before: year(first), not_after: year(first + 2) };
    member_in(ca, &id("alpha", "node-t"), &ca.trust_bundle_pem(), validity, year(first + 1))
}

#[test]
fn an_expired_certificate_is_refused_on_either_side() {
    let ca = ca();
    let (past, today) = (in_years(&ca, 2020), node(&ca, "node-b"));
    check(&past, &today, RefusalReason::Expired, RefusalReason::Expired);
    check(&today, &past, RefusalReason::Expired, RefusalReason::Expired);
}

#[test]
fn a_certificate_of_the_future_is_refused_on_either_side() {
    let ca = ca();
    let (future, today) = (in_years(&ca, 2110), node(&ca, "node-b"));
    // The alert has one word for both (RFC 8446 §6.2): only who refuses knows which.
    check(&future, &today, RefusalReason::Expired, RefusalReason::NotYetValid);
    check(&today, &future, RefusalReason::NotYetValid, RefusalReason::Expired);
}

/// Lets `peer` connect to `own`, which must succeed, and returns what `own` makes of it.
#[track_caller]
fn judged(peer: &Credentials, own: &Credentials) -> Result<SpiffeId, PeerRefused> {
    let (client, server) = connect_nodes(peer, own);
    assert_eq!((&client.error, &server.error), (&None, &None));
    own.verify_peer(server.chain())
}

#[test]
fn a_node_of_another_cluster_is_refused_by_name() {
    let ca = ca();
    let (own, theirs) = (node(&ca, "node-b"), id("beta", "node-a"));
    let error = judged(&member(&ca, &theirs, &ca.trust_bundle_pem()), &own).unwrap_err();
    assert_eq!(error.reason(), RefusalReason::WrongCluster);
    assert_eq!(error.to_string(), format!("peer {theirs} is not of cluster `alpha`"));
}

#[test]
fn a_node_of_another_trust_domain_is_refused_even_if_its_ca_is_trusted() {
    let (ours, theirs) = (ca(), DevCa::generate("other.example", a_century()).unwrap());
    let both = format!("{}{}", ours.trust_bundle_pem(), theirs.trust_bundle_pem());
    let their_id: SpiffeId = GOOD.replace(DOMAIN, "other.example").parse().unwrap();
    let (own, peer) = (member(&ours, &id("alpha", "node-b"), &both), member(&theirs, &their_id, &both));
    let error = judged(&peer, &own).unwrap_err();
    assert_eq!(error.reason(), RefusalReason::WrongTrustDomain);
    assert_eq!(error.to_string(), format!("peer {their_id} is not of trust domain `mesh.example`"));
}

/// A peer whose certificate holds `uris` gets through the handshake, and is refused with `reason`.
#[track_caller]
fn check_uris(uris: &[&str], reason: RefusalReason) {
    let ca = LooseCa::new();
    let own = ca.credentials(&ca.with_uris(&[GOOD])).expect("credentials");
    let client = showing(&own.client_config(ALPN), &ca.with_uris(uris));
    let (client, server) = connect(client, own.server_config(ALPN));
    assert_eq!((client.error, &server.error), (None, &None));
    assert_eq!(own.verify_peer(server.chain()).map_err(|error| error.reason()), Err(reason));
}

#[test]
fn a_certificate_must_hold_one_uri_and_that_a_node() {
    check_uris(&[], RefusalReason::NoSpiffeId);
    check_uris(&[GOOD, GOOD], RefusalReason::SeveralSpiffeIds);
    check_uris(&[GOOD, "https://mesh.example"], RefusalReason::SeveralSpiffeIds);
    check_uris(&["spiffe://mesh.example/ns/prod/sa/api"], RefusalReason::BadSpiffeId);
    check_uris(&["https://mesh.example"], RefusalReason::BadSpiffeId);
}

#[test]
fn a_certificate_for_servers_only_is_refused_as_a_clients() {
    let ca = LooseCa::new();
    let own = ca.credentials(&ca.with_uris(&[GOOD])).unwrap();
    let server_only = ca.leaf(&[GOOD], &[ExtendedKeyUsagePurpose::ServerAuth]);
    let (client, server) = connect(showing(&own.client_config(ALPN), &server_only), own.server_config(ALPN));
    let expected = Some(RefusalReason::BadCertificate);
    assert_eq!((client.reason(), server.reason()), (expected, expected));
}

#[test]
fn a_node_cannot_vouch_for_another() {
    let ca = LooseCa::new();
    let own = ca.credentials(&ca.with_uris(&[GOOD])).unwrap();
    let forged = ca.signed_by_a_leaf(&[GOOD], &["spiffe://mesh.example/cluster/alpha/role/worker/node/node-x"]);
    let (_, server) = connect(showing(&own.client_config(ALPN), &forged), own.server_config(ALPN));
    assert_eq!(server.reason(), Some(RefusalReason::BadCertificate));
}

#[test]
fn a_certificate_shown_with_another_key_is_refused_on_either_side() {
    let ca = ca();
    let (a, b) = (node(&ca, "node-a"), node(&ca, "node-b"));
    let stolen = Leaf::from(&ca.issue(&id("alpha", "node-c"), a_century()).unwrap());
    let own = Leaf::from(&ca.issue(&id("alpha", "node-d"), a_century()).unwrap());
    let impostor = Leaf { certificate: stolen.certificate, key: own.key };

    let (_, server) = connect(showing(&a.client_config(ALPN), &impostor), b.server_config(ALPN));
    assert_eq!(server.reason(), Some(RefusalReason::BadCertificate));

    let mut impostor_server = rustls::ServerConfig::clone(&b.server_config(ALPN));
    impostor_server.cert_resolver = unchecked(&impostor);
    let (client, _) = connect(a.client_config(ALPN), Arc::new(impostor_server));
    assert_eq!(client.reason(), Some(RefusalReason::BadCertificate));
}
