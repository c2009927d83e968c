//! Figures as rows of a Markdown table, which `cargo xtask bench` puts together with those of other benchmarks.

use std::time::Duration;

use crate::rounds::Effort;

/// Where a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Anywhere: it is told, and nothing is asked of it.
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// Prints the table, row by row.
#[derive(Debug)]
pub(crate) struct Report {
    effort: Effort,
    /// The rows whose limits are broken.
    pub(crate) broken: Vec<String>,
}

impl Report {
    /// Begins a table. What was only tried is not shown.
    pub(crate) fn new(effort: Effort) -> Self {
        let report = Self { effort, broken: Vec::new() };
        report.print(&row(["benchmark", "measured", "compared", "limit", "verdict"]));
        report.print("|---|---:|---|---|---|");
        report
    }

    fn print(&self, line: &str) {
        if self.effort == Effort::Measure {
            println!("{line}");
        }
    }

    /// Adds what something takes, in nanoseconds; the bound is on that.
    pub(crate) fn takes(&mut self, name: &str, nanos: &[f64], bound: Bound, compared: &str) {
        let taken = median(nanos);
        self.add([name, &time(taken), compared], taken, bound, time);
    }

    /// Adds what something takes, in nanoseconds, as a multiple of what `base` does; the bound is on that.
    pub(crate) fn times(&mut self, name: &str, nanos: &[f64], base: (&str, &[f64]), bound: Bound) {
        let ratios: Vec<f64> = nanos.iter().zip(base.1).map(|(own, base)| own / base).collect();
        let ratio = median(&ratios);
        let compared = format!("{ratio:.2} x {} {}", base.0, time(median(base.1)));
        self.add([name, &time(median(nanos)), &compared], ratio, bound, |ratio| format!("{ratio:.1} x"));
    }

    /// Adds a row about `value`, in whatever unit `show` gives it.
    pub(crate) fn add(&mut self, cells: [&str; 3], value: f64, bound: Bound, show: impl Fn(f64) -> String) {
        let (limit, verdict) = match bound {
            Bound::None => (String::new(), ""),
            Bound::AtMost(most) => (format!("<= {}", show(most)), if value <= most { "ok" } else { "BROKEN" }),
            Bound::AtLeast(least) => (format!(">= {}", show(least)), if value >= least { "ok" } else { "BROKEN" }),
        };
        let [name, measured, compared] = cells;
        let row = row([name, measured, compared, &limit, verdict]);
        self.print(&row);
        if verdict == "BROKEN" {
            self.broken.push(row);
        }
    }
}

fn row([name, measured, compared, limit, verdict]: [&str; 5]) -> String {
    format!("| {name:<54} | {measured:>10} | {compared:<44} | {limit:<12} | {verdict:<7} |")
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn time(nanos: f64) -> String {
    if nanos < 1e4 { format!("{nanos:.2} ns") } else { format!("{:.1?}", Duration::from_secs_f64(nanos / 1e9)) }
}
