//! How a benchmark went.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::args::LabelFormat;
use crate::benchmark::Tally;
use crate::table::printable;

/// What is shown of the latencies, in thousandths.
const QUANTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

/// How a benchmark went.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
}

impl Report {
    /// Returns how many calls failed.
    pub(crate) fn failed(&self) -> u64 {
        self.tally.failures.values().map(|(count, _)| count).sum()
    }

    pub(crate) fn render(&self, format: LabelFormat) -> String {
        match format {
            LabelFormat::Text => self.text(),
            LabelFormat::Json => format!("{:#}\n", self.document()),
        }
    }

    fn per_second(&self) -> f64 {
        let ok = u32::try_from(self.tally.latency.total()).unwrap_or(u32::MAX);
        f64::from(ok) / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn text(&self) -> String {
        let Self { tally, took } = self;
        let (ok, failed) = (tally.latency.total(), self.failed());
        let per_second = self.per_second();
        let mut text =
            format!("calls    {ok} ok, {failed} failed in {:.1} s: {per_second:.0} a second\n", took.as_secs_f64());
        if ok > 0 {
            text += "latency ";
            for (name, thousandths) in QUANTILES {
                let quantile = tally.latency.quantile(thousandths).unwrap_or_default();
                write!(text, " {name} {}", short(quantile)).expect("a string takes any text");
            }
            writeln!(text, " max {}", short(tally.latency.max())).expect("a string takes any text");
        }
        for (class, (count, first)) in &tally.failures {
            writeln!(text, "failed   {count} {class}, the first with: {}", printable(first))
                .expect("a string takes any text");
        }
        text
    }

    fn document(&self) -> Value {
        let Self { tally, took } = self;
        let mut latency = serde_json::Map::new();
        for (name, thousandths) in QUANTILES {
            latency.insert(name.to_owned(), json!(tally.latency.quantile(thousandths).map(millis)));
        }
        let max = (tally.latency.total() > 0).then(|| millis(tally.latency.max()));
        latency.insert("max".to_owned(), json!(max));
        let failures: serde_json::Map<_, _> = tally
            .failures
            .iter()
            .map(|(class, (count, first))| ((*class).to_owned(), json!({ "count": count, "first": first })))
            .collect();
        json!({
            "ok": tally.latency.total(),
            "failed": self.failed(),
            "seconds": millis(*took) / 1e3,
            "perSecond": self.per_second().round(),
            "latencyMs": latency,
            "failures": failures,
        })
    }
}

/// Milliseconds with three digits: the rest is noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes a duration with three digits that count.
fn short(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 1.0 => format!("{:.0} us", ms * 1e3),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ok_ms: &[u64], failures: &[(&'static str, u64, &str)]) -> Report {
        let mut tally = Tally::new();
        for ms in ok_ms {
            tally.latency.record(Duration::from_millis(*ms));
        }
        for (class, count, first) in failures {
            tally.failures.insert(class, (*count, (*first).to_owned()));
        }
        Report { tally, took: Duration::from_secs(2) }
    }

    #[test]
    fn a_report_has_what_there_is_to_say() {
        let mixed = report(&[4, 8], &[("unavailable", 3, "unavailable: gone\u{7}")]);
        let text = "calls    2 ok, 3 failed in 2.0 s: 1 a second\n\
                    latency  p50 4.03 ms p90 8.00 ms p99 8.00 ms p99.9 8.00 ms max 8.00 ms\n\
                    failed   3 unavailable, the first with: unavailable: gone\u{fffd}\n";
        // 4.03 is the end of the bucket that 4 is in.
        assert_eq!(mixed.render(LabelFormat::Text), text);
        let document = mixed.document();
        assert_eq!((&document["ok"], &document["failed"], &document["seconds"]), (&json!(2), &json!(3), &json!(2.0)));
        assert_eq!(document["latencyMs"]["max"], json!(8.0));
        assert_eq!(document["failures"]["unavailable"], json!({"count": 3, "first": "unavailable: gone\u{7}"}));

        let none = report(&[], &[]);
        assert_eq!(none.render(LabelFormat::Text), "calls    0 ok, 0 failed in 2.0 s: 0 a second\n");
        assert_eq!(none.document()["latencyMs"]["p50"], json!(null));
    }

    #[test]
    fn durations_are_short() {
        let cases =
            [(900, "900 us"), (9_876, "9.88 ms"), (98_760, "98.8 ms"), (987_600, "988 ms"), (9_876_000, "9.88 s")];
        for (micros, text) in cases {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }
}
