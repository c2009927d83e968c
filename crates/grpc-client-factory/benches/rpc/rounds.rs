//! Taking turns.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use test_rpc::rpc::EchoRequest;
use tokio::task::JoinSet;
use tonic::Status;

use crate::BoxError;
use crate::client::Client;
use crate::contest::Setting;
use crate::process::cpu_of;

const ROUNDS: usize = 9;
/// How long a turn is measured: hundreds of times what the kernel lets a thread run.
const TURN: Duration = Duration::from_millis(500);
/// Calls before that, which bring back what the others have pushed out of the caches and fill the connection.
const WARM_UP: Duration = Duration::from_millis(100);
const TRY: Duration = Duration::from_millis(5);

/// How seriously to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Measure,
    /// Just enough to see that everything runs.
    Try,
}

/// What one turn has shown.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Calls a second.
    pub(crate) rate: f64,
    /// How long a call took, in nanoseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Processor time a call of each group of processes, in nanoseconds.
    pub(crate) cpu: Vec<f64>,
}

/// A client, and the processes that its calls go through, itself among them; those that are counted together are a group.
#[derive(Debug)]
pub(crate) struct Entrant {
    pub(crate) client: Client,
    pub(crate) processes: Vec<Vec<u32>>,
}

/// Lets each client call once a round, and returns the turns of each.
///
/// # Errors
/// A call fails: a benchmark of failures would be quick.
pub(crate) async fn take_turns(
    entrants: &[Entrant],
    setting: Setting,
    effort: Effort,
) -> Result<Vec<Vec<Turn>>, BoxError> {
    let (rounds, warm_up, turn) =
        if effort == Effort::Measure { (ROUNDS, WARM_UP, TURN) } else { (1, Duration::ZERO, TRY) };
    let mut taken = vec![Vec::with_capacity(rounds); entrants.len()];
    for round in 0..rounds {
        // Another one starts each round, so that nobody always comes after the same neighbour.
        for place in 0..entrants.len() {
            let index = (round + place) % entrants.len();
            call_for(warm_up, &entrants[index].client, setting).await?;
            taken[index].push(measured(turn, &entrants[index], setting).await?);
        }
    }
    Ok(taken)
}

async fn measured(time: Duration, entrant: &Entrant, setting: Setting) -> Result<Turn, BoxError> {
    let Entrant { client, processes } = entrant;
    let cpu = || -> Result<Vec<Duration>, std::io::Error> {
        processes.iter().map(|group| group.iter().map(|process| cpu_of(*process)).sum()).collect()
    };
    let (cpu_before, start) = (cpu()?, Instant::now());
    let mut nanos = call_for(time, client, setting).await?;
    let (elapsed, cpu_after) = (start.elapsed(), cpu()?);
    nanos.sort_unstable();
    let calls = nanos.len() as f64;
    let part = |hundredths: usize| nanos.get(nanos.len() * hundredths / 100).map_or(f64::NAN, |nanos| *nanos as f64);
    Ok(Turn {
        rate: calls / elapsed.as_secs_f64(),
        p50: part(50),
        p99: part(99),
        cpu: cpu_after
            .iter()
            .zip(&cpu_before)
            .map(|(after, before)| after.saturating_sub(*before).as_nanos() as f64 / calls)
            .collect(),
    })
}

/// Lets all callers call for `time`, once at least, and returns how long each call took, in nanoseconds.
async fn call_for(time: Duration, client: &Client, setting: Setting) -> Result<Vec<u64>, BoxError> {
    let end = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..setting.at_once {
        callers.spawn(call_until(end, client.clone(), Bytes::from(vec![7; setting.bytes])));
    }
    let mut all = Vec::new();
    while let Some(called) = callers.join_next().await {
        all.extend(called??);
    }
    Ok(all)
}

async fn call_until(end: Instant, mut client: Client, payload: Bytes) -> Result<Vec<u64>, Status> {
    let mut nanos = Vec::new();
    loop {
        let (request, start) = (EchoRequest { payload: payload.clone(), ..EchoRequest::default() }, Instant::now());
        let reply = client.call(request).await?;
        let now = Instant::now();
        if reply.payload.len() != payload.len() {
            return Err(Status::data_loss("the answer is not what was sent"));
        }
        nanos.push((now - start).as_nanos().try_into().unwrap_or(u64::MAX));
        if now >= end {
            return Ok(nanos);
        }
    }
}
