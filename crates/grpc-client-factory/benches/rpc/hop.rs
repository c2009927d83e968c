//! What a call through two nodes costs beside the same call direct, and beside proxies that others have made.

mod folder;
mod nodes;
mod program;
mod proxies;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;

use test_authority::Authority;
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::contest::{KIB, Route, Setting};
use crate::observe::Observed;
use crate::report::Row;
use crate::rounds::{Effort, Entrant, take_turns};
use crate::servers::Servers;
use crate::{ALONE, BoxError};

use folder::Folder;
use nodes::{Carrier, Nodes};
use proxies::{Kind, Proxies};

/// Says that calls go through nodes; where the node's binary is follows.
pub(crate) const FLAG: &str = "--through";
/// Says beside whom: the name of a proxy follows, `=`, and where its binary is. May be there several times.
const VERSUS: &str = "--vs";

const SETTINGS: [Setting; 3] =
    [Setting { bytes: KIB, at_once: 1 }, Setting { bytes: KIB, at_once: 16 }, Setting { bytes: KIB, at_once: 128 }];

/// The programs that are between client and server.
struct Programs {
    node: PathBuf,
    proxies: Vec<(Kind, PathBuf)>,
}

/// Who takes part, and the processes that make it up.
struct Field {
    names: Vec<String>,
    entrants: Vec<Entrant>,
    servers: Servers,
    // Dropped, they end.
    nodes: Vec<Nodes>,
    proxies: Vec<Proxies>,
}

/// Makes the calls on all ways in turns.
///
/// # Errors
/// A program is not there or does not start, or a call fails.
pub(crate) fn rows(args: &[String], runtime: &Runtime, show: impl Fn(&Row)) -> Result<Vec<Row>, BoxError> {
    let programs = Programs::read(args)?;
    let (authority, folder) = (Authority::new()?, Folder::new()?);
    let field = runtime.block_on(Field::of(&programs, &authority, &folder))?;
    if let Some(text) = args.iter().skip_while(|arg| *arg != ALONE).nth(1) {
        let rows = field.alone(text, runtime)?;
        rows.iter().for_each(&show);
        return Ok(rows);
    }
    let mut all = Vec::new();
    for setting in SETTINGS {
        let taken = runtime.block_on(take_turns(&field.entrants, setting, Effort::Measure))?;
        let rows = report::rows(&field.names, setting, &taken);
        rows.iter().for_each(&show);
        all.extend(rows);
    }
    Ok(all)
}

impl Programs {
    fn read(args: &[String]) -> Result<Self, BoxError> {
        let after = |flag: &'static str| {
            args.iter().zip(args.iter().skip(1)).filter_map(move |(arg, next)| (arg == flag).then_some(next))
        };
        let node = after(FLAG).next().ok_or("`--through` is not followed by where the node's binary is")?.into();
        let proxies = after(VERSUS).map(|given| {
            let (name, path) = given.split_once('=').ok_or("`--vs` is not followed by NAME=FILE")?;
            Ok::<_, BoxError>((name.parse()?, path.into()))
        });
        Ok(Self { node, proxies: proxies.collect::<Result<_, _>>()? })
    }
}

impl Field {
    /// Starts everything, and makes the first call on each way.
    async fn of(programs: &Programs, authority: &Authority, folder: &Folder) -> Result<Self, BoxError> {
        let servers = Servers::start(authority, Observed::No)?;
        let direct = Client::connect(Route::Tonic, authority, &servers).await?;
        let mut field =
            Self { names: Vec::new(), entrants: Vec::new(), servers, nodes: Vec::new(), proxies: Vec::new() };
        field.add(report::BASE, direct, Vec::new());
        let application = field.servers.plain;
        for carrier in [Carrier::Http3, Carrier::Http2] {
            let nodes = Nodes::start(&programs.node, carrier, (authority, folder), application)?;
            field.add(carrier.title(), Client::plain(nodes.entry).await?, nodes.processes()?);
            field.nodes.push(nodes);
        }
        for (kind, path) in &programs.proxies {
            let proxies = Proxies::start(*kind, path, (authority, folder), application)?;
            // Their processes make others: all are there when a call has passed.
            let client = Client::plain(proxies.entry).await?;
            field.add(kind.name(), client, proxies.processes()?);
            field.proxies.push(proxies);
        }
        Ok(field)
    }

    /// Makes the calls of those ways and settings whose titles have `text` in them, one after the other: for who wants to look at one with a
    /// profiler.
    fn alone(&self, text: &str, runtime: &Runtime) -> Result<Vec<Row>, BoxError> {
        let mut all = Vec::new();
        for (setting, (name, entrant)) in
            SETTINGS.iter().flat_map(|setting| self.names.iter().zip(&self.entrants).map(move |way| (*setting, way)))
        {
            if report::title(setting, name).contains(text) {
                let taken = runtime.block_on(take_turns(std::slice::from_ref(entrant), setting, Effort::Measure))?;
                all.extend(report::rows(std::slice::from_ref(name), setting, &taken));
            }
        }
        Ok(all)
    }

    fn add(&mut self, name: &str, client: Client, between: Vec<Vec<u32>>) {
        self.names.push(name.to_owned());
        let ends = [vec![std::process::id()], vec![self.servers.process()]];
        self.entrants.push(Entrant { client, processes: ends.into_iter().chain(between).collect() });
    }
}

/// Returns an address of loopback at which nobody listens.
fn free_address() -> Result<SocketAddr, BoxError> {
    Ok(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
