//! Who answers, against whom was dialled.

use identity::{ExpectedPeer, RefusalReason, SpiffeId};
use rustls::pki_types::DnsName;

use crate::support::{ALPN, LooseCa, ca, connect, connect_nodes, id, member, node, unchecked};

/// Dials `server` as `expected` from `node-a` of cluster `alpha`; says who answered, or why it was refused.
#[track_caller]
fn dialled(expected: &ExpectedPeer, server: &SpiffeId) -> Result<Option<SpiffeId>, RefusalReason> {
    let ca = ca();
    let own = node(&ca, "node-a");
    let (client, server) = connect_nodes(&own, &member(&ca, server, &ca.trust_bundle_pem()));
    assert_eq!((&client.error, &server.error), (&None, &None));
    own.verify_expected(expected, client.chain()).map_err(|error| error.reason())
}

#[test]
fn only_the_node_that_was_dialled_is_accepted() {
    let (b, other_cluster) = (id("alpha", "node-b"), id("beta", "node-b"));
    let expected = ExpectedPeer::Node("node-b".parse().unwrap());
    assert_eq!(dialled(&expected, &b), Ok(Some(b.clone())));
    assert_eq!(dialled(&expected, &id("alpha", "node-c")), Err(RefusalReason::WrongPeer));
    assert_eq!(dialled(&expected, &other_cluster), Err(RefusalReason::WrongCluster));
    assert_eq!(dialled(&ExpectedPeer::Member, &b), Ok(Some(b)));
    assert_eq!(dialled(&ExpectedPeer::Member, &other_cluster), Err(RefusalReason::WrongCluster));
}

#[test]
fn an_id_is_expected_whole_and_a_trust_domain_takes_every_cluster() {
    let (b, other_cluster) = (id("alpha", "node-b"), id("beta", "node-b"));
    let expected = ExpectedPeer::Spiffe(other_cluster.clone());
    assert_eq!(dialled(&expected, &other_cluster), Ok(Some(other_cluster.clone())));
    assert_eq!(dialled(&expected, &b), Err(RefusalReason::WrongPeer));
    let domain = |name: &str| ExpectedPeer::TrustDomain(name.parse().unwrap());
    assert_eq!(dialled(&domain("mesh.example"), &other_cluster), Ok(Some(other_cluster)));
    assert_eq!(dialled(&domain("other.example"), &b), Err(RefusalReason::WrongTrustDomain));
}

#[test]
fn the_refusal_of_another_node_names_both() {
    let ca = ca();
    let own = node(&ca, "node-a");
    let (client, _) = connect_nodes(&own, &node(&ca, "node-b"));
    let expected = ExpectedPeer::Node("node-c".parse().unwrap());
    let error = own.verify_expected(&expected, client.chain()).unwrap_err();
    let found = id("alpha", "node-b");
    assert_eq!(error.to_string(), format!("peer is {found}, not node `node-c` of this cluster"));
}

#[test]
fn a_dns_name_is_checked_sent_along_and_needs_no_id() {
    let ca = LooseCa::new();
    let own = ca.credentials(&ca.with_uris(&["spiffe://mesh.example/cluster/alpha/role/worker/node/node-a"])).unwrap();
    let leaf = ca.with_dns_names(&["api.example"]);
    let mut server = rustls::ServerConfig::clone(&own.server_config(ALPN));
    server.cert_resolver = unchecked(&leaf);
    let name = |name: &'static str| ExpectedPeer::Dns(DnsName::try_from(name).unwrap());
    let config = own.client_config_for(&name("api.example"), ALPN);
    assert!(config.enable_sni && !own.client_config_for(&ExpectedPeer::Member, ALPN).enable_sni);
    let (client, _) = connect(config, std::sync::Arc::new(server));
    let judged =
        |expected: &ExpectedPeer| own.verify_expected(expected, client.chain()).map_err(|error| error.reason());
    assert_eq!(judged(&name("api.example")), Ok(None));
    assert_eq!(judged(&name("other.example")), Err(RefusalReason::WrongPeer));
    assert_eq!(judged(&ExpectedPeer::Member), Err(RefusalReason::NoSpiffeId));
}
