//! The command line.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mesh_types::Role;

use crate::duration::parse_duration;
use crate::endpoint::Endpoint;
use crate::labels::LabelChange;
use crate::rpc::{CallArgs, ViaArgs};

const EXAMPLES: &str = "Examples:
  omnirelay mesh peers list
  omnirelay mesh peers list -o wide --status suspect
  omnirelay mesh peers list -o json --watch | jq .peers

Exit codes: 0 done, 1 it failed, 2 it was called wrongly.";

const LABEL_EXAMPLES: &str = "Examples:
  omnirelay mesh peers label self rack=r2
  omnirelay --endpoint https://node-b:17420 mesh peers label node-b rack=r2 canary-

The certificate must be of the role `operator`, or the node's own.";

const LIFECYCLE_EXAMPLES: &str = "Examples:
  omnirelay --endpoint https://node-b:17420 mesh peers drain node-b
  omnirelay mesh peers uncordon self

The certificate must be of the role `operator`, or the node's own. A restart of the node forgets it.";

const DRAIN_EXAMPLES: &str = "Examples:
  omnirelay --endpoint https://node-b:17420 mesh peers drain node-b --wait
  omnirelay mesh peers drain self --within 2m

The certificate must be of the role `operator`, or the node's own. A restart of the node forgets it.";

const UPGRADE_EXAMPLES: &str = "Examples:
  omnirelay --endpoint https://node-b:17420 mesh upgrade drain node-b --within 2m --reason 'new kernel' --wait
  omnirelay --endpoint https://node-b:17420 mesh upgrade status
  omnirelay --endpoint https://node-b:17420 mesh upgrade resume node-b

The certificate must be of the role `operator`, or the node's own. A restart of the node forgets it.";

const REQUEST_EXAMPLES: &str = "Examples:
  omnirelay request greeter hello --via http://127.0.0.1:17422 -d '{\"name\":\"Ada\"}'
  omnirelay request greeter hello --via https://node-b:17430 --wire http -i
  OMNIRELAY_VIA=unix:/run/node.sock omnirelay request blobs put --encoding raw --data-file picture.png

Exit codes: 0 done, 1 the call failed, 2 it was called wrongly.";

const BENCHMARK_EXAMPLES: &str = "Examples:
  export OMNIRELAY_VIA=http://127.0.0.1:17422
  omnirelay benchmark greeter hello -c 64 --duration 30s
  omnirelay benchmark greeter hello -n 10000 -o json
  omnirelay benchmark greeter hello --rate 500

With --rate, latencies count from when a call was due, not from when a caller was free for it.
Exit codes: 0 all calls went well, 1 some failed, 2 it was called wrongly.";

/// Looks into an OmniRelay mesh, through the control endpoint of one of its nodes.
#[derive(Debug, Parser)]
#[command(name = "omnirelay", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the node and how to write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Control endpoint of a node; plain http:// to loopback addresses only
    #[arg(long, global = true, env = "OMNIRELAY_ENDPOINT", value_name = "URL", default_value = Endpoint::DEFAULT)]
    pub(crate) endpoint: Endpoint,
    /// Our certificate, PEM
    #[arg(long, global = true, env = "OMNIRELAY_CERT", value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of our certificate, PEM
    #[arg(long, global = true, env = "OMNIRELAY_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Certificates of the CAs that vouch for the nodes, PEM
    #[arg(long, global = true, env = "OMNIRELAY_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Longest wait for an answer
    #[arg(long, global = true, env = "OMNIRELAY_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// When to colour; auto is on a terminal unless `NO_COLOR` is set
    #[arg(long, global = true, env = "OMNIRELAY_COLOR", value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The mesh and its members
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// Show what a listener for calls serves, and whom it calls
    #[command(after_help = "Example:\n  omnirelay introspect --via http://127.0.0.1:17422 | jq .outbounds")]
    Introspect(ViaArgs),
    /// Make one call to a service of the mesh
    #[command(after_help = REQUEST_EXAMPLES)]
    Request(Request),
    /// Call a service of the mesh again and again, and show how long that took
    #[command(after_help = BENCHMARK_EXAMPLES)]
    Benchmark(Benchmark),
    /// Run a node: `omnirelay-node run`, from beside this program or PATH, with all that follows
    #[command(after_help = "Example:\n  omnirelay serve --config node.toml")]
    Serve {
        /// Arguments of `omnirelay-node run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<OsString>,
    },
    /// Configurations of a node, by the `omnirelay-node` that is beside this program or on PATH
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  source <(omnirelay completions bash)")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration and its certificate: whether a node would start with it, and everything that is wrong
    Validate {
        /// Configuration files; a later one covers an earlier one. The environment covers them all
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Set one key, such as `mesh.gossip.interval=500ms`
        #[arg(long = "set", value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Write a configuration file to start from: every setting with its default
    Scaffold,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// Show status, headers and trailers on standard error
    #[arg(short, long)]
    pub(crate) include: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Benchmark {
    #[command(flatten)]
    pub(crate) call: CallArgs,
    /// Callers at once
    #[arg(short, long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How long calls begin [default: 10s, without --requests]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How many calls there are
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Calls that begin in a second, over all callers; as many as there can be unless set
    #[arg(long, value_name = "NUMBER")]
    pub(crate) rate: Option<NonZeroU32>,
    /// How to write the report
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: LabelFormat,
}

impl Benchmark {
    /// How long calls begin unless something else is said.
    pub(crate) const DURATION: Duration = Duration::from_secs(10);
}

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    /// The members of the mesh
    #[command(subcommand)]
    Peers(PeersCommand),
    /// Empty a node before it is replaced
    #[command(subcommand)]
    Upgrade(UpgradeCommand),
    /// Configurations of a node, as `omnirelay config`
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UpgradeCommand {
    /// Show how far the node at the endpoint is emptied
    #[command(after_help = UPGRADE_EXAMPLES)]
    Status {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: LabelFormat,
    },
    /// Empty the node at the endpoint: no new work, and what it has is to end
    #[command(after_help = UPGRADE_EXAMPLES)]
    Drain(UpgradeDrain),
    /// Give the node at the endpoint work again
    #[command(after_help = UPGRADE_EXAMPLES)]
    Resume(UpgradeTarget),
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeTarget {
    /// Which node; the one at the endpoint must be this one, `self` takes any
    #[arg(value_name = "NODE|self", default_value = "self")]
    pub(crate) node: String,
    /// How to write what the node says then
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: LabelFormat,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeDrain {
    #[command(flatten)]
    pub(crate) target: UpgradeTarget,
    #[command(flatten)]
    pub(crate) terms: DrainTerms,
    /// Why, for whoever looks
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// How a drain ends.
#[derive(Debug, Args)]
pub(crate) struct DrainTerms {
    /// How long calls under way may take before they are cut off [default: the node's, 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) within: Option<Duration>,
    /// Return when the node is empty, and say what was cut off
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// List the members as one node sees them
    #[command(after_help = EXAMPLES)]
    List(List),
    /// Change labels of the node at the control endpoint
    #[command(after_help = LABEL_EXAMPLES)]
    Label(Label),
    /// Give the node at the control endpoint no new work, and let what it has end or go elsewhere
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(Drain),
    /// Give the node at the control endpoint no new work; what it has stays
    #[command(after_help = LIFECYCLE_EXAMPLES)]
    Cordon(Cordon),
    /// Give the node at the control endpoint work again, after a drain or a cordon
    #[command(after_help = LIFECYCLE_EXAMPLES)]
    Uncordon(Lifecycle),
}

#[derive(Debug, Args)]
pub(crate) struct Lifecycle {
    /// Which node; the one at the endpoint must be this one, `self` takes any
    #[arg(value_name = "NODE|self")]
    pub(crate) node: String,
    /// How to write what the node says then
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: LabelFormat,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) lifecycle: Lifecycle,
    #[command(flatten)]
    pub(crate) terms: DrainTerms,
}

#[derive(Debug, Args)]
pub(crate) struct Cordon {
    #[command(flatten)]
    pub(crate) lifecycle: Lifecycle,
    /// Return when no call is under way
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How to write the members
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// Only members of this status
    #[arg(long)]
    pub(crate) status: Option<Status>,
    /// Only members of this role
    #[arg(long)]
    pub(crate) role: Option<Role>,
    /// Keep watching until Ctrl-C: redraw a terminal, or write once more to a pipe after each change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How often --watch asks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Whose labels; the node at the endpoint must be this one, `self` takes any
    #[arg(value_name = "NODE|self")]
    pub(crate) node: String,
    /// `key=value` sets a label, `key-` removes one; the others stay
    #[arg(value_name = "KEY=VALUE|KEY-", required = true)]
    pub(crate) changes: Vec<LabelChange>,
    /// How to write the labels that the node has then
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: LabelFormat,
}

/// How to write what a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabelFormat {
    /// For people, and for pipes: `key=value`, a line a label; node and lifecycle on one line
    Text,
    /// The answer of the control API as it is
    Json,
}

/// How to write members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line a member, the columns people ask for
    Table,
    /// A line a member, all columns
    Wide,
    /// The answer of the control API as it is; with --watch into a pipe one line a change
    Json,
}

/// A member's status, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// It answers
    Alive,
    /// It does not answer, and may come back
    Suspect,
    /// It is dead or has said goodbye
    Left,
}

impl Status {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Alive => "Alive",
            Self::Suspect => "Suspect",
            Self::Left => "Left",
        }
    }
}
