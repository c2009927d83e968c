//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Key, PrintFormat, Sources, flag_keys as keys};
use crate::events::EventsFormat;

/// A node of the OmniRelay service mesh.
#[derive(Debug, Parser)]
#[command(name = "omnirelay-node", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Without a command the node runs.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node until SIGTERM or SIGINT; a second signal stops it at once.
    Run(RunArgs),
    /// Start a mesh of nodes on this machine, with throwaway certificates, and watch it.
    Dev(DevArgs),
    /// Show every setting, its value and where it was set.
    PrintConfig(PrintConfigArgs),
    /// Explain every setting there is, as Markdown: variable, unit, default, what is valid, which way to turn it.
    ExplainConfig,
    /// Check the configuration and its certificate; exit with 0 if a node would start with it.
    CheckConfig(ConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Write membership events to standard output as they come; logs stay on standard error.
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "dev_child")]
    pub(crate) events: Option<EventsFormat>,
    /// Run as a child of `dev`: report addresses on standard output, stop when standard input closes.
    #[arg(long, hide = true)]
    pub(crate) dev_child: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PrintConfigArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: PrintFormat,
}

/// Where the configuration comes from. Later wins: files, environment, `--set`, named flags.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Read a TOML configuration file; may be given again, a later file covers an earlier one.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set one key, such as `mesh.gossip.interval=500ms`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    assignments: Vec<String>,
    /// Name of this node [mesh.gossip.nodeId].
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Cluster of this node [mesh.gossip.clusterId].
    #[arg(long, value_name = "NAME")]
    cluster_id: Option<String>,
    /// Role of this node [mesh.gossip.role].
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Address that gossip listens on [mesh.gossip.bindAddress].
    #[arg(long, value_name = "IP")]
    bind_address: Option<String>,
    /// UDP port that gossip listens on, 0 for any [mesh.gossip.port].
    #[arg(long)]
    port: Option<String>,
    /// Members to join through, separated by commas [mesh.gossip.seedPeers].
    #[arg(long, value_name = "HOST:PORT,…")]
    seed_peers: Option<String>,
    /// Certificate chain of this node [mesh.gossip.tls.certificate].
    #[arg(long, value_name = "PEM")]
    certificate: Option<String>,
    /// Private key of the certificate [mesh.gossip.tls.key].
    #[arg(long, value_name = "PEM")]
    key: Option<String>,
    /// CA certificates that this node trusts [mesh.gossip.tls.trustBundle].
    #[arg(long, value_name = "PEM")]
    trust_bundle: Option<String>,
    /// Address and port of the control API [control.address].
    #[arg(long, value_name = "IP:PORT")]
    control_address: Option<String>,
    /// How log lines are written: text or json [log.format].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Which log events are written, such as `info,gossip=debug` [log.filter].
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// How many nodes to start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) nodes: u8,
    /// Stop once all nodes have found each other.
    #[arg(long)]
    pub(crate) once: bool,
    /// With `--once`: print `{"nodes":…,"discovery_ms":…,"members":[…]}` and nothing else.
    #[arg(long, requires = "once")]
    pub(crate) json: bool,
    /// How many calls a second go to a service that each node has; 0 for none. One of ten may be executed once only.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) calls_per_second: u16,
    /// Serve the control API over mutual TLS too, as outside of `dev`.
    #[arg(long)]
    pub(crate) tls_control: bool,
    /// Start nothing: write the throwaway certificates into this folder, for nodes that you start yourself.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["once", "tls_control", "calls_per_second"])]
    pub(crate) prepare: Option<PathBuf>,
    /// With `--prepare`: write what a change of certificates takes, too, new ones and lists that revoke the old ones, and
    /// then the new one of this node.
    #[arg(long, value_name = "NODE", requires = "prepare")]
    pub(crate) rehearse: Option<String>,
}

impl ConfigArgs {
    /// Returns the sources of the configuration, with the environment as given.
    pub(crate) fn sources(
        self,
        variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Sources {
        let flags: [(&'static str, &'static Key, Option<String>); 12] = [
            ("--node-id", keys::NODE_ID, self.node_id),
            ("--cluster-id", keys::CLUSTER_ID, self.cluster_id),
            ("--role", keys::ROLE, self.role),
            ("--bind-address", keys::BIND_ADDRESS, self.bind_address),
            ("--port", keys::PORT, self.port),
            ("--seed-peers", keys::SEED_PEERS, self.seed_peers),
            ("--certificate", keys::CERTIFICATE, self.certificate),
            ("--key", keys::PRIVATE_KEY, self.key),
            ("--trust-bundle", keys::TRUST_BUNDLE, self.trust_bundle),
            ("--control-address", keys::CONTROL_ADDRESS, self.control_address),
            ("--log-format", keys::LOG_FORMAT, self.log_format),
            ("--log-filter", keys::LOG_FILTER, self.log_filter),
        ];
        Sources {
            files: self.files,
            variables: variables.into_iter().collect(),
            assignments: self.assignments,
            flags: flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect(),
        }
    }
}
