//! Figures as rows of a Markdown table, which `cargo xtask bench` sets straight.

use std::fmt;
use std::time::Duration;

use crate::contest::{BASE, Contest, Setting};
use crate::rounds::Turn;

const BROKEN: &str = "BROKEN";

/// One line: benchmark, measured, compared, limit, verdict.
#[derive(Debug)]
pub(crate) struct Row([String; 5]);

impl Row {
    /// Makes a row of a ratio that has to keep within a bound; without a ratio, of a figure alone.
    pub(crate) fn new(name: String, measured: String, compared: String, ratio: Option<f64>, bound: Bound) -> Self {
        let [limit, verdict] = ratio.map_or_else(Default::default, |ratio| judge(ratio, bound));
        Self([name, measured, compared, limit, verdict])
    }

    /// Makes a row of a figure that has a limit of its own.
    pub(crate) fn held(name: String, measured: String, holds: bool, limit: String) -> Self {
        Self([name, measured, String::new(), limit, verdict(holds)])
    }

    /// Returns whether it says that a limit does not hold.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.iter().any(|cell| cell == BROKEN)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([name, measured, compared, limit, verdict]) = self;
        write!(f, "| {name:<70} | {measured:>14} | {compared:<50} | {limit:<9} | {verdict:<7} |")
    }
}

/// Returns the first two lines of the table.
pub(crate) fn header() -> String {
    let names = Row(["benchmark", "measured", "compared", "limit", "verdict"].map(str::to_owned));
    format!("{names}\n|---|---:|---|---|---|")
}

/// Returns what the contests have shown, a row for each measure.
pub(crate) fn rows(contests: &[Contest], setting: Setting, taken: &[Vec<Turn>]) -> Vec<Row> {
    let Some(base) = taken.first() else { return Vec::new() };
    let rows_of = |(contest, turns): (&Contest, &Vec<Turn>)| {
        let measures = measures(contest, setting);
        measures.map(|measure| row(&measure, contest, setting, (turns, base)))
    };
    contests.iter().zip(taken).flat_map(rows_of).collect()
}

/// Returns the name of a contest at a setting.
pub(crate) fn title(contest: &Contest, setting: Setting) -> String {
    let Setting { bytes, at_once } = setting;
    format!("{bytes} B, {at_once} at once: {}", contest.name)
}

/// Something that is read from a turn.
struct Measure {
    name: &'static str,
    of: fn(&Turn) -> f64,
    shown: fn(f64) -> String,
    bound: Bound,
}

/// Where the ratio to the first contest has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(Option<f64>),
    AtMost(Option<f64>),
}

fn measures(contest: &Contest, setting: Setting) -> [Measure; 4] {
    let limits = (contest.limits)(setting);
    let measure = |name, of, shown, bound| Measure { name, of, shown, bound };
    [
        measure("calls", |turn| turn.rate, |rate| format!("{rate:.0}/s"), Bound::AtLeast(limits.rate)),
        measure("p50", |turn| turn.p50, time, Bound::AtMost(None)),
        measure("p99", |turn| turn.p99, time, Bound::AtMost(limits.p99)),
        measure("CPU a call", |turn| turn.cpu.iter().sum(), time, Bound::AtMost(limits.cpu)),
    ]
}

fn row(measure: &Measure, contest: &Contest, setting: Setting, (turns, base): (&[Turn], &[Turn])) -> Row {
    let name = format!("{}: {}", title(contest, setting), measure.name);
    let measured = (measure.shown)(middle(turns.iter().map(measure.of)).1);
    if contest.name == BASE {
        return Row::new(name, measured, String::new(), None, measure.bound);
    }
    let ratios = turns.iter().zip(base).map(|(own, base)| (measure.of)(own) / (measure.of)(base));
    let (least, ratio, most) = middle(ratios);
    let compared = format!("{ratio:.2} ({least:.2} to {most:.2}) x {BASE}");
    Row::new(name, measured, compared, Some(ratio), measure.bound)
}

fn verdict(holds: bool) -> String {
    if holds { "ok" } else { BROKEN }.to_owned()
}

/// Returns the limit and the verdict.
fn judge(ratio: f64, bound: Bound) -> [String; 2] {
    match bound {
        Bound::AtLeast(Some(least)) => [format!(">= {least:.2} x"), verdict(ratio >= least)],
        Bound::AtMost(Some(most)) => [format!("<= {most:.2} x"), verdict(ratio <= most)],
        Bound::AtLeast(None) | Bound::AtMost(None) => [const { String::new() }; 2],
    }
}

/// Returns the least, the median and the most.
pub(crate) fn middle(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// Returns nanoseconds in a unit that suits them.
pub(crate) fn time(nanos: f64) -> String {
    format!("{:.1?}", Duration::from_secs_f64(nanos / 1e9))
}
