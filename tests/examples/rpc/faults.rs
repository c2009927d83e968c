//! What is promised when something breaks, between processes.

mod drain;
mod fleet;
mod loss;
mod network;
mod peers;
mod restart;
mod rotation;
mod storm;
mod udp;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use grpc_client_factory::{Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target};
use identity::{CredentialSource, ExpectedPeer};
use tonic::Status;

pub(crate) use network::Network;

use crate::calls::{Carrier, carrier};
use crate::certificates::Certificates;
use crate::load::Caller;
use crate::pairs;
use crate::process::Process;
use crate::report::Report;
use crate::serve::Kind;

/// The parts of a run, in order; and whether they drop packets.
const PARTS: [(&str, bool); 8] = [
    ("calls", false),
    ("udp", true),
    ("restart", false),
    ("drain", false),
    ("rotation", false),
    ("storm", true),
    ("loss", true),
    ("fleet", false),
];

/// Name of the profile that all calls are made with.
const PROFILE: &str = "hold";

/// Holds both halves to what is promised: all parts, or `only` one.
pub(crate) async fn run(network: Network, only: Option<&str>) -> anyhow::Result<ExitCode> {
    ensure!(only.is_none_or(|only| PARTS.iter().any(|(part, _)| *part == only)), "there is no such part");
    let mut report = Report::default();
    for (part, drops) in PARTS {
        if only.is_some_and(|only| only != part) {
            continue;
        }
        if drops && network == Network::Shared {
            println!("\n{part}: left out, packets are dropped in a network namespace of its own only");
            continue;
        }
        println!("\n{part}");
        hold(part, &mut report).await.with_context(|| format!("{part} has not come to its end"))?;
    }
    Ok(report.conclude())
}

async fn hold(part: &str, report: &mut Report) -> anyhow::Result<()> {
    match part {
        "calls" => pairs::hold(report).await,
        "udp" => udp::hold(report).await,
        "restart" => restart::hold(report).await,
        "drain" => drain::hold(report).await,
        "rotation" => rotation::hold(report).await,
        "storm" => storm::hold(report).await,
        "fleet" => fleet::hold(report).await,
        _ => loss::hold(report).await,
    }
}

/// A server in a process of its own, and a factory of a client.
struct Pair {
    certificates: Certificates,
    server: Process,
    factory: ClientFactory,
}

/// The control-plane profile, without second attempts: each call that fails shows.
fn profile(mode: Http3Mode) -> Profile {
    let mut profile = Profile::control_plane();
    (profile.http3.mode, profile.retry.max_attempts) = (mode, 1);
    profile
}

fn factory(credentials: Arc<dyn CredentialSource>, profile: Profile) -> anyhow::Result<ClientFactory> {
    let profiles = HashMap::from([(PROFILE.to_owned(), profile)]);
    Ok(ClientFactory::new(credentials, FactoryOptions { profiles, ..FactoryOptions::default() })?)
}

fn channel(factory: &ClientFactory, address: SocketAddr) -> anyhow::Result<Channel> {
    let target = Target::new(address.into(), ExpectedPeer::Node("server".parse()?));
    Ok(factory.channel(&target, PROFILE)?)
}

impl Pair {
    async fn start(profile: Profile) -> anyhow::Result<Self> {
        let certificates = Certificates::new()?;
        certificates.issue("server")?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Process::start(Kind::Ours, any, 1, certificates.folder()).await?;
        let factory = factory(certificates.issue("client")?, profile)?;
        Ok(Self { certificates, server, factory })
    }

    fn carrier(&self) -> anyhow::Result<Carrier> {
        Ok(carrier(channel(&self.factory, self.server.address)?))
    }

    fn caller(&self, name: &'static str, deadline: Duration) -> anyhow::Result<Caller> {
        Ok(Caller::new(name, self.carrier()?, Some(deadline)))
    }

    /// Kills the server and starts it again where it was, `pause` later.
    async fn restart(self, pause: impl Future<Output = ()>) -> anyhow::Result<Self> {
        let Self { certificates, server, factory } = self;
        let address = server.address;
        server.kill().await?;
        pause.await;
        let back = Process::start(Kind::Ours, address, 1, certificates.folder()).await?;
        Ok(Self { certificates, server: back, factory })
    }

    /// Holds that no call was executed twice.
    async fn executed_once(&mut self, what: &str, report: &mut Report) -> anyhow::Result<()> {
        let twice = self.server.tell("twice").await?;
        report.figure(&format!("{what}: calls executed twice"), &twice, "0", twice == "0");
        Ok(())
    }
}

/// Returns what is said of a figure in milliseconds.
fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Takes down a time that is at most `limit`; one that is missing breaks it.
fn at_most(report: &mut Report, what: &str, time: Option<Duration>, limit: Duration) {
    let shown = time.map_or_else(|| "never".to_owned(), ms);
    report.figure(what, &shown, &format!("at most {}", ms(limit)), time.is_some_and(|time| time <= limit));
}

/// Takes down that nothing has failed.
fn none_failed(report: &mut Report, what: &str, calls: usize, failed: usize) {
    report.figure(&format!("{what}: failed of {calls} calls"), &failed.to_string(), "0", failed == 0 && calls > 0);
}

fn first_error(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{:?}: {}", status.code(), status.message())
}
