//! The settings of calls between applications, and how the client factory makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;

use dispatcher::{LocalApp, LocalEndpoint, ServiceName};
use grpc_client_factory::{HealthCheckOptions, HedgedMethods, HedgingOptions, Profile, ProfileError};
use peers_core::ChooserSpec;

use super::keys::{self, Key};
use super::problem::Problem;
use super::setting::Threads;
use super::settings::{Reader, Settings, show};

/// `rpc.*`: calls between applications.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcConfig {
    /// None are taken without it.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) advertise_port: Option<NonZeroU16>,
    pub(crate) local: Option<LocalEndpoint>,
    /// One for each core unless set.
    pub(crate) threads: Option<Threads>,
    pub(crate) chooser: ChooserSpec,
    pub(crate) services: BTreeMap<ServiceName, LocalApp>,
    /// Of no methods unless some are named.
    hedging: HedgingOptions,
    checks_health: bool,
    health_check: HealthCheckOptions,
}

impl RpcConfig {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            address: reader.optional(keys::RPC_ADDRESS),
            advertise_port: reader.optional(keys::RPC_ADVERTISE_PORT),
            local: reader.optional(keys::RPC_LOCAL),
            threads: reader.optional(keys::RPC_THREADS),
            chooser: reader.value(keys::RPC_CHOOSER),
            services: reader.optional(keys::RPC_SERVICES).unwrap_or_default(),
            hedging: HedgingOptions {
                max_attempts: reader.value(keys::HEDGING_MAX_ATTEMPTS),
                delay: reader.value(keys::HEDGING_DELAY),
                ..HedgingOptions::new(reader.value(keys::HEDGING_METHODS))
            },
            checks_health: reader.value(keys::HEALTH_CHECK_ENABLED),
            health_check: HealthCheckOptions {
                interval: reader.value(keys::HEALTH_CHECK_INTERVAL),
                timeout: reader.value(keys::HEALTH_CHECK_TIMEOUT),
                failures: reader.value(keys::HEALTH_CHECK_FAILURES),
            },
        }
    }

    /// Returns how calls to other nodes are made.
    pub(crate) fn profile(&self) -> Profile {
        let mut profile = Profile::data_plane();
        let nothing = HedgedMethods::Named(BTreeSet::new());
        profile.hedging = (self.hedging.methods != nothing).then(|| self.hedging.clone());
        profile.http3.health_check = self.checks_health.then(|| self.health_check.clone());
        profile
    }

    /// Returns each value that the client factory refuses, although its type is right, also of what is switched off.
    pub(super) fn out_of_range(&self, settings: &Settings) -> impl Iterator<Item = Problem> {
        let (hedging, health_check) = (|| HedgingOptions::new(HedgedMethods::All), HealthCheckOptions::default);
        // One at a time: the factory names the first that is wrong.
        let HedgingOptions { max_attempts, delay, .. } = self.hedging;
        let HealthCheckOptions { interval, timeout, failures } = self.health_check;
        let knobs = [
            (keys::HEDGING_MAX_ATTEMPTS, hedged(HedgingOptions { max_attempts, ..hedging() })),
            (keys::HEDGING_DELAY, hedged(HedgingOptions { delay, ..hedging() })),
            (keys::HEALTH_CHECK_INTERVAL, checked(HealthCheckOptions { interval, ..health_check() })),
            (keys::HEALTH_CHECK_TIMEOUT, checked(HealthCheckOptions { timeout, ..health_check() })),
            (keys::HEALTH_CHECK_FAILURES, checked(HealthCheckOptions { failures, ..health_check() })),
        ];
        knobs.into_iter().filter_map(|(key, profile)| Some(wrong_value(settings, key, &profile.check().err()?)))
    }
}

fn hedged(options: HedgingOptions) -> Profile {
    Profile { hedging: Some(options), ..Profile::data_plane() }
}

fn checked(options: HealthCheckOptions) -> Profile {
    let mut profile = Profile::data_plane();
    profile.http3.health_check = Some(options);
    profile
}

fn wrong_value(settings: &Settings, key: &'static Key, error: &ProfileError) -> Problem {
    let valid = match error {
        ProfileError::Time { least, most, .. } => format!("{least:?} to {most:?} is valid"),
        ProfileError::Number { least, most, .. } => format!("{least} to {most} is valid"),
        other => other.to_string(),
    };
    let found = settings.find(key).map(|value| show(&value)).unwrap_or_default();
    Problem::WrongValue { origin: settings.origin(key), key: key.path.to_owned(), found, valid }
}
