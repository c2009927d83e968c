//! Fuzz targets: bytes of a stranger in, an answer out, never a panic.
//!
//! The driver needs no nightly compiler and no sanitizer: it mutates inputs in this process, keeps those that
//! are still accepted as new starting points, and counts what happens by reason. `cargo xtask fuzz` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people: printing is its work")]

mod certified;
mod control;
mod conversation;
mod exchange;
mod hellos;
mod lists;
mod messages;
mod mutate;
mod names;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::certified::Certified;
use crate::control::Control;
use crate::conversation::Conversation;
use crate::hellos::Hellos;
use crate::lists::Lists;

/// What becomes of an input begins with this if it is a new starting point.
const ACCEPTED: &str = "accepted";

/// Starting points kept at most.
const CORPUS_MAX: usize = 1024;

/// Inputs between two looks at the clock.
const BATCH: usize = 100;

/// Takes an input, and says what became of it.
type Take = dyn Fn(&[u8]) -> &'static str;

/// Something that takes bytes of strangers.
struct Target {
    corpus: Vec<Vec<u8>>,
    take: Box<Take>,
}

impl Target {
    fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "messages" => Self::new(messages::messages(), decode),
            "conversations" => {
                let conversation = Conversation::begin(now())?;
                Self::new(messages::messages(), move |data| conversation.take(data))
            }
            "hellos" => {
                let hellos = Hellos::new(now())?;
                Self::new(hellos.corpus(), move |data| hellos.take(data))
            }
            "certificate-files" => {
                let certified = Certified::new()?;
                Self::new(certified.files(), move |data| certified.take_file(data))
            }
            "certificates" => {
                let certified = Certified::new()?;
                Self::new(certified.certificates()?, move |data| certified.take_shown(data))
            }
            "revocation-lists" => {
                let lists = Lists::new()?;
                Self::new(lists.corpus(), move |data| lists.take(data))
            }
            "revocation-exchange" => Self::new(exchange::corpus(), exchange::take),
            "names" => Self::new(names::corpus(), names::take),
            "control-requests" => {
                let control = Control::new(now())?;
                Self::new(control::corpus(), move |data| control.take(data))
            }
            _ => bail!("`{name}` is no target; `cargo xtask fuzz --help` has them"),
        })
    }

    fn new(corpus: Vec<Vec<u8>>, take: impl Fn(&[u8]) -> &'static str + 'static) -> Self {
        Self { corpus, take: Box::new(take) }
    }
}

/// Decodes a gossip message as it would come off a link.
fn decode(data: &[u8]) -> &'static str {
    match membership::decode(Bytes::copy_from_slice(data)) {
        Ok(_) => ACCEPTED,
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
    let name = args.next().context("which target? usage: fuzz TARGET SECONDS SEED")?;
    let mut number = |what: &str| -> anyhow::Result<u64> {
        let word = args.next().with_context(|| format!("which {what}? usage: fuzz TARGET SECONDS SEED"))?;
        word.parse().with_context(|| format!("`{word}` is no number of {what}"))
    };
    let (seconds, seed) = (number("seconds")?, number("seed")?);

    let deadline = now() + Duration::from_secs(seconds);
    let mut rng = SmallRng::seed_from_u64(seed);
    let Target { mut corpus, take } = Target::named(&name)?;
    for (input, place) in corpus.iter().zip(1..) {
        let outcome = take(input);
        ensure!(outcome.starts_with(ACCEPTED), "input {place} to start from is refused: {outcome}");
    }
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    while now() < deadline {
        for _ in 0..BATCH {
            let input = mutate::mutant(&corpus, &mut rng);
            let Ok(outcome) = panic::catch_unwind(AssertUnwindSafe(|| take(&input))) else {
                println!("fuzz: {name}: panicked; seed {seed}, input: {}", hex(&input));
                return Ok(ExitCode::FAILURE);
            };
            *outcomes.entry(outcome).or_default() += 1;
            if outcome.starts_with(ACCEPTED) {
                keep(&mut corpus, input, &mut rng);
            }
        }
    }
    let total: u64 = outcomes.values().sum();
    println!("fuzz: {name}: {total} inputs in {seconds} s from seed {seed}, no panic; {outcomes:?}");
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
