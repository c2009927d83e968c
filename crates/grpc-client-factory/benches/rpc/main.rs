//! What a unary call costs over our client and server, in units of tonic's own over HTTP/2, with mutual TLS on all.
//!
//! `cargo bench -p grpc-client-factory --bench rpc` runs it; with `-- --check` it fails when a limit is broken. The servers
//! are a process of their own: this program, started once more. All contests of a setting take turns in short rounds, and
//! a ratio is the median of the rounds' ratios, so that a moment in which the machine is slow is slow for both sides.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod client;
mod contest;
mod cpu;
mod report;
mod rounds;
mod serve;
mod servers;

use std::process::ExitCode;

use client::Client;
use contest::{CONTESTS, SETTINGS};
use report::Row;
use rounds::Effort;
use servers::Servers;
use test_authority::Authority;
use tokio::runtime::{Builder, Runtime};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Threads that carry the calls, in each of the two processes.
const THREADS: usize = 2;

fn main() -> Result<ExitCode, BoxError> {
    let args: Vec<String> = std::env::args().collect();
    let given = |flag: &str| args.iter().any(|arg| arg == flag);
    if given(serve::FLAG) {
        return serve::until_nobody_listens().map(|()| ExitCode::SUCCESS);
    }
    if !given("--bench") {
        // As a test target, without `cargo bench`: that everything runs is all that can be said.
        return compare(Effort::Try, |_| {}).map(|_| ExitCode::SUCCESS);
    }
    println!("{}", report::header());
    let rows = compare(Effort::Measure, |row| println!("{row}"))?;
    let broken: Vec<&Row> = rows.iter().filter(|row| row.is_broken()).collect();
    if !given("--check") || broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    broken.iter().for_each(|row| eprintln!("broken limit: {row}"));
    Ok(ExitCode::FAILURE)
}

/// Runs all contests of all settings, and shows the figures as they come.
fn compare(effort: Effort, show: impl Fn(&Row)) -> Result<Vec<Row>, BoxError> {
    let (authority, runtime) = (Authority::new()?, runtime()?);
    let servers = Servers::start(&authority)?;
    let mut clients = Vec::new();
    for contest in CONTESTS {
        clients.push(runtime.block_on(Client::connect(contest.route, &authority, &servers))?);
    }
    let mut all = Vec::new();
    for setting in SETTINGS {
        let taken = runtime.block_on(rounds::take_turns(&clients, setting, servers.process(), effort))?;
        let rows = report::rows(setting, &taken);
        rows.iter().for_each(&show);
        all.extend(rows);
    }
    Ok(all)
}

/// Makes what client and servers run on.
fn runtime() -> Result<Runtime, std::io::Error> {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()
}
