//! The node's configuration: defaults < files < environment < `--set` < named flags.
//!
//! No other crate reads configuration; they take `Options` made from this.

mod duration;
mod env;
mod explain;
mod file;
mod gossip_config;
mod keys;
mod origin;
mod print;
mod problem;
mod rpc_config;
mod setting;
mod settings;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gossip::{Amount, Bound, Knob, KnobFacts};
use identity::{CertificateFiles, FileOptions, StaleLists};
use telemetry::LogFormat;

use crate::chain::Chain;

pub(crate) use explain::explain;
pub(crate) use gossip_config::GossipConfig;
pub(crate) use keys::Key;
pub(crate) use print::{PrintFormat, print};
pub(crate) use problem::{ConfigError, Problem};
pub(crate) use rpc_config::RpcConfig;
use setting::Fraction;
pub(crate) use setting::Threads;
use settings::Reader;
pub(crate) use settings::{Settings, Sources};

/// Named flags set these.
pub(crate) mod flag_keys {
    pub(crate) use super::keys::{
        BIND_ADDRESS, CERTIFICATE, CLUSTER_ID, CONTROL_ADDRESS, LOG_FILTER, LOG_FORMAT, NODE_ID, PORT, PRIVATE_KEY,
        ROLE, SEED_PEERS, TRUST_BUNDLE,
    };
}

/// What the configuration is read for, which decides how much of it has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be shown: what is not set may stay unset.
    Show,
    /// To run a node.
    Run,
    /// To run a node of `dev`, whose control endpoint may speak plain HTTP on loopback.
    RunInDev,
}

/// The configuration of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) gossip: GossipConfig,
    pub(crate) tls: TlsConfig,
    pub(crate) control: ControlConfig,
    pub(crate) state: StateConfig,
    pub(crate) rpc: RpcConfig,
    pub(crate) log: LogConfig,
    pub(crate) traces: TracesConfig,
}

/// `traces.*`: where spans go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TracesConfig {
    /// Nowhere without it.
    pub(crate) endpoint: Option<String>,
    /// The mesh's without it.
    pub(crate) trust_bundle: Option<PathBuf>,
    pub(crate) sample_ratio: Fraction,
}

/// `mesh.gossip.tls.*`: the files behind both endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) trust_bundle: Option<PathBuf>,
    pub(crate) revocation_lists: Option<PathBuf>,
    pub(crate) stale_lists: StaleLists,
    pub(crate) reload_interval: Duration,
}

/// `control.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlConfig {
    pub(crate) enabled: bool,
    pub(crate) address: SocketAddr,
    pub(crate) plaintext: bool,
}

/// `state.*`: what outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateConfig {
    /// Nothing outlives it without one.
    pub(crate) directory: Option<PathBuf>,
}

/// `log.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

impl Config {
    /// Reads the configuration from all its sources.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn load(sources: &Sources, purpose: Purpose) -> Result<Self, ConfigError> {
        let (settings, problems) = Settings::gather(sources);
        Self::read(&settings, problems, purpose)
    }

    /// Gives the settings their types. `source_problems` is what is wrong with the sources themselves.
    ///
    /// # Errors
    /// Everything that is wrong, `source_problems` included.
    pub(crate) fn read(
        settings: &Settings,
        source_problems: Vec<Problem>,
        purpose: Purpose,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader { settings, problems: source_problems };
        let config = Self {
            gossip: GossipConfig::read(&mut reader),
            tls: TlsConfig::read(&mut reader),
            control: ControlConfig {
                enabled: reader.value(keys::CONTROL_ENABLED),
                address: reader.value(keys::CONTROL_ADDRESS),
                plaintext: reader.value(keys::CONTROL_PLAINTEXT),
            },
            state: StateConfig { directory: reader.optional(keys::STATE_DIRECTORY) },
            rpc: RpcConfig::read(&mut reader),
            log: LogConfig { format: reader.value(keys::LOG_FORMAT), filter: reader.value(keys::LOG_FILTER) },
            traces: TracesConfig {
                endpoint: reader.optional(keys::TRACES_ENDPOINT),
                trust_bundle: reader.optional(keys::TRACES_TRUST_BUNDLE),
                sample_ratio: reader.value(keys::TRACES_SAMPLE_RATIO),
            },
        };
        let mut problems = reader.problems;
        config.check(settings, purpose, &mut problems);
        problems.extend(gossip_config::out_of_range(settings));
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Returns the texts that those who are to use them refuse.
    fn unusable(&self, settings: &Settings) -> impl Iterator<Item = Problem> {
        let unfit = |key: &'static Key, error: &dyn std::error::Error| {
            let (origin, reason) = (settings.origin(key), Chain(error).to_string());
            Problem::Unfit { origin, key: key.path, reason }
        };
        let filter = telemetry::check_filter(&self.log.filter).err().map(|error| unfit(keys::LOG_FILTER, &error));
        let collector = self.traces.endpoint.as_deref().and_then(|endpoint| telemetry::check_collector(endpoint).err());
        filter.into_iter().chain(collector.map(|error| unfit(keys::TRACES_ENDPOINT, &error)))
    }

    /// Adds what is wrong with values that are each valid.
    fn check(&self, settings: &Settings, purpose: Purpose, problems: &mut Vec<Problem>) {
        problems.extend(self.tls.out_of_range(settings));
        problems.extend(self.rpc.out_of_range(settings));
        problems.extend(self.unusable(settings));
        if purpose == Purpose::Show {
            return;
        }
        if !self.gossip.enabled && !self.control.enabled {
            problems.push(Problem::NothingEnabled);
        }
        let allowed = purpose == Purpose::RunInDev && self.control.address.ip().is_loopback();
        if self.control.enabled && self.control.plaintext && !allowed {
            problems.push(Problem::Plaintext { origin: settings.origin(keys::CONTROL_PLAINTEXT) });
        }
        let needs_address =
            [(keys::RPC_LOCAL, self.rpc.local.is_some()), (keys::RPC_SERVICES, !self.rpc.services.is_empty())];
        for (key, _) in needs_address.into_iter().filter(|(_, is_set)| *is_set && self.rpc.address.is_none()) {
            let reason = "it needs `rpc.address`, by which calls come and go".to_owned();
            problems.push(Problem::Unfit { origin: settings.origin(key), key: key.path, reason });
        }
        let tls = [
            (keys::CERTIFICATE, "the PEM file of this node's certificate chain"),
            (keys::PRIVATE_KEY, "the PEM file of the certificate's private key"),
            (keys::TRUST_BUNDLE, "the PEM file of the CA certificates that this node trusts"),
        ];
        for (key, what) in tls {
            if !settings.is_set(key) {
                problems.push(Problem::Missing { key: key.path, what });
            }
        }
    }
}

impl TlsConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            certificate: reader.optional(keys::CERTIFICATE),
            key: reader.optional(keys::PRIVATE_KEY),
            trust_bundle: reader.optional(keys::TRUST_BUNDLE),
            revocation_lists: reader.optional(keys::REVOCATION_LISTS),
            stale_lists: match reader.value(keys::REFUSE_OVERDUE_LISTS) {
                true => StaleLists::Refuse,
                false => StaleLists::Keep,
            },
            reload_interval: reader.value(keys::CERTIFICATE_RELOAD_INTERVAL),
        }
    }

    /// Returns the files of a configuration that was loaded to run, and how they are watched.
    pub(crate) fn files(&self) -> FileOptions {
        let file = |path: &Option<PathBuf>| path.clone().expect("a configuration to run with names its certificate");
        let files = CertificateFiles {
            certificate: file(&self.certificate),
            key: file(&self.key),
            trust_bundle: file(&self.trust_bundle),
        };
        FileOptions {
            revocation_lists: self.revocation_lists.clone(),
            stale_lists: self.stale_lists,
            reread_every: self.reload_interval,
            ..FileOptions::new(files)
        }
    }

    const RELOAD_INTERVAL: Knob<Self> = Knob {
        option: "certificateReloadInterval",
        value: |tls| Amount::Time(tls.reload_interval),
        least: Bound::Is(Amount::secs(2)),
        most: Bound::Is(Amount::secs(24 * 3600)),
        turn: "How often the files are read even if nothing says that they have changed; it is looked for changes every 2 s. \
               Shorter is for file systems whose times are not to be relied on.",
    };

    /// Returns what is to be known of the settings that have a range, with their defaults.
    fn knobs() -> [KnobFacts; 1] {
        let settings = Settings::gather(&Sources::default()).0;
        [Self::RELOAD_INTERVAL.facts(&Self::read(&mut Reader { settings: &settings, problems: Vec::new() }))]
    }

    fn out_of_range(&self, settings: &Settings) -> Option<Problem> {
        let key = keys::CERTIFICATE_RELOAD_INTERVAL;
        let error = Self::RELOAD_INTERVAL.check(self).err()?;
        let (origin, valid) = (settings.origin(key), format!("{} is valid", error.valid));
        Some(Problem::WrongValue { origin, key: key.path.to_owned(), found: error.value, valid })
    }
}
