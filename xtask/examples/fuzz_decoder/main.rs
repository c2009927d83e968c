//! Fuzz target for the gossip decoder: bytes of a stranger in, an answer out, never a panic.
//!
//! The driver needs no nightly compiler and no sanitizer: it mutates messages in this process, keeps those that
//! still decode as new starting points, and counts what happens by reason. `cargo xtask fuzz` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people: printing is its work")]

mod corpus;
mod mutate;

use std::collections::BTreeMap;
use std::panic;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Starting points kept at most.
const CORPUS_MAX: usize = 1024;

/// Inputs between two looks at the clock.
const BATCH: usize = 1000;

/// Decodes `data` as it would come off a link, and says what became of it.
fn fuzz_decoder(data: &[u8]) -> &'static str {
    match membership::decode(Bytes::copy_from_slice(data)) {
        Ok(_) => "accepted",
        Err(rejected) => rejected.reason(),
    }
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("fuzz: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let mut number = |what: &str| -> anyhow::Result<u64> {
        let word = args.next().with_context(|| format!("which {what}? usage: fuzz_decoder SECONDS SEED"))?;
        word.parse().with_context(|| format!("`{word}` is no number of {what}"))
    };
    let (seconds, seed) = (number("seconds")?, number("seed")?);

    let deadline = now() + Duration::from_secs(seconds);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut corpus = corpus::messages();
    for (message, place) in corpus.iter().zip(1..) {
        let outcome = fuzz_decoder(message);
        ensure!(outcome == "accepted", "message {place} to start from is refused: {outcome}");
    }
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    while now() < deadline {
        for _ in 0..BATCH {
            let input = mutate::mutant(&corpus, &mut rng);
            let Ok(outcome) = panic::catch_unwind(|| fuzz_decoder(&input)) else {
                println!("fuzz: the decoder panicked; seed {seed}, input: {}", hex(&input));
                return Ok(ExitCode::FAILURE);
            };
            *outcomes.entry(outcome).or_default() += 1;
            if outcome == "accepted" {
                keep(&mut corpus, input, &mut rng);
            }
        }
    }
    let total: u64 = outcomes.values().sum();
    println!("fuzz: {total} inputs in {seconds} s from seed {seed}, no panic; {outcomes:?}");
    Ok(ExitCode::SUCCESS)
}

/// Keeps `input` as a starting point; when there are enough, in place of another one.
fn keep(corpus: &mut Vec<Vec<u8>>, input: Vec<u8>, rng: &mut SmallRng) {
    if corpus.len() < CORPUS_MAX {
        corpus.push(input);
    } else {
        let place = rng.random_range(0..CORPUS_MAX);
        corpus[place] = input;
    }
}

#[expect(clippy::disallowed_methods, reason = "only the time to stop depends on the clock; the inputs are seeded")]
fn now() -> Instant {
    Instant::now()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
