//! Handshakes that succeed, and the versions and protocols they agree on.

use std::sync::Arc;

use identity::RefusalReason;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Connection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};

use crate::support::{ALPN, Leaf, a_century, ca, connect, connect_nodes, id, member, node, unchecked};

#[test]
fn both_sides_read_the_spiffe_id_of_the_other() {
    let ca = ca();
    let (a, b) = (node(&ca, "node-a"), node(&ca, "node-b"));
    let (client, server) = connect_nodes(&a, &b);
    assert_eq!((&client.error, &server.error), (&None, &None));
    assert_eq!(a.verify_peer(client.chain()).unwrap(), id("alpha", "node-b"));
    assert_eq!(b.verify_peer(server.chain()).unwrap(), id("alpha", "node-a"));
    assert_eq!((a.spiffe_id(), b.spiffe_id()), (&id("alpha", "node-a"), &id("alpha", "node-b")));
    assert_eq!(client.connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.connection.alpn_protocol(), Some(ALPN[0]));
}

#[test]
fn a_certificate_may_come_from_any_ca_of_the_bundle() {
    let (old, new) = (ca(), ca());
    let bundle = format!("{}{}", old.trust_bundle_pem(), new.trust_bundle_pem());
    let a = member(&old, &id("alpha", "node-a"), &bundle);
    let b = member(&new, &id("alpha", "node-b"), &bundle);
    let (client, server) = connect_nodes(&a, &b);
    assert_eq!((client.error, server.error), (None, None));
}

/// Connects twice with the same configurations; returns how the second handshake went, and how many
/// tickets the client was given in the first.
#[track_caller]
fn twice(client: ClientConfig, server: ServerConfig) -> (Option<HandshakeKind>, Option<u32>) {
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (first, _) = connect(Arc::clone(&client), Arc::clone(&server));
    let (second, second_server) = connect(client, server);
    assert_eq!((&first.error, &second.error, &second_server.error), (&None, &None, &None));
    assert_eq!(second.connection.handshake_kind(), second_server.connection.handshake_kind());
    (second.connection.handshake_kind(), first.tickets())
}

#[test]
fn neither_side_resumes_a_session_even_if_the_other_would() {
    let ca = ca();
    let (a, b) = (node(&ca, "node-a"), node(&ca, "node-b"));
    let client = || ClientConfig::clone(&a.client_config(ALPN));
    let server = || ServerConfig::clone(&b.server_config(ALPN));
    let resuming_client = || {
        let mut client = client();
        client.resumption = Resumption::in_memory_sessions(8);
        client
    };
    let resuming_server = || {
        let mut server = server();
        server.session_storage = ServerSessionMemoryCache::new(8);
        server.send_tls13_tickets = 2;
        server
    };
    let full = Some(HandshakeKind::Full);
    assert_eq!(twice(client(), server()), (full, Some(0)));
    assert_eq!(twice(resuming_client(), server()), (full, Some(0)));
    assert_eq!(twice(client(), resuming_server()), (full, Some(2)));
    // the control: it takes both to resume
    assert_eq!(twice(resuming_client(), resuming_server()), (Some(HandshakeKind::Resumed), Some(2)));
}

#[test]
fn early_data_is_neither_sent_nor_taken() {
    let ca = ca();
    let a = node(&ca, "node-a");
    let (client, server) = (a.client_config(ALPN), a.server_config(ALPN));
    assert!(!client.enable_early_data);
    assert_eq!((server.max_early_data_size, server.send_tls13_tickets), (0, 0));
    assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
}

#[test]
fn the_name_that_is_dialled_stays_at_home() {
    let ca = ca();
    let (_, server) = connect_nodes(&node(&ca, "node-a"), &node(&ca, "node-b"));
    let Connection::Server(server) = server.connection else { panic!("not a server") };
    assert_eq!(server.server_name(), None);
}

#[test]
fn peers_without_a_common_protocol_part() {
    let ca = ca();
    let (a, b) = (node(&ca, "node-a"), node(&ca, "node-b"));
    let (client, server) = connect(a.client_config(&[b"mesh/2"]), b.server_config(ALPN));
    let expected = Some(RefusalReason::ApplicationProtocol);
    assert_eq!((client.reason(), server.reason()), (expected, expected));
}

#[test]
fn a_client_that_speaks_tls_1_2_only_is_refused() {
    let ca = ca();
    let leaf = Leaf::from(&ca.issue(&id("alpha", "node-a"), a_century()).unwrap());
    let old = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_client_cert_resolver(unchecked(&leaf));
    let (client, server) = connect(Arc::new(old), node(&ca, "node-b").server_config(&[]));
    let expected = Some(RefusalReason::TlsVersion);
    assert_eq!((client.reason(), server.reason()), (expected, expected));
}

#[test]
fn a_server_that_speaks_tls_1_2_only_is_refused() {
    let ca = ca();
    let a = node(&ca, "node-a");
    let leaf = Leaf::from(&ca.issue(&id("alpha", "node-b"), a_century()).unwrap());
    let server = |version| {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(unchecked(&leaf));
        Arc::new(config)
    };
    let reason = |version| connect(a.client_config(&[]), server(version)).0.reason();
    assert_eq!((reason(&TLS12), reason(&TLS13)), (Some(RefusalReason::TlsVersion), None));
}
