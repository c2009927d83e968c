//! Members whose certificate is revoked or runs out while they are linked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use identity::{CredentialSource as _, Credentials, Learnt};
use mesh_proto::Message as _;
use mesh_proto::gossip as proto;
use mesh_types::MemberState;
use peers_core::MembershipView as _;
use quinn::{Connection, ConnectionError};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use test_cluster::{Authority, Cluster, Holder, Node, SignedRevocations, Tuning};
use tokio::time::timeout;

use crate::raw::{Raw, hello, tls};
use crate::raw_peer::{RawPeer, asked};
use crate::renewable::{Renewable, Shown};
use crate::{Failure, LIMIT};

const CUT: &str = "mesh_gossip_links_cut_total{reason=\"revoked\"}";
const REFUSED: &str = "mesh_gossip_refused_total{reason=\"revoked\"}";
const REFUSED_BY_OTHERS: &str = "mesh_gossip_refused_by_others_total{reason=\"revoked\"}";

/// Lets node `number` alone learn a list, as from its file.
fn give(mesh: &Renewable, number: usize, list: &SignedRevocations) -> Result<(), Failure> {
    let credentials = &mesh.nodes[number].credentials;
    let learnt = credentials.revocations().learn(list.der(), &credentials.current())?;
    assert!(matches!(learnt, Learnt::New { .. }));
    Ok(())
}

fn has_cut(node: &Node) -> bool {
    node.metric(CUT) >= 1.0
}

#[tokio::test]
async fn a_list_that_one_node_learns_cuts_the_revoked_from_all_within_two_intervals() -> Result<(), Failure> {
    // An interval of a second, as out of the box.
    let mut mesh = Renewable::start(5, Tuning::default()).await?;
    let revoked = mesh.cluster.node(4).id().clone();
    let list = mesh.cluster.authority().revoke(1, [&mesh.nodes[4].certificate])?;
    give(&mesh, 0, &list)?;
    let all_have_cut = |c: &Cluster| c.running().take(4).all(has_cut);
    mesh.cluster.wait_until("all have cut it", 2 * Tuning::default().interval, all_have_cut).await?;

    // It tries to come back, says what it is told, and is held for gone by all.
    mesh.cluster.wait_until("it tries again", LIMIT, |c| c.running().take(4).any(|n| n.metric(REFUSED) >= 1.0)).await?;
    let knows = |c: &Cluster| c.node(4).metric(REFUSED_BY_OTHERS) >= 1.0;
    mesh.cluster.wait_until("it is told", LIMIT, knows).await?;
    assert!(mesh.cluster.node(4).log().contains("others refuse this node's certificate: revoked certificate"));
    let is_gone = |node: &Node| {
        let view = node.handle().current();
        view.get(&revoked).is_none_or(|m| !matches!(m.state, MemberState::Alive | MemberState::Suspect))
    };
    mesh.cluster.wait_until("it is gone", LIMIT, |c| c.running().take(4).all(is_gone)).await?;

    // A newcomer learns the list as it joins, before the revoked one can come to it.
    let number = mesh.join(&Holder::new("node-5")).await?;
    let list_learnt = "mesh_gossip_revocation_lists_total{outcome=\"learnt\"}";
    mesh.cluster.wait_until("a newcomer learns it", LIMIT, |c| c.node(number).metric(list_learnt) == 1.0).await?;

    // With a fresh certificate it is welcome again.
    let (holder, authority) = (Holder::new("node-4"), mesh.cluster.authority());
    mesh.nodes[4].renew(authority, &holder)?;
    mesh.cluster.wait_until("it is back", LIMIT, Cluster::all_see_all).await?;
    Ok(())
}

#[tokio::test]
async fn every_cut_and_every_refusal_is_audited_with_address_name_and_reason() -> Result<(), Failure> {
    let mesh = Renewable::start(2, Tuning::fast()).await?;
    let list = mesh.cluster.authority().revoke(1, [&mesh.nodes[1].certificate])?;
    give(&mesh, 0, &list)?;
    let audited = |c: &Cluster, words: &[&str]| {
        let log = c.node(0).log();
        log.lines().any(|line| line.contains(" audit: ") && words.iter().all(|word| line.contains(word)))
    };
    let address = mesh.cluster.node(1).local_addr().to_string();
    let cut = ["link cut", "peer=node-1", &address, "reason=\"revoked\""];
    mesh.cluster.wait_until("the cut is audited", LIMIT, |c| audited(c, &cut)).await?;
    let name = "san=\"spiffe://mesh.test/cluster/test/role/worker/node/node-1\"";
    let refused = ["connection refused", name, &address, "reason=\"revoked\""];
    mesh.cluster.wait_until("the refusal is audited", LIMIT, |c| audited(c, &refused)).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_does_not_join_through_a_seed_that_is_revoked() -> Result<(), Failure> {
    // The seed does not know the list, and would let everybody in.
    let mut mesh = Renewable::start(1, Tuning::fast()).await?;
    let holder = Holder::new("node-1");
    let shown = Shown::new(mesh.cluster.authority(), &holder)?;
    let list = mesh.cluster.authority().revoke(1, [&mesh.nodes[0].certificate])?;
    shown.credentials.revocations().learn(list.der(), &shown.credentials.current())?;
    let setup = mesh.setup(&holder, &shown)?;
    mesh.nodes.push(shown);
    let number = mesh.cluster.join(setup).await?;
    let refused = "mesh_gossip_dials_total{outcome=\"tls\"}";
    mesh.cluster.wait_until("its dial fails", LIMIT, |c| c.node(number).metric(refused) >= 2.0).await?;
    assert!(mesh.cluster.node(number).log().contains("Revoked"));
    assert_eq!(mesh.cluster.handle(number).current().members.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_node_that_learns_of_its_own_revocation_says_so() -> Result<(), Failure> {
    let mesh = Renewable::start(2, Tuning::fast()).await?;
    let list = mesh.cluster.authority().revoke(1, [&mesh.nodes[1].certificate])?;
    give(&mesh, 1, &list)?;
    let says = |c: &Cluster| {
        c.node(1).log().contains("this node's certificate has been revoked: others cut it off until it has a new one")
            && c.node(1).metric("mesh_credentials_revoked") == 1.0
    };
    mesh.cluster.wait_until("it says so", LIMIT, says).await?;
    // It passes the list on, too: the other cuts it.
    mesh.cluster.wait_until("it is cut", LIMIT, |c| has_cut(c.node(0))).await?;
    Ok(())
}

#[tokio::test]
async fn a_link_to_a_member_whose_certificate_runs_out_is_closed_and_both_say_why() -> Result<(), Failure> {
    let mut mesh = Renewable::start(2, Tuning::fast()).await?;
    let brief = Holder { lifetime: Duration::from_secs(6), ..Holder::new("node-2") };
    let number = mesh.join(&brief).await?;
    mesh.cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
    let expired = "mesh_gossip_links_cut_total{reason=\"expired\"}";
    let cut = |c: &Cluster| c.running().take(2).all(|node| node.metric(expired) >= 1.0);
    mesh.cluster.wait_until("its links are cut", LIMIT, cut).await?;
    let says = |c: &Cluster| {
        let log = c.node(number).log();
        log.contains("this node's certificate has expired")
            || log.contains("others refuse this node's certificate: expired")
    };
    mesh.cluster.wait_until("it says so", LIMIT, says).await?;
    assert!(mesh.cluster.node(number).metric("mesh_credentials_expiry_seconds") <= 1.0);
    Ok(())
}

#[tokio::test]
async fn who_is_revoked_between_handshake_and_hello_is_not_let_in() -> Result<(), Failure> {
    let mesh = Renewable::start(1, Tuning::fast()).await?;
    let (authority, holder) = (mesh.cluster.authority(), Holder::new("mallory"));
    let certificate = authority.issue(&holder)?;
    let credentials = authority.credentials_of(&certificate, &holder)?;
    let raw = timeout(LIMIT, Raw::connect(mesh.cluster.node(0).local_addr(), &credentials)).await??;
    let (mut send, _receive) = timeout(LIMIT, raw.connection.open_bi()).await??;
    let hello = hello("mallory").encode_to_vec();
    timeout(LIMIT, send.write_all(&hello)).await??;
    // In TLS 1.3 the server ends the handshake after the client, and says so (RFC 9001 §4.1.2).
    let is_over = |_: &Cluster| raw.connection.stats().frame_rx.handshake_done > 0;
    mesh.cluster.wait_until("the handshake is over", LIMIT, is_over).await?;
    give(&mesh, 0, &authority.revoke(1, [&certificate])?)?;
    send.finish()?;
    let closed = timeout(LIMIT, raw.connection.closed()).await?;
    assert!(
        matches!(&closed, ConnectionError::ApplicationClosed(close) if u64::from(close.error_code) == 42),
        "{closed}"
    );
    mesh.cluster.wait_until("it is audited", LIMIT, |c| has_cut(c.node(0))).await?;
    assert_eq!(mesh.cluster.handle(0).current().members.len(), 1);
    Ok(())
}

/// Says what its node asks to be told: that this member has a list which nobody else has.
async fn offer(connection: &Connection) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let head = proto::RevocationHead { scope: 7, number: Bytes::from_static(&[9]), issued_at: 1 };
    send.write_all(&proto::RevocationsHeld { heads: vec![head] }.encode_to_vec()).await?;
    send.finish()?;
    receive.read_to_end(1024).await?;
    Ok(())
}

#[tokio::test]
async fn a_member_cannot_revoke_another_with_a_list_of_its_own() -> Result<(), Failure> {
    let mesh = Renewable::start(2, Tuning::fast()).await?;
    let mallory = RawPeer::listen(mesh.cluster.authority().credentials("mallory")?)?;
    let link = timeout(LIMIT, mallory.dial(mesh.cluster.node(0).local_addr())).await??;
    timeout(LIMIT, offer(&link)).await??;
    let (mut answer, held) = timeout(LIMIT, asked(&link)).await??;
    assert_eq!(held.heads, []);
    // Signed by a CA, only that nobody trusts it.
    let forged = Authority::new()?.revoke(1, [&mesh.nodes[1].certificate])?;
    let lists = vec![Bytes::copy_from_slice(forged.der()), Bytes::from_static(b"no list")];
    answer.write_all(&proto::RevocationsNewer { lists }.encode_to_vec()).await?;
    answer.finish()?;
    let refused = |outcome: &str| format!("mesh_gossip_revocation_lists_total{{outcome=\"{outcome}\"}}");
    let both = |c: &Cluster| ["unknown_issuer", "unsupported"].iter().all(|o| c.node(0).metric(&refused(o)) == 1.0);
    mesh.cluster.wait_until("both are refused", LIMIT, both).await?;
    assert_eq!(mesh.nodes[0].credentials.revocations().version(), 0);
    assert!(mesh.cluster.sees_alive(0, 1) && !has_cut(mesh.cluster.node(0)));
    Ok(())
}

/// A client's memory of sessions that counts what it is given.
#[derive(Debug, Default)]
struct Tickets {
    kept: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _session: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Connects with a memory of sessions, and says hello.
async fn resume(node: &Node, credentials: &Credentials, tickets: &Arc<Tickets>) -> Result<Raw, Failure> {
    let mut config = tls(credentials);
    config.resumption = Resumption::store(Arc::clone(tickets) as _);
    let raw = Raw::connect_with(node.local_addr(), config).await?;
    let ack = raw.say(&hello("mallory").encode_to_vec()).await?;
    proto::HelloAck::decode(ack.as_slice())?;
    Ok(raw)
}

#[tokio::test]
async fn a_revoked_member_does_not_come_back_with_a_session_ticket() -> Result<(), Failure> {
    let patient = Tuning { suspicion_interval: Duration::from_secs(60), ..Tuning::default() };
    let mesh = Renewable::start(1, patient).await?;
    let (authority, holder) = (mesh.cluster.authority(), Holder::new("mallory"));
    let certificate = authority.issue(&holder)?;
    let credentials = authority.credentials_of(&certificate, &holder)?;
    let tickets = Arc::new(Tickets::default());
    let first = timeout(LIMIT, resume(mesh.cluster.node(0), &credentials, &tickets)).await??;
    assert_eq!(tickets.kept.lock().unwrap_or_else(PoisonError::into_inner).len(), 0, "tickets were issued");

    give(&mesh, 0, &authority.revoke(1, [&certificate])?)?;
    let closed = timeout(LIMIT, first.connection.closed()).await?;
    assert!(
        matches!(&closed, ConnectionError::ApplicationClosed(close) if u64::from(close.error_code) == 42),
        "{closed}"
    );
    for attempt in 1..=3 {
        let again = timeout(LIMIT, resume(mesh.cluster.node(0), &credentials, &tickets)).await?;
        assert!(again.is_err(), "let in");
        let refused = |c: &Cluster| c.node(0).metric(REFUSED) == f64::from(attempt);
        mesh.cluster.wait_until("it is refused", LIMIT, refused).await?;
    }
    Ok(())
}
