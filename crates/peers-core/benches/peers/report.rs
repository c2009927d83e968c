//! Figures as rows of a Markdown table, which `cargo xtask bench` puts together with those of other benchmarks.

use std::fmt;
use std::time::Duration;

use crate::Setting;
use crate::contest::{Bound, Claim, Contest};

const BROKEN: &str = "BROKEN";

/// One line: benchmark, measured, compared, limit, verdict.
#[derive(Debug)]
pub(crate) struct Row([String; 5]);

impl Row {
    /// Returns whether it says that a limit does not hold.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.iter().any(|cell| cell == BROKEN)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([name, measured, compared, limit, verdict]) = self;
        write!(f, "| {name:<56} | {measured:>10} | {compared:<44} | {limit:<12} | {verdict:<6} |")
    }
}

/// Returns the first two lines of the table.
pub(crate) fn header() -> String {
    let names = Row(["benchmark", "measured", "compared", "limit", "verdict"].map(str::to_owned));
    format!("{names}\n|---|---:|---|---|---|")
}

/// Returns what the contests took, a row for each claim.
pub(crate) fn rows(setting: Setting, contests: &[Contest<'_>], taken: &[Vec<f64>]) -> Vec<Row> {
    let Setting { threads, peers } = setting;
    let plural = if threads == 1 { "" } else { "s" };
    let mut rows = Vec::new();
    for (contest, nanos) in contests.iter().zip(taken) {
        let name = format!("{threads} thread{plural}, {peers} peers: {}", contest.name);
        let mut add = |[compared, limit, verdict]: [String; 3]| {
            rows.push(Row([name.clone(), time(median(nanos)), compared, limit, verdict]));
        };
        if contest.claims.is_empty() {
            add([const { String::new() }; 3]);
        }
        for claim in &contest.claims {
            add(judge(claim, nanos, |base| taken_by(base, contests, taken)));
        }
    }
    rows
}

/// Returns how `nanos` compares, the limit and the verdict.
fn judge<'a>(claim: &Claim, nanos: &[f64], taken_by: impl Fn(&str) -> &'a [f64]) -> [String; 3] {
    let verdict = |holds: bool| if holds { "ok" } else { BROKEN }.to_owned();
    match *claim {
        Claim::Times(base, bound) => {
            let ratio = median_of(nanos, taken_by(base), |own, base| own / base);
            let compared = format!("{ratio:.2} x {base}");
            match bound {
                Bound::None => [compared, String::new(), String::new()],
                Bound::AtMost(most) => [compared, format!("<= {most:.1} x"), verdict(ratio <= most)],
                Bound::AtLeast(least) => [compared, format!(">= {least:.1} x"), verdict(ratio >= least)],
            }
        }
        Claim::Over(base, most) => {
            let over = median_of(nanos, taken_by(base), |own, base| own - base);
            [format!("{over:+.2} ns to {base}"), format!("<= {most:+.1} ns"), verdict(over <= most)]
        }
        Claim::AtMost(most) => {
            let most = most.as_nanos() as f64;
            [String::new(), format!("<= {}", time(most)), verdict(median(nanos) <= most)]
        }
    }
}

fn taken_by<'a>(name: &str, contests: &[Contest<'_>], taken: &'a [Vec<f64>]) -> &'a [f64] {
    let found = contests.iter().zip(taken).find(|(contest, _)| contest.name == name);
    found.map(|(_, nanos)| nanos.as_slice()).expect("claims name contests of their own group")
}

/// Returns the median of what `compare` makes of each round.
fn median_of(own: &[f64], base: &[f64], compare: impl Fn(f64, f64) -> f64) -> f64 {
    let compared: Vec<f64> = own.iter().zip(base).map(|(own, base)| compare(*own, *base)).collect();
    median(&compared)
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn time(nanos: f64) -> String {
    if nanos < 1e4 { format!("{nanos:.2} ns") } else { format!("{:.1?}", Duration::from_secs_f64(nanos / 1e9)) }
}
