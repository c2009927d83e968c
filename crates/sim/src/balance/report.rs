//! Results as text for people.

use std::fmt::Write as _;

use super::limits::Verdict;
use super::results::{Results, RunOutcome};
use super::scenario::{CORES, ONE_WAY_NS, Scenario, Trouble, WARM_UP_S, WORK_MEAN_NS, WORK_SIGMA};

/// Returns one table for each scenario.
#[must_use]
pub fn tables(results: &Results, scenarios: &[Scenario]) -> String {
    scenarios.iter().map(|scenario| table(results, scenario)).collect()
}

/// Returns what all scenarios have in common.
#[must_use]
pub fn model() -> String {
    format!(
        "model: {CORES} cores a server under processor sharing, log-normal work of {} ms (sigma {WORK_SIGMA}), Poisson \
         clients, {} ms each way, the first {WARM_UP_S} s not judged; probes cost the servers nothing",
        WORK_MEAN_NS / 1e6,
        ONE_WAY_NS as f64 / 1e6
    )
}

fn table(results: &Results, scenario: &Scenario) -> String {
    let Scenario { name, title, servers, clients, load, seconds, .. } = scenario;
    let mut text = format!("\n{name}: {title}; {servers} servers, {clients} clients, load {load:.2}, {seconds} s\n");
    line(&mut text, &headings(scenario.trouble));
    for outcome in results.of(name) {
        line(&mut text, &cells(outcome));
    }
    text
}

fn headings(trouble: Trouble) -> Vec<String> {
    let mut words = vec!["policy", "calls", "p50 ms", "p99 ms", "p99.9 ms", "max/mean"];
    words.extend(match trouble {
        Trouble::Slow => &["slow share", "sigma", "recovery s", "sigma before"][..],
        Trouble::Failing => &["its share", "errors %"][..],
        Trouble::Sick => &["sick share", "sigma", "errors %", "changes/sick", "of well"][..],
        Trouble::None | Trouble::Rolling | Trouble::Antagonists => &[][..],
    });
    words.into_iter().map(str::to_owned).collect()
}

fn cells(outcome: &RunOutcome) -> Vec<String> {
    let measured = &outcome.measured;
    let quantile = |share| format!("{:.1}", measured.latencies.quantile_ms(share));
    let mut cells = vec![outcome.kind.name().to_owned(), measured.latencies.count().to_string()];
    cells.extend([0.5, 0.99, 0.999].map(quantile));
    cells.push(format!("{:.3}", measured.max_over_mean()));
    let share = outcome.trouble_share();
    match outcome.scenario.trouble {
        Trouble::Slow => cells.extend([
            format!("{:.3}", share.mean),
            format!("{:.3}", share.sigma),
            format!("{:.0}", outcome.recovery_s()),
            format!("{:.2}", outcome.share_before().sigma),
        ]),
        Trouble::Failing => {
            cells.extend([format!("{:.3}", share.mean), format!("{:.4}", 100.0 * measured.error_share())]);
        }
        Trouble::Sick => cells.extend([
            format!("{:.3}", outcome.sick_share().mean),
            format!("{:.3}", outcome.sick_share().sigma),
            format!("{:.4}", 100.0 * measured.error_share()),
            format!("{:.2}", outcome.changes_of_sick()),
            measured.breaker_changes_of_well.to_string(),
        ]),
        Trouble::None | Trouble::Rolling | Trouble::Antagonists => {}
    }
    cells
}

fn line(text: &mut String, cells: &[String]) {
    for (cell, place) in cells.iter().zip(0..) {
        let padded = if place == 0 { format!("  {cell:<20}") } else { format!(" {cell:>12}") };
        text.push_str(&padded);
    }
    text.push('\n');
}

/// Returns the limits, what was measured, and whether they are kept.
#[must_use]
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = String::from("\nlimits\n");
    for verdict in verdicts {
        let Verdict { kind, scenario, what, seen, most, .. } = verdict;
        let against = verdict.against.map_or_else(String::new, |other| format!(" (against {})", other.name()));
        let word = if verdict.is_kept() { "pass" } else { "FAIL" };
        let kind = kind.name();
        // Writing to a string does not fail.
        writeln!(text, "  {word}  {scenario:<4} {kind:<15} {what:<20} {seen:>9.4} of {most:>9.4}{against}")
            .unwrap_or_default();
    }
    text
}
