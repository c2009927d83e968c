//! Results as pictures.

use std::fmt::Write as _;

use super::kind::Kind;
use super::results::Results;
use super::scenario::Scenario;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 60.0;
const STYLE: &str = "<style>text{font:13px sans-serif;fill:#333}.t{font-size:15px;font-weight:bold}\
                     .n{font-size:11px;fill:#777}.g{stroke:#ddd}.z{fill:#f5e6e6}</style>";

/// Returns the plots that `results` suffice for: file names, and what to write there.
#[must_use]
pub fn plots(results: &Results) -> Vec<(&'static str, String)> {
    let tails = ["s0", "s2", "s3", "s3b"].into_iter().filter(|name| results.of(name).next().is_some());
    let tails: Vec<&str> = tails.collect();
    let mut plots = Vec::new();
    if !tails.is_empty() {
        plots.push(("balance-tails.svg", tail_plot(results, &tails)));
    }
    if results.of("s1").next().is_some() {
        plots.push(("balance-slow-peer.svg", slow_plot(results)));
    }
    plots
}

const fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::RoundRobin => "#999999",
        Kind::TwoRandom => "#e6a700",
        Kind::FewestPending => "#b07d2b",
        Kind::PeakEwma10 => "#7bafde",
        Kind::PeakEwma3 => "#1965b0",
        Kind::Prequal => "#882e72",
        Kind::Adaptive | Kind::AdaptiveUnguarded => "#dc050c",
        Kind::Probed | Kind::ProbedUnguarded => "#4eb265",
        Kind::ProbedHalf => "#90c987",
        Kind::ProbedQuarter => "#cae0ab",
    }
}

/// Draws p99 and p99.9 of each policy as a bar from one to the other, on a logarithmic scale.
fn tail_plot(results: &Results, scenarios: &[&str]) -> String {
    const LINE: f64 = 17.0;
    let x = |ms: f64| LEFT + (ms / 50.0).max(1.0).log10() / 3.0 * (RIGHT - LEFT);
    let mut body = String::new();
    let mut y = TOP;
    for name in scenarios {
        let Some(first) = results.of(name).next() else { continue };
        text(&mut body, "t", 10.0, y, &format!("{name}: {}", first.scenario.title));
        for outcome in results.of(name) {
            y += LINE;
            let latencies = &outcome.measured.latencies;
            let (p99, p999) = (latencies.quantile_ms(0.99), latencies.quantile_ms(0.999));
            let (from, to, colour) = (x(p99), x(p999), colour(outcome.kind));
            text(&mut body, "", 10.0, y + 5.0, outcome.kind.name());
            push(
                &mut body,
                format_args!(
                    "<rect x='{from:.1}' y='{:.1}' width='{:.1}' height='9' rx='3' fill='{colour}'/>",
                    y - 4.0,
                    (to - from).max(1.0)
                ),
            );
            let note = if to < RIGHT - 90.0 { to + 6.0 } else { from - 84.0 };
            text(&mut body, "n", note, y + 5.0, &format!("{p99:.0} / {p999:.0}"));
        }
        y += 2.0 * LINE;
    }
    let mut grid = String::new();
    for ms in [50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0] {
        let at = x(ms);
        push(&mut grid, format_args!("<path class='g' d='M{at:.1} {:.1}V{y:.1}'/>", TOP - 20.0));
        text(&mut grid, "n", at - 10.0, y + 14.0, &format!("{ms:.0}"));
    }
    svg("Tail latency: from p99 to p99.9, in milliseconds", y + 30.0, &(grid + &body))
}

/// Draws the share of the slow server second by second.
fn slow_plot(results: &Results) -> String {
    const BOTTOM: f64 = 360.0;
    const SHARE_MAX: f64 = 1.6;
    let y = |share: f64| BOTTOM - share.min(SHARE_MAX) / SHARE_MAX * (BOTTOM - TOP);
    let seconds = results.of("s1").map(|outcome| outcome.measured.share.len()).max().unwrap_or(1);
    let from = Scenario::TROUBLE_S.0 - 10;
    let x = |second: f64| LEFT / 2.0 + (second - from as f64) / (seconds - from) as f64 * (RIGHT - LEFT / 2.0);
    let mut body = String::new();
    let (begin, end) = (x(Scenario::TROUBLE_S.0 as f64), x(Scenario::TROUBLE_S.1 as f64));
    push(
        &mut body,
        format_args!(
            "<rect class='z' x='{begin:.1}' y='{TOP}' width='{:.1}' height='{:.1}'/>",
            end - begin,
            BOTTOM - TOP
        ),
    );
    for share in [0.0, 0.5, 1.0, 1.5] {
        push(&mut body, format_args!("<path class='g' d='M{:.1} {:.1}H{RIGHT}'/>", LEFT / 2.0, y(share)));
        text(&mut body, "n", 30.0, y(share) + 4.0, &format!("{share:.1}"));
    }
    for second in (from..=seconds).step_by(10) {
        text(&mut body, "n", x(second as f64) - 6.0, BOTTOM + 16.0, &format!("{second} s"));
    }
    let mut legend = LEFT / 2.0;
    let shown = [Kind::TwoRandom, Kind::PeakEwma10, Kind::Prequal, Kind::Adaptive, Kind::Probed];
    for outcome in results.of("s1").filter(|outcome| shown.contains(&outcome.kind)) {
        let points: Vec<String> = (from..)
            .zip(outcome.measured.share.iter().skip(from))
            .map(|(second, share)| format!("{:.1},{:.1}", x(second as f64 + 0.5), y(*share)))
            .collect();
        let colour = colour(outcome.kind);
        push(
            &mut body,
            format_args!("<polyline fill='none' stroke='{colour}' stroke-width='1.6' points='{}'/>", points.join(" ")),
        );
        push(
            &mut body,
            format_args!("<rect x='{legend:.1}' y='{:.1}' width='14' height='5' fill='{colour}'/>", BOTTOM + 33.0),
        );
        text(&mut body, "", legend + 20.0, BOTTOM + 40.0, outcome.kind.name());
        legend += 140.0;
    }
    svg("Share of one server, 1 = fair; ten times slower in the shaded time", BOTTOM + 55.0, &body)
}

fn svg(title: &str, height: f64, body: &str) -> String {
    let mut out = format!("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}'>\n{STYLE}\n");
    push(&mut out, format_args!("<rect width='{WIDTH}' height='{height:.0}' fill='#fff'/>"));
    text(&mut out, "t", 10.0, 24.0, title);
    out.push_str(body);
    out.push_str("</svg>\n");
    out
}

fn text(out: &mut String, class: &str, x: f64, y: f64, words: &str) {
    push(out, format_args!("<text class='{class}' x='{x:.1}' y='{y:.1}'>{words}</text>"));
}

fn push(out: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    writeln!(out, "{element}").unwrap_or_default();
}
