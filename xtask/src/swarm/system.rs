//! The systems that are compared: how an agent of each is started, told things, and read.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::language::Language;
use super::network::{Network, Side};
use crate::node::NODE;
use crate::process::{stdout_of, workspace_root};

const CLI: &str = "omnirelay";
const SERF: &str = "serf";

/// Ports, the same at every agent's own address: the defaults of each system.
const GOSSIP_PORT: u16 = 17421;
const CONTROL_PORT: u16 = 17420;
const SERF_PORT: u16 = 7946;
const SERF_RPC_PORT: u16 = 7373;

/// Lists of revoked certificates, each to replace the one before: nobody's, all first ones, and the last agent's second one
/// besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revoked {
    Nobody,
    Old,
    OldAndLast,
}

impl Revoked {
    const fn file(self) -> &'static str {
        match self {
            Self::Nobody => "revoked-0.crl",
            Self::Old => "revoked-1.crl",
            Self::OldAndLast => "revoked-2.crl",
        }
    }
}

/// The agent that gets new lists of revoked certificates; the others hear of them from it.
const LISTED: usize = 0;

/// The list that it reads.
const LIST: &str = "revoked.crl";

/// One agent: a process that runs or may run.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    /// Which half of the mesh it is in, for partitions.
    pub(crate) side: Side,
}

/// Which system, and what starting it takes.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Ours, with certificates for every agent and an operator.
    OmniRelay { node: PathBuf, cli: PathBuf },
    /// Serf with its LAN profile.
    Serf { program: PathBuf },
}

/// A system that agents are started of, and the folder with what they need.
#[derive(Debug)]
pub(crate) struct System {
    kind: Kind,
    agents: Vec<Agent>,
    network: Network,
    folder: TempDir,
}

impl System {
    /// Prepares `count` agents of ours, run by the binary at `node`, which has the command line tool beside it.
    ///
    /// # Errors
    /// A binary is missing, or the certificates cannot be made.
    pub(crate) fn omnirelay(node: &Path, count: usize, network: Network) -> anyhow::Result<Self> {
        let cli = node.with_file_name(CLI);
        ensure!(cli.is_file(), "no binary at `{}`, beside {NODE}", cli.display());
        let folder = TempDir::with_prefix("omnirelay-swarm-").context("cannot make a folder for certificates")?;
        let mut prepare = Command::new(node);
        prepare.args(["dev", "--nodes", &count.to_string(), "--prepare"]).arg(folder.path());
        prepare.args(["--rehearse", &last_of(count)]);
        stdout_of(&mut prepare)?;
        let names = certified(folder.path())?;
        ensure!(names.len() == count, "{} certificates were made, not {count}", names.len());
        let kind = Kind::OmniRelay { node: node.to_owned(), cli };
        let system = Self { kind, agents: agents(names), network, folder };
        system.revoke(Revoked::Nobody)?;
        Ok(system)
    }

    /// Gives an agent its second certificate, as who renews one does: the key, then the certificate.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(crate) fn renew(&self, agent: usize) -> anyhow::Result<()> {
        let name = &self.agents[agent].name;
        ["key", "pem"].iter().try_for_each(|ending| {
            let file = format!("{name}.{ending}");
            self.replace(&Path::new("renewed").join(&file), &file)
        })
    }

    /// Gives one agent a new list of revoked certificates.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn revoke(&self, revoked: Revoked) -> anyhow::Result<()> {
        self.replace(Path::new(revoked.file()), LIST)
    }

    /// Puts a copy of `new` in the place of `old`, at once.
    fn replace(&self, new: &Path, old: &str) -> anyhow::Result<()> {
        let beside = self.folder.path().join(format!("{old}.new"));
        std::fs::copy(self.folder.path().join(new), &beside)
            .with_context(|| format!("cannot copy {}", new.display()))?;
        std::fs::rename(&beside, self.folder.path().join(old)).with_context(|| format!("cannot replace {old}"))
    }

    /// Prepares `count` agents of Serf.
    ///
    /// # Errors
    /// There is no room for logs.
    pub(crate) fn serf(program: PathBuf, count: usize, network: Network) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("serf-swarm-").context("cannot make a folder for logs")?;
        let names = (1..=count).map(|number| format!("node-{number:03}")).collect();
        Ok(Self { kind: Kind::Serf { program }, agents: agents(names), network, folder })
    }

    pub(crate) const fn title(&self) -> &'static str {
        match self.kind {
            Kind::OmniRelay { .. } => "omnirelay",
            Kind::Serf { .. } => "serf",
        }
    }

    pub(crate) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// Returns where an agent logs to.
    pub(crate) fn log(&self, agent: usize) -> PathBuf {
        self.folder.path().join(format!("{}.log", self.agents[agent].name))
    }

    /// Returns the command that starts an agent, to join through `seeds`.
    pub(crate) fn agent_command(&self, agent: usize, seeds: &[usize]) -> Command {
        let Agent { name, ip, side } = &self.agents[agent];
        let seeds = |port| seeds.iter().map(move |seed| SocketAddrV4::new(self.agents[*seed].ip, port).to_string());
        let file = |ending: &str| self.folder.path().join(format!("{name}.{ending}"));
        let mut command;
        match &self.kind {
            Kind::OmniRelay { node, .. } => {
                command = Command::new(node);
                command.args(["run", "--events", "jsonl", "--log-filter", "warn"]);
                command.arg("--certificate").arg(file("pem")).arg("--key").arg(file("key"));
                command.arg("--trust-bundle").arg(self.folder.path().join("ca.pem"));
                command.args(["--bind-address", &ip.to_string(), "--port", &GOSSIP_PORT.to_string()]);
                command.args(["--control-address", &SocketAddrV4::new(*ip, CONTROL_PORT).to_string()]);
                if agent == LISTED {
                    let list = self.folder.path().join(LIST);
                    command.arg(format!("--set=mesh.gossip.tls.certificateRevocationList={}", list.display()));
                }
                command.args(["--seed-peers", &seeds(GOSSIP_PORT).collect::<Vec<_>>().join(",")]);
            }
            Kind::Serf { program } => {
                command = Command::new(program);
                command.args(["agent", "-profile=lan", "-log-level=info", &format!("-node={name}")]);
                command.arg(format!("-bind={}", SocketAddrV4::new(*ip, SERF_PORT)));
                command.arg(format!("-rpc-addr={}", SocketAddrV4::new(*ip, SERF_RPC_PORT)));
                command.args(seeds(SERF_PORT).map(|seed| format!("-join={seed}")));
            }
        }
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| configures(&variable.to_string_lossy())) {
            command.env_remove(variable);
        }
        if self.network == Network::Own {
            // Packets of a half are known by the group of the process that sent them.
            command.gid(side.group());
        }
        command
    }

    /// Returns the command by which an operator makes an agent say something new of itself.
    pub(crate) fn update_command(&self, agent: usize, value: usize) -> Command {
        let ip = self.agents[agent].ip;
        let file = |name: &str| self.folder.path().join(name);
        match &self.kind {
            Kind::OmniRelay { cli, .. } => {
                let mut command = Command::new(cli);
                command.arg("--endpoint").arg(format!("https://{}", SocketAddrV4::new(ip, CONTROL_PORT)));
                command.arg("--cert").arg(file("operator.pem")).arg("--key").arg(file("operator.key"));
                command.arg("--ca").arg(file("ca.pem"));
                command.args(["mesh", "peers", "label", "self", &format!("n={value}")]);
                command
            }
            Kind::Serf { program } => {
                let mut command = Command::new(program);
                command.arg("tags").arg(format!("-rpc-addr={}", SocketAddrV4::new(ip, SERF_RPC_PORT)));
                command.arg("-set").arg(format!("n={value}"));
                command
            }
        }
    }

    /// Returns the signal at which an agent says goodbye and ends.
    pub(crate) const fn goodbye(&self) -> Signal {
        match self.kind {
            Kind::OmniRelay { .. } => Signal::SIGTERM,
            Kind::Serf { .. } => Signal::SIGINT,
        }
    }

    /// Returns how the agents' lines are read.
    pub(crate) fn language(&self) -> Language {
        let names = self.agents.iter().map(|agent| agent.name.clone());
        match self.kind {
            Kind::OmniRelay { .. } => Language::omnirelay(names),
            Kind::Serf { .. } => Language::serf(names),
        }
    }
}

/// Places the agents alternately at 127.1.0.x and 127.1.1.x: any number of the first of them falls into two halves, and
/// the first two are seeds of one half each.
fn agents(names: Vec<String>) -> Vec<Agent> {
    let place = |(number, name): (usize, String)| {
        let side = if number.is_multiple_of(2) { Side::A } else { Side::B };
        let last = u8::try_from(number / 2 + 1).unwrap_or(u8::MAX);
        Agent { name, ip: Ipv4Addr::new(127, 1, side.octet(), last), side }
    };
    names.into_iter().enumerate().map(place).collect()
}

/// Returns the name that `omnirelay-node dev` gives to the last of `count` nodes.
fn last_of(count: usize) -> String {
    match u8::try_from(count) {
        Ok(few @ 1..=26) => format!("node-{}", char::from(b'a' + few - 1)),
        _ => format!("node-{count:03}"),
    }
}

/// Returns the names of those with a certificate in `folder`, the operator aside.
fn certified(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).context("cannot list the certificates")? {
        let path = entry.context("cannot list the certificates")?.path();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let is_agents = path.extension().is_some_and(|ending| ending == "key");
        names.extend(stem.filter(|stem| is_agents && stem != "operator"));
    }
    names.sort();
    Ok(names)
}

/// Tells whether a variable would change the configuration of an agent.
fn configures(variable: &str) -> bool {
    variable.starts_with("OMNIRELAY_") || variable.starts_with("MESH_GOSSIP__")
}

/// Returns the node's binary: the one given, or the static one in dist/.
///
/// # Errors
/// It is not there.
pub(crate) fn static_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => std::env::current_dir().context("cannot tell the current folder")?.join(path),
        None => workspace_root().join("dist").join(NODE),
    };
    ensure!(path.is_file(), "no binary at `{}`; `cargo xtask dist` makes dist/{NODE}", path.display());
    Ok(path)
}

/// Returns where Serf is installed.
///
/// # Errors
/// It is not; says how to get it.
pub(crate) fn find_serf() -> anyhow::Result<PathBuf> {
    crate::doctor::find(SERF).context("serf is not installed: apt-get install --no-install-recommends serf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_agent_is_named_as_the_node_names_it() {
        assert_eq!([3, 26, 27, 200].map(last_of), ["node-c", "node-z", "node-027", "node-200"]);
    }

    #[test]
    fn agents_fall_into_two_halves_with_an_address_each() {
        let placed = agents(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let shown: Vec<_> = placed.iter().map(|agent| (agent.ip.to_string(), agent.side)).collect();
        let expected = [("127.1.0.1", Side::A), ("127.1.1.1", Side::B), ("127.1.0.2", Side::A)];
        assert_eq!(shown, expected.map(|(ip, side)| (ip.to_owned(), side)));
    }
}
