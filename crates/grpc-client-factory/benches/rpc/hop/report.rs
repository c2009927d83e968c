//! What the ways have shown, as rows.

use crate::contest::Setting;
use crate::report::{Bound, Row, middle, time};
use crate::rounds::Turn;

/// What all ways are compared with.
pub(crate) const BASE: &str = "direct, tonic's mutual TLS";

/// How much more processor time nodes may take for a call than a proxy that is beside them.
const CPU_MOST: f64 = 1.0;

/// Where in [`Turn::cpu`] those between client and server are.
const BETWEEN: std::ops::Range<usize> = 2..4;

/// Returns the rows of all ways at one setting. Those that are through nodes or proxies are compared with the direct one.
pub(crate) fn rows(names: &[String], setting: Setting, taken: &[Vec<Turn>]) -> Vec<Row> {
    let direct = names.iter().zip(taken).find(|(name, _)| *name == BASE).map(|(_, turns)| turns);
    let mut rows = Vec::new();
    for (name, turns) in names.iter().zip(taken) {
        let title = |measure: &str| format!("{}: {measure}", title(setting, name));
        let base = direct.filter(|_| name != BASE);
        rows.push(rate(title("calls"), turns, base));
        rows.push(latency(title("p50"), turns, base, |turn| turn.p50));
        rows.push(latency(title("p99"), turns, base, |turn| turn.p99));
        rows.push(ends(title("CPU a call of client and server"), turns, base));
        if name != BASE {
            rows.extend(between(&title("CPU a call of those between"), name, turns, (names, taken)));
        }
    }
    rows
}

/// Returns the name of a way at a setting.
pub(crate) fn title(Setting { bytes, at_once }: Setting, name: &str) -> String {
    format!("{bytes} B, {at_once} at once, {name}")
}

fn rate(name: String, turns: &[Turn], base: Option<&Vec<Turn>>) -> Row {
    let measured = format!("{:.0}/s", median(turns, |turn| turn.rate));
    let compared = base.map_or_else(String::new, |base| ratio(turns, base, |turn| turn.rate).1 + " x direct");
    Row::new(name, measured, compared, None, Bound::AtLeast(None))
}

fn latency(name: String, turns: &[Turn], base: Option<&Vec<Turn>>, of: fn(&Turn) -> f64) -> Row {
    let compared = base.map_or_else(String::new, |base| {
        let (_, added, _) = middle(turns.iter().zip(base).map(|(own, base)| of(own) - of(base)));
        let sign = if added < 0.0 { "-" } else { "+" };
        format!("{sign}{}; {} x direct", time(added.abs()), ratio(turns, base, of).1)
    });
    Row::new(name, time(median(turns, of)), compared, None, Bound::AtMost(None))
}

fn ends(name: String, turns: &[Turn], base: Option<&Vec<Turn>>) -> Row {
    let of = |turn: &Turn| turn.cpu.iter().take(BETWEEN.start).sum();
    let compared = base.map_or_else(String::new, |base| ratio(turns, base, of).1 + " x direct");
    Row::new(name, time(median(turns, of)), compared, None, Bound::AtMost(None))
}

/// Returns what both nodes or proxies take; nodes are compared with each of the proxies.
fn between(title: &str, name: &str, turns: &[Turn], (names, taken): (&[String], &[Vec<Turn>])) -> Vec<Row> {
    let each: Vec<String> =
        BETWEEN.map(|place| time(median(turns, |turn| turn.cpu.get(place).copied().unwrap_or(f64::NAN)))).collect();
    let measured = time(median(turns, of_both));
    let parts = each.join(" + ");
    let rivals: Vec<_> =
        names.iter().zip(taken).filter(|(rival, _)| is_node(name) && *rival != BASE && !is_node(rival)).collect();
    if rivals.is_empty() {
        return vec![Row::new(title.to_owned(), measured, parts, None, Bound::AtMost(None))];
    }
    let row = |(rival, theirs): (&String, &Vec<Turn>)| {
        let (median, shown) = ratio(turns, theirs, of_both);
        let compared = format!("{parts}; {shown} x {rival}");
        Row::new(title.to_owned(), measured.clone(), compared, Some(median), Bound::AtMost(Some(CPU_MOST)))
    };
    rivals.into_iter().map(row).collect()
}

fn is_node(name: &str) -> bool {
    name.starts_with("node")
}

fn of_both(turn: &Turn) -> f64 {
    BETWEEN.filter_map(|place| turn.cpu.get(place)).sum()
}

fn median(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> f64 {
    middle(turns.iter().map(of)).1
}

/// Returns the median of the ratios of a round, and that with the least and the most.
fn ratio(turns: &[Turn], base: &[Turn], of: impl Fn(&Turn) -> f64) -> (f64, String) {
    let (least, median, most) = middle(turns.iter().zip(base).map(|(own, base)| of(own) / of(base)));
    (median, format!("{median:.2} ({least:.2} to {most:.2})"))
}
