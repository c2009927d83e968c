//! `cargo xtask fuzz`: the fuzz targets, built and run for a while.

use std::process::ExitCode;

use crate::process::{cargo, succeeds};

/// How long, and with which luck.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is fed; all, one after the other, unless named.
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// How long to go on with each.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
    /// Where chance starts: the same seed gives the same inputs in the same order.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// What is fed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    /// The decoder of gossip messages.
    Messages,
    /// A node that runs, and what follows from the messages that it hears.
    Conversations,
    /// The first words on a link, from either side.
    Hellos,
    /// The reader of certificates, keys and trust bundles, from files.
    CertificateFiles,
    /// The reader of certificates that others show in a handshake.
    Certificates,
    /// The reader of revocation lists, from files and from other nodes.
    RevocationLists,
    /// Questions for revocation lists, and the answers.
    RevocationExchange,
    /// SPIFFE IDs, trust domains, names and endpoints.
    Names,
    /// Requests to the control endpoint.
    ControlRequests,
}

impl Target {
    const ALL: [Self; 9] = [
        Self::Messages,
        Self::Conversations,
        Self::Hellos,
        Self::CertificateFiles,
        Self::Certificates,
        Self::RevocationLists,
        Self::RevocationExchange,
        Self::Names,
        Self::ControlRequests,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::Hellos => "hellos",
            Self::CertificateFiles => "certificate-files",
            Self::Certificates => "certificates",
            Self::RevocationLists => "revocation-lists",
            Self::RevocationExchange => "revocation-exchange",
            Self::Names => "names",
            Self::ControlRequests => "control-requests",
        }
    }
}

/// Runs each target as a program of its own. They are built like the tests are: the decoder optimised, overflow
/// and debug assertions on.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    for target in
        Target::ALL.into_iter().filter(|target| options.target.is_none_or(|only| only.name() == target.name()))
    {
        let mut fuzz = cargo(["run", "--quiet", "--package", "xtask", "--example", "fuzz", "--", target.name()]);
        fuzz.arg(options.seconds.to_string()).arg(options.seed.to_string());
        if !succeeds(&mut fuzz)? {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
