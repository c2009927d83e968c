//! A process of many servers, each a node of its own, that turn slow or fail when they are told to.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use identity::{CertificateFiles, Credentials};
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use peers_core::Entropy;
use test_authority::wall_clock;
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::service::Routes;

use crate::certificates::BUNDLE;
use crate::held::resident_mib;
use crate::serve::next;

/// Mean of the work of a call. As in the simulation of choosers it is log-normal, with a sigma of 1, and one of a server's cores does
/// it; here a server has one core, which has half as much to do as it can at 15 calls a second.
const WORK_MEAN_MS: f64 = 1e3 * 0.5 / 15.0;
const CORES: usize = 1;

/// What a slow server takes of that.
const SLOW: f64 = 10.0;

/// The share of calls that a failing server answers with an error at once.
const FAILING: f64 = 0.9;

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Well,
    /// It takes ten times as long.
    Slow,
    /// Nine calls of ten fail at once.
    Failing,
}

impl Condition {
    const ALL: [Self; 3] = [Self::Well, Self::Slow, Self::Failing];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Slow => "slow",
            Self::Failing => "failing",
        }
    }
}

impl FromStr for Condition {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let named = Self::ALL.into_iter().find(|condition| condition.word() == text);
        named.with_context(|| format!("`{text}` is no condition"))
    }
}

/// Returns the name of the node that is server `number`.
pub(crate) fn name(number: usize) -> String {
    format!("server-{number}")
}

/// What one server does with calls.
#[derive(Debug)]
struct Endpoint {
    calls: AtomicU64,
    condition: AtomicU8,
    chance: Mutex<Entropy>,
    cores: Semaphore,
}

impl Endpoint {
    fn new(number: usize) -> Self {
        Self {
            calls: AtomicU64::new(0),
            condition: AtomicU8::new(Condition::Well as u8),
            chance: Mutex::new(Entropy::seeded(number as u64)),
            cores: Semaphore::new(CORES),
        }
    }

    /// Returns how long a call takes, if it does not fail.
    fn work(&self) -> Option<Duration> {
        let condition = self.condition.load(Ordering::Relaxed);
        let [fate, radius, angle] = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            [(); 3].map(|()| unit(chance.next_u64()))
        };
        if condition == Condition::Failing as u8 && fate < FAILING {
            return None;
        }
        let normal = (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos();
        let factor = if condition == Condition::Slow as u8 { SLOW } else { 1.0 };
        Some(Duration::from_secs_f64(factor * WORK_MEAN_MS * (normal - 0.5).exp() / 1e3))
    }
}

/// Returns a number between 0 and 1, of which neither is reached.
fn unit(bits: u64) -> f64 {
    let high = u32::try_from(bits >> 32).expect("32 of 64 bits");
    (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

/// The servers of this process.
struct Endpoints {
    first: usize,
    all: Vec<Arc<Endpoint>>,
    running: JoinSet<DrainReport>,
}

/// Serves as the nodes `server-FIRST` and those that follow it, at `address` and those that follow it; prints `endpoints at ADDRESS`
/// and then an answer to each command, until the standard input ends.
pub(crate) async fn run(address: SocketAddr, first: usize, count: usize, folder: &Path) -> anyhow::Result<()> {
    let mut endpoints = Endpoints { first, all: Vec::new(), running: JoinSet::new() };
    let (mut at, mut bound) = (address, None);
    for number in first..first + count {
        let here = endpoints.start(number, at, folder).with_context(|| format!("no server {number}"))?;
        bound.get_or_insert(here);
        at = next(here)?;
    }
    println!("endpoints at {}", bound.context("there is nothing to serve")?);
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        println!("{}", endpoints.obey(&command).with_context(|| format!("cannot obey `{command}`"))?);
    }
    Ok(())
}

impl Endpoints {
    fn start(&mut self, number: usize, address: SocketAddr, folder: &Path) -> anyhow::Result<SocketAddr> {
        let file = |ending: &str| folder.join(format!("{}.{ending}", name(number)));
        let files = CertificateFiles { certificate: file("pem"), key: file("key"), trust_bundle: folder.join(BUNDLE) };
        let credentials = Arc::new(Credentials::load(&files, wall_clock())?);
        let server =
            Server::bind(Options { address, udp_buffer_bytes: 128 * 1024, ..Options::default() }, credentials)?;
        let (bound, endpoint) = (server.local_addr(), Arc::new(Endpoint::new(number)));
        let router = Routes::new(EchoServer::new(EchoService::default())).into_axum_router();
        let router = router.layer(from_fn_with_state(Arc::clone(&endpoint), work));
        self.all.push(endpoint);
        self.running.spawn(server.run(router, CancellationToken::new()));
        Ok(bound)
    }

    fn obey(&self, command: &str) -> anyhow::Result<String> {
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["calls"] => {
                let calls = self.all.iter().map(|endpoint| endpoint.calls.load(Ordering::Relaxed).to_string());
                Ok(calls.collect::<Vec<_>>().join(" "))
            }
            ["resident"] => Ok(resident_mib()?.to_string()),
            ["turn", condition, from, to] => {
                let condition: Condition = condition.parse()?;
                for number in from.parse::<usize>()?..to.parse()? {
                    let endpoint = number.checked_sub(self.first).and_then(|index| self.all.get(index));
                    let endpoint = endpoint.with_context(|| format!("no server {number} here"))?;
                    endpoint.condition.store(condition as u8, Ordering::Relaxed);
                }
                Ok("done".to_owned())
            }
            _ => bail!("no such command"),
        }
    }
}

/// Lets a call take its time, or fail.
async fn work(State(endpoint): State<Arc<Endpoint>>, request: Request, next: Next) -> Response {
    endpoint.calls.fetch_add(1, Ordering::Relaxed);
    match endpoint.work() {
        Some(time) => {
            let core = endpoint.cores.acquire().await.expect("nobody closes it");
            sleep_until(Instant::now() + time).await;
            drop(core);
            next.run(request).await
        }
        None => Status::unavailable("the server is ill").into_http(),
    }
}
