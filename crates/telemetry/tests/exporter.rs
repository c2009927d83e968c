//! What a scrape shows.

use std::error::Error;
use std::io::Write as _;
use std::process::{Command, Stdio};

use telemetry::{Kind, build_metrics, catalogue};

/// Emits every metric of the catalogue once, 0.3 into each histogram, and renders.
fn sample() -> Result<String, Box<dyn Error>> {
    let (recorder, handle) = build_metrics()?;
    metrics::with_local_recorder(&recorder, || {
        for metric in catalogue().iter().filter(|metric| metric.name != "omnirelay_build_info") {
            let labels: Vec<_> = metric.labels.iter().map(|label| metrics::Label::new(*label, "x")).collect();
            match metric.kind {
                Kind::Counter => metrics::counter!(metric.name, labels).increment(1),
                Kind::Gauge => metrics::gauge!(metric.name, labels).set(1.0),
                Kind::Histogram { .. } => metrics::histogram!(metric.name, labels).record(0.3),
            }
        }
    });
    handle.upkeep();
    Ok(handle.render())
}

#[test]
fn a_scrape_shows_every_metric_of_the_catalogue_with_help_and_type() -> Result<(), Box<dyn Error>> {
    let text = sample()?;
    for metric in catalogue() {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let head = format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", metric.name, metric.help);
        assert!(text.contains(&head), "no `{head}` in\n{text}");
    }
    let build_info = format!("omnirelay_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&build_info), "no `{build_info}` in\n{text}");
    Ok(())
}

#[test]
fn each_histogram_has_its_own_buckets() -> Result<(), Box<dyn Error>> {
    let text = sample()?;
    for line in [
        "mesh_gossip_rtt_ms_bucket{le=\"0.25\"} 0",
        "mesh_gossip_rtt_ms_bucket{le=\"0.5\"} 1",
        "mesh_gossip_rtt_ms_bucket{le=\"5000\"} 1",
        "mesh_gossip_rtt_seconds_bucket{le=\"0.0001\"} 0",
        "mesh_gossip_rtt_seconds_bucket{le=\"0.25\"} 0",
        "mesh_gossip_rtt_seconds_bucket{le=\"0.5\"} 1",
        "mesh_gossip_rtt_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no `{line}` in\n{text}");
    }
    Ok(())
}

#[test]
#[ignore = "needs promtool, from the Debian package prometheus"]
fn promtool_accepts_all_but_the_one_listed_exception() -> Result<(), Box<dyn Error>> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool.stdin.take().ok_or("no standard input")?.write_all(sample()?.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let complaints = String::from_utf8(output.stderr)? + &String::from_utf8(output.stdout)?;
    // Dashboards read that name (contracts §4); `mesh_gossip_rtt_seconds` is its well-named twin.
    assert_eq!(complaints, "mesh_gossip_rtt_ms metric names should not contain abbreviated units\n");
    Ok(())
}
