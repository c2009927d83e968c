//! The SPIFFE ID of a node as text.

use identity::{ParseSpiffeIdError, SpiffeId, TrustDomainError};
use mesh_types::NameError;
use proptest::prelude::*;

const GOOD: &str = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a";

#[track_caller]
fn check(text: &str, expected: ParseSpiffeIdError) {
    assert_eq!(text.parse::<SpiffeId>(), Err(expected), "{text:?}");
}

#[test]
fn a_spiffe_id_names_trust_domain_cluster_role_and_node() {
    let id: SpiffeId = GOOD.parse().unwrap();
    assert_eq!(id.trust_domain().as_str(), "mesh.example");
    assert_eq!(id.cluster().as_str(), "alpha");
    assert_eq!(id.role().as_str(), "worker");
    assert_eq!(id.node().as_str(), "node-a");
    assert_eq!((id.to_string(), format!("{id:?}")), (GOOD.to_owned(), GOOD.to_owned()));
}

#[test]
fn an_id_longer_than_2048_bytes_is_refused_by_its_length() {
    let of_length = |bytes: usize| format!("{GOOD}{}", "n".repeat(bytes - GOOD.len()));
    let node_bytes = 2048 - GOOD.len() + "node-a".len();
    let source = NameError::TooLong { what: "node id", bytes: node_bytes };
    check(&of_length(2048), ParseSpiffeIdError::Name { source });
    check(&of_length(2049), ParseSpiffeIdError::TooLong { bytes: 2049 });
}

#[test]
fn only_the_scheme_spiffe_in_lower_case_is_accepted() {
    for text in ["", "mesh.example", "https://mesh.example/cluster/a", "SPIFFE://mesh.example/cluster/a"] {
        check(text, ParseSpiffeIdError::Scheme { text: text.to_owned() });
    }
}

#[test]
fn a_trust_domain_is_1_to_255_lower_case_bytes() {
    let with = |domain: &str| format!("spiffe://{domain}/cluster/alpha/role/worker/node/node-a");
    let refused = |source| ParseSpiffeIdError::TrustDomain { source };
    assert!(with(&"d".repeat(255)).parse::<SpiffeId>().is_ok());
    check(&with(&"d".repeat(256)), refused(TrustDomainError::TooLong { bytes: 256 }));
    check(&with(""), refused(TrustDomainError::Empty));
    for (domain, found) in [("Mesh", 'M'), ("mesh:443", ':'), ("user@mesh", '@'), ("mésh", 'é'), ("mesh?q", '?')] {
        check(&with(domain), refused(TrustDomainError::Character { text: domain.to_owned(), found }));
    }
}

#[test]
fn the_path_has_exactly_six_segments_with_fixed_labels() {
    let missing = |text: &str, expected| check(text, ParseSpiffeIdError::Missing { text: text.to_owned(), expected });
    missing("spiffe://mesh", "cluster");
    missing("spiffe://mesh/cluster", "cluster");
    missing("spiffe://mesh/cluster/alpha", "role");
    missing("spiffe://mesh/cluster/alpha/role/worker/node", "node");

    let segment = |text, expected, found: &str| {
        check(text, ParseSpiffeIdError::Segment { expected, found: found.to_owned() });
    };
    segment("spiffe://mesh/", "cluster", "");
    segment("spiffe://mesh/Cluster/alpha/role/worker/node/n", "cluster", "Cluster");
    segment("spiffe://mesh/cluster/alpha//role/worker/node/n", "role", "");
    segment("spiffe://mesh/ns/alpha/sa/worker", "cluster", "ns");

    check(&format!("{GOOD}/"), ParseSpiffeIdError::Extra { found: String::new() });
    check(&format!("{GOOD}/more"), ParseSpiffeIdError::Extra { found: "more".to_owned() });
}

#[test]
fn an_invalid_name_is_told_by_its_part() {
    let name = |text: &str, source| check(text, ParseSpiffeIdError::Name { source });
    name("spiffe://mesh/cluster//role/worker/node/n", NameError::Empty { what: "cluster id" });
    name("spiffe://mesh/cluster/alpha/role/../node/n", NameError::Dots { what: "role", text: "..".to_owned() });
    for (node, found) in [("n?q=1", '?'), ("n#f", '#'), ("n%41", '%'), ("n m", ' ')] {
        let source = NameError::Character { what: "node id", text: node.to_owned(), found };
        name(&format!("spiffe://mesh/cluster/alpha/role/worker/node/{node}"), source);
    }
}

proptest! {
    #[test]
    fn every_id_reads_back_as_itself(
        domain in "[a-z0-9._-]{1,255}",
        names in proptest::array::uniform3("[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}"),
    ) {
        let [cluster, role, node] = &names;
        let id = SpiffeId::new(
            domain.parse().unwrap(),
            cluster.parse().unwrap(),
            role.parse().unwrap(),
            node.parse().unwrap(),
        );
        prop_assert_eq!(id.to_string().parse::<SpiffeId>(), Ok(id));
    }

    #[test]
    fn a_good_id_with_one_character_changed_reads_back_as_written_or_is_refused(at in 0..GOOD.len(), c in any::<char>()) {
        let changed = format!("{}{c}{}", &GOOD[..at], &GOOD[at + 1..]);
        if let Ok(id) = changed.parse::<SpiffeId>() {
            prop_assert_eq!(id.to_string(), changed);
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in any::<String>()) {
        prop_assert!(text.parse::<SpiffeId>().is_err());
        let prefixed = format!("spiffe://mesh/cluster/{text}").parse::<SpiffeId>();
        prop_assert!(prefixed.is_err());
    }
}
