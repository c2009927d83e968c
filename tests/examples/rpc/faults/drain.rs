//! Servers that are drained, one after the other, while calls are under way.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use grpc_client_factory::{BalancedOptions, ClientFactory, Http3Mode, Profile};
use identity::ExpectedPeer;
use peers_core::ChooserPorts;
use tokio::task::JoinSet;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::peers::{Peers, peer};
use super::{PROFILE, channel, factory, none_failed, profile};
use crate::calls::{Carrier, carrier};
use crate::certificates::Certificates;
use crate::load::{Caller, Done, Load, Via, failures};
use crate::process::Process;
use crate::report::Report;
use crate::serve::{Kind, STREAMS};

const DRAINS: usize = 3;

/// Calls under way at each drain, over each protocol: more than 10,000 in all.
const HELD: usize = 1_700;

/// Callers that go on calling whichever server takes them.
const OTHERS: usize = 16;

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    certificates.issue("server")?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Process::start(Kind::Ours, any, 1, certificates.folder()).await?);
    }
    let client = certificates.issue("client")?;
    let clients = [(Http3Mode::Only, "held-3", Via::Http3), (Http3Mode::Off, "held-2", Via::Http2)];
    let mut factories = Vec::new();
    for (mode, ..) in clients {
        factories.push(factory(Arc::clone(&client) as _, roomy(mode))?);
    }
    let balancing = factory(client, roomy(Http3Mode::Auto))?;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let others = Caller::new("others", balanced(&balancing, &addresses)?, None);
    let others = Load::closed(&others, OTHERS);
    let (mut held, mut cut_off) = (Vec::new(), Vec::new());
    for _ in 0..DRAINS {
        let mut server = servers.remove(0);
        let mut calls = JoinSet::new();
        for ((_, name, via), factory) in clients.into_iter().zip(&factories) {
            let caller = Caller::new(name, carrier(channel(factory, server.address)?), None);
            for _ in 0..HELD {
                let caller = caller.clone();
                calls.spawn(async move { (via, caller.held().await) });
            }
        }
        server.tell(&format!("running {}", clients.len() * HELD)).await?;
        server.tell("drain").await?;
        server.tell("release").await?;
        held.extend(calls.join_all().await);
        cut_off.push(server.tell("ended").await?);
        let address = server.address;
        server.end().await?;
        servers.push(Process::start(Kind::Ours, address, 1, certificates.folder()).await?);
    }
    let others = others.end().await;
    let by_its_own = held.iter().all(|(via, done)| done.outcome.is_err() || done.is_via(*via));
    report.figure(
        "three drains: calls under way answered by the protocol they came by",
        if by_its_own { "all" } else { "not all" },
        "all",
        by_its_own,
    );
    let held: Vec<Done> = held.into_iter().map(|(_, done)| done).collect();
    none_failed(report, "three drains: under way at the drains", held.len(), failures(&held));
    none_failed(report, "three drains: made meanwhile", others.len(), failures(&others));
    let none_cut = cut_off.iter().all(|said| said == "0 cut off");
    report.figure("three drains: connections cut off", &cut_off.join(", "), "0 each", none_cut);
    let mut twice = 0;
    for server in &mut servers {
        twice += server.tell("twice").await?.parse::<u64>()?;
    }
    report.figure("three drains: calls executed twice by one server", &twice.to_string(), "0", twice == 0);
    Ok(())
}

/// All calls of a drain go by one connection, and wait as long as it takes.
fn roomy(mode: Http3Mode) -> Profile {
    let mut profile = profile(mode);
    (profile.http2.max_streams, profile.http3.max_streams, profile.head_timeout) = (STREAMS, STREAMS, None);
    profile.http2.connection_window = STREAMS * profile.http2.stream_window;
    profile
}

fn balanced(factory: &ClientFactory, addresses: &[SocketAddr]) -> anyhow::Result<Carrier> {
    let mut peers = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        peers.extend(peer(&format!("server-{number}"), *address, BTreeSet::new())?);
    }
    let named = BalancedOptions::named(&"two-random".parse()?, &ChooserPorts::default())?;
    let server: ExpectedPeer = ExpectedPeer::Node("server".parse()?);
    let options = BalancedOptions { profile: PROFILE.to_owned(), expect: Arc::new(move |_| server.clone()), ..named };
    let channel = factory.balanced(&Peers(peers), options)?;
    Ok(Carrier::new(channel.map_response(|response| response.map(Body::new))))
}
