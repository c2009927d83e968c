//! Measures what the gossip protocol promises; `cargo xtask sim membership --scenario` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and CI: printing is its work")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use membership::{Options, Profile};
use sim::scenario::{
    Illness, Large, Sickness, Tuned, between_sites, clocks, crash, cut_in_half, joins_at_once, large, rolling, spread,
    storm, tuned,
};
use sim::{Mesh, Settings, Weather};

const USAGE: &str = "usage: scenarios loss|stalls|crash|partition|joins|spread|storm|profiles|knobs|clocks|releases|all|large [--nodes N] [--seeds N] [--first-seed S]";

/// How long members are sick.
const SICK_FOR: Duration = Duration::from_secs(90);

struct Wanted {
    name: String,
    nodes: Option<usize>,
    seeds: u64,
    first_seed: u64,
}

impl Wanted {
    fn is(&self, name: &str) -> bool {
        self.name == name || self.name == "all"
    }

    fn settings(&self, usual_nodes: usize) -> impl Iterator<Item = Settings> {
        let nodes = self.nodes.unwrap_or(usual_nodes);
        let seeds = self.first_seed..self.first_seed + self.seeds;
        seeds.map(move |seed| Settings { nodes, seed, seeds: 3, keeps_log: false, ..Settings::default() })
    }
}

fn main() -> ExitCode {
    match read(std::env::args().skip(1)) {
        Ok(wanted) => run(&wanted),
        Err(error) => {
            eprintln!("scenarios: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(wanted: &Wanted) {
    if wanted.is("loss") {
        for share in [0.8, 0.95] {
            sick(wanted, Illness::Deaf(share));
            sick(wanted, Illness::Mute(share));
        }
    }
    if wanted.is("stalls") {
        for secs in [1, 3, 8] {
            sick(wanted, Illness::Stalls(Duration::from_secs(secs), Duration::from_secs(1)));
        }
    }
    if wanted.is("crash") {
        for usual in [50, 100, 200] {
            let times = wanted.settings(usual).map(crash);
            tell(&format!("crash, {} nodes: seen by all", wanted.nodes.unwrap_or(usual)), times);
        }
    }
    if wanted.is("partition") {
        let cuts: Vec<_> = wanted.settings(100).map(cut_in_half).collect();
        tell("partition in halves: seen by all", cuts.iter().map(|cut| cut.map(|cut| cut.seen)));
        tell("partition in halves: healed", cuts.iter().map(|cut| cut.map(|cut| cut.healed)));
        tell("partition in halves: tables equal", cuts.iter().map(|cut| cut.map(|cut| cut.settled)));
    }
    if wanted.is("joins") {
        let joins: Vec<_> = wanted.settings(200).map(joins_at_once).collect();
        tell("all start within 1 s: all see all after", joins.iter().map(|join| join.map(|join| join.took)));
        if let Some(worst) = joins.iter().flatten().max_by(|a, b| a.megabytes.total_cmp(&b.megabytes)) {
            println!("  at most {:.0} packets a node, {:.1} MB in all", worst.packets, worst.megabytes);
        }
    }
    if wanted.is("storm") {
        storms(wanted);
    }
    if wanted.is("profiles") {
        profiles(wanted);
    }
    if wanted.is("knobs") {
        knobs(wanted);
    }
    if wanted.is("clocks") {
        let runs: Vec<_> = wanted.settings(60).map(clocks).collect();
        let declared: usize = runs.iter().flatten().map(|run| run.declared).sum();
        println!("clocks drift, jump and are set back for half an hour: {declared} times a living member was declared");
        tell("  back in a life above the last one", runs.iter().map(|run| Some((*run)?.back)));
        tell("  a crash seen by all", runs.iter().map(|run| Some((*run)?.crash_seen)));
    }
    if wanted.is("releases") {
        let runs: Vec<_> = wanted.settings(60).map(rolling).collect();
        let declared: usize = runs.iter().flatten().map(|run| run.declared).sum();
        let stripped: u64 = runs.iter().flatten().map(|run| run.stripped).sum();
        println!("three releases mixed, node by node: {declared} declared, {stripped} records stripped of what is new");
        tell("  equal tables after the last start", runs.iter().map(|run| Some((*run)?.settled)));
    }
    if wanted.is("spread") {
        news(wanted);
    }
    // Not one of all: it takes minutes, and gigabytes.
    if wanted.name == "large" {
        thousands(wanted);
    }
}

/// Tells how meshes of thousands go, and how much memory that took.
fn thousands(wanted: &Wanted) {
    let runs: Vec<Option<Large>> = wanted.settings(1_000).map(|settings| large(settings, so_far)).collect();
    let told = |what: &str, time: fn(&Large) -> Duration| tell(what, runs.iter().map(|run| run.as_ref().map(time)));
    told("all see all after the last start", |run| run.joined);
    told("  update known to 95 %", |run| run.known[0]);
    told("  update known to all", |run| run.known[1]);
    told("  a crash seen by all", |run| run.crash_seen);
    told("  equal tables after it", |run| run.settled);
    let declared: u64 = runs.iter().flatten().map(|run| run.others_declared).sum();
    let bytes = runs.iter().flatten().map(|run| run.bytes_at_rest).fold(0.0, f64::max);
    println!("  {declared} times a living member was declared; at rest at most {bytes:.0} B a node and second");
}

/// Tells how far a mesh of thousands has come.
fn so_far(mesh: &Mesh, what: &str) {
    // Where it cannot be read, it is not told.
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("unknown", str::trim);
    eprintln!(
        "{:.1} s: {what}; {} packets so far; at most {peak} in memory",
        mesh.elapsed().as_secs_f64(),
        mesh.packets()
    );
}

/// Tells how fast an update spreads, and what a mesh costs at rest.
fn news(wanted: &Wanted) {
    let spreads: Vec<_> = wanted.settings(200).map(spread).collect();
    tell("update known to 95 %", spreads.iter().map(|spread| spread.map(|spread| spread.most)));
    tell("update known to all", spreads.iter().map(|spread| spread.map(|spread| spread.all)));
    if let Some(rest) = spreads.iter().flatten().next() {
        println!("  at rest {:.1} packets, {:.0} B per node and second", rest.packets_at_rest, rest.bytes_at_rest);
    }
}

/// Tells what each profile promises and costs, on one site and between sites.
fn profiles(wanted: &Wanted) {
    for (place, weather) in [("one site", Weather::default()), ("between sites", between_sites())] {
        for profile in [Profile::Fast, Profile::Balanced, Profile::Wan] {
            measure(wanted, &format!("{place}, {}", profile.name()), &profile.options(), &weather);
        }
    }
}

/// Tells what turning one knob of the protocol does, the others at their defaults.
fn knobs(wanted: &Wanted) {
    let usual = Options::default();
    let secs = Duration::from_secs_f64;
    for interval in [0.25, 0.5, 1.0, 2.0].map(secs) {
        let options = Options { interval, ..usual.clone() };
        measure(wanted, &format!("interval {interval:?}"), &options, &Weather::default());
    }
    for suspicion_interval in [2.5, 5.0, 10.0, 20.0].map(secs) {
        let options = Options { suspicion_interval, ..usual.clone() };
        measure(wanted, &format!("suspicionInterval {suspicion_interval:?}"), &options, &Weather::default());
    }
    for fanout in [4, 8, 12, 16] {
        let options = Options { fanout, ..usual.clone() };
        measure(wanted, &format!("fanout {fanout}"), &options, &Weather::default());
    }
}

fn measure(wanted: &Wanted, what: &str, options: &Options, weather: &Weather) {
    let settings = wanted.settings(100);
    let settings = settings.map(|settings| Settings { options: options.clone(), weather: weather.clone(), ..settings });
    let runs: Vec<_> = settings.map(|settings| tuned(&settings)).collect();
    tell(&format!("{what}: a crash seen by all"), runs.iter().map(|run| Some((*run)?.crash_seen)));
    let most = |value: fn(&Tuned) -> f64| runs.iter().flatten().map(value).fold(0.0, f64::max);
    let (bytes, suspicions) = (most(|run| run.bytes_at_rest), most(|run| run.suspicions));
    println!("  at rest at most {bytes:.0} B a node and second, {suspicions:.2} suspicions a minute in all");
}

/// Tells of storms over links that are as thin as they may be.
fn storms(wanted: &Wanted) {
    let thin = Options { link_bytes_per_second: 16_384, link_datagrams_per_second: 50, ..Options::default() };
    let thin = wanted.settings(200).map(|settings| Settings { options: thin.clone(), ..settings });
    let storms: Vec<_> = thin.map(storm).collect();
    tell(
        "storm of changes on thin links: queues show it after",
        storms.iter().map(|run| Some(run.as_ref()?.first_waited)),
    );
    tell("  first shed", storms.iter().map(|run| run.as_ref()?.first_shed));
    tell("  a death seen by all", storms.iter().map(|run| Some(run.as_ref()?.death_seen)));
    tell("  all known to all after its end", storms.iter().map(|run| Some(run.as_ref()?.settled)));
    let declared: usize = storms.iter().flatten().map(|run| run.others_declared).sum();
    println!("  {declared} times another member was declared");
    for run in storms.iter().flatten() {
        println!("  at most {} waited, for {:?}; shed {:?}", run.most_waited, run.widest_window, run.shed);
    }
}

fn sick(wanted: &Wanted, illness: Illness) {
    let runs = wanted
        .settings(100)
        .map(|settings| illness.befall(settings.nodes, settings.seed, Options::default(), SICK_FOR));
    let runs: Vec<Sickness> = runs.flatten().collect();
    let declared: usize = runs.iter().map(|run| run.healthy_declared).sum();
    let never: usize = runs.iter().flat_map(|run| &run.flagged).filter(|at| at.is_none()).count();
    let most = |value: fn(&Sickness) -> f64| runs.iter().map(value).fold(0.0, f64::max);
    println!("a tenth {illness:?}, {} runs: {declared} times a healthy member was declared", runs.len());
    println!(
        "  never flagged: {never}; flaps at most {:.2} a sick member in {SICK_FOR:?}; at most {:.1} packets/node/s",
        most(|run| run.flaps),
        most(|run| run.packets)
    );
    tell("  flagged", runs.iter().flat_map(|run| run.flagged.iter().copied()));
}

/// Prints the median and the worst.
fn tell(what: &str, times: impl Iterator<Item = Option<Duration>>) {
    let all: Vec<Option<Duration>> = times.collect();
    let mut known: Vec<Duration> = all.iter().flatten().copied().collect();
    known.sort_unstable();
    let (Some(median), Some(worst)) = (known.get(known.len() / 2), known.last()) else {
        println!("{what}: never");
        return;
    };
    let ms = |time: &Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{what}: median {:.0} ms, worst {:.0} ms of {}; never: {}",
        ms(median),
        ms(worst),
        all.len(),
        all.len() - known.len()
    );
}

fn read(mut args: impl Iterator<Item = String>) -> anyhow::Result<Wanted> {
    let name = args.next().context(USAGE)?;
    if ![
        "loss",
        "stalls",
        "crash",
        "partition",
        "joins",
        "spread",
        "storm",
        "profiles",
        "knobs",
        "clocks",
        "releases",
        "large",
        "all",
    ]
    .contains(&name.as_str())
    {
        bail!("there is no scenario `{name}`; {USAGE}");
    }
    let mut wanted = Wanted { name, nodes: None, seeds: 7, first_seed: 1 };
    while let Some(flag) = args.next() {
        let word = args.next().with_context(|| format!("{flag} wants a number; {USAGE}"))?;
        let number: u64 = word.parse().with_context(|| format!("`{word}` is no number"))?;
        match flag.as_str() {
            "--nodes" => wanted.nodes = Some(usize::try_from(number)?),
            "--seeds" => wanted.seeds = number,
            "--first-seed" => wanted.first_seed = number,
            _ => bail!("`{flag}` is not known; {USAGE}"),
        }
    }
    Ok(wanted)
}
