//! What a unary call costs over our client and server, in units of tonic's own over HTTP/2, with mutual TLS on all.
//!
//! `cargo bench -p grpc-client-factory --bench rpc` runs it; with `-- --check` it fails when a limit is broken. The servers
//! are a process of their own: this program, started once more. All contests of a setting take turns in short rounds, and
//! a ratio is the median of the rounds' ratios, so that a moment in which the machine is slow is slow for both sides.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod client;
mod connections;
mod contest;
mod hop;
mod loss;
mod observe;
mod process;
mod report;
mod rounds;
mod serve;
mod servers;

use std::process::ExitCode;

use client::Client;
use contest::{BALANCED, BALANCED_SETTINGS, CONTESTS, Contest, SETTINGS, Setting};
use observe::Observed;
use report::Row;
use rounds::{Effort, Entrant};
use servers::Servers;
use test_authority::Authority;
use tokio::runtime::{Builder, Runtime};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Threads that carry the calls, in each of the two processes.
const THREADS: usize = 2;

/// Says that contests run alone; their name follows, or a part of it, or [`connections::NAME`].
pub(crate) const ALONE: &str = "--alone";

fn main() -> Result<ExitCode, BoxError> {
    let args: Vec<String> = std::env::args().collect();
    let given = |flag: &str| args.iter().any(|arg| arg == flag);
    if given(serve::FLAG) {
        return serve::until_nobody_listens().map(|()| ExitCode::SUCCESS);
    }
    if !given("--bench") {
        // As a test target, without `cargo bench`: that everything runs is all that can be said.
        return compare_all(Effort::Try, |_| {}).map(|_| ExitCode::SUCCESS);
    }
    println!("{}", report::header());
    let show = |row: &Row| println!("{row}");
    if given(hop::FLAG) {
        return hop::rows(&args, &runtime()?, show).map(|rows| verdict(&rows, given("--check")));
    }
    if let Some(name) = args.iter().skip_while(|arg| *arg != ALONE).nth(1) {
        return run_alone(name).map(|()| ExitCode::SUCCESS);
    }
    let rows = if given(loss::FLAG) {
        let rows = loss::rows(&Authority::new()?, &runtime()?)?;
        rows.iter().for_each(show);
        rows
    } else {
        compare_all(Effort::Measure, show)?
    };
    Ok(verdict(&rows, given("--check")))
}

/// Says which limits are broken, if anybody wants to know.
fn verdict(rows: &[Row], is_asked: bool) -> ExitCode {
    let broken: Vec<&Row> = rows.iter().filter(|row| row.is_broken()).collect();
    if !is_asked || broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    broken.iter().for_each(|row| eprintln!("broken limit: {row}"));
    ExitCode::FAILURE
}

/// Runs all contests of all settings, and shows the figures as they come.
fn compare_all(effort: Effort, show: impl Fn(&Row)) -> Result<Vec<Row>, BoxError> {
    let mut rows = compare(CONTESTS, &SETTINGS, Observed::No, (effort, &show))?;
    let connections = connections::rows(&Authority::new()?, &runtime()?, effort)?;
    connections.iter().for_each(&show);
    rows.extend(connections);
    // What is observed stays so until the process ends.
    observe::begin()?;
    rows.extend(compare(BALANCED, &BALANCED_SETTINGS, Observed::Yes, (effort, &show))?);
    Ok(rows)
}

/// Runs the bare contests whose names have `name` in them, one after the other: for who wants to look at one with a profiler.
fn run_alone(name: &str) -> Result<(), BoxError> {
    let (authority, runtime) = (Authority::new()?, runtime()?);
    if name == connections::NAME {
        let rows = connections::rows(&authority, &runtime, Effort::Measure)?;
        rows.iter().for_each(|row| println!("{row}"));
        return Ok(());
    }
    let servers = Servers::start(&authority, Observed::No)?;
    for (setting, contest) in SETTINGS.iter().flat_map(|setting| CONTESTS.iter().map(move |contest| (setting, contest)))
    {
        if !report::title(contest, *setting).contains(name) {
            continue;
        }
        let entrants = [runtime.block_on(entrant(contest, &authority, &servers))?];
        let taken = rounds::take_turns(&entrants, *setting, Effort::Measure);
        let rows = report::rows(std::slice::from_ref(contest), *setting, &runtime.block_on(taken)?);
        rows.iter().for_each(|row| println!("{row}"));
    }
    Ok(())
}

fn compare(
    contests: &[Contest],
    settings: &[Setting],
    observed: Observed,
    (effort, show): (Effort, &impl Fn(&Row)),
) -> Result<Vec<Row>, BoxError> {
    let (authority, runtime) = (Authority::new()?, runtime()?);
    let servers = Servers::start(&authority, observed)?;
    let mut entrants = Vec::new();
    for contest in contests {
        entrants.push(runtime.block_on(entrant(contest, &authority, &servers))?);
    }
    let mut all = Vec::new();
    for setting in settings {
        let taken = runtime.block_on(rounds::take_turns(&entrants, *setting, effort))?;
        let rows = report::rows(contests, *setting, &taken);
        rows.iter().for_each(show);
        all.extend(rows);
    }
    Ok(all)
}

async fn entrant(contest: &Contest, authority: &Authority, servers: &Servers) -> Result<Entrant, BoxError> {
    let client = Client::connect(contest.route, authority, servers).await?;
    Ok(Entrant { client, processes: vec![vec![std::process::id()], vec![servers.process()]] })
}

/// Makes what client and servers run on.
fn runtime() -> Result<Runtime, std::io::Error> {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()
}
