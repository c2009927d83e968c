//! `/metrics` of a node that is really there, against the catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_types::NodeLifecycle;
use telemetry::{Kind, Metric, catalogue};
use test_cluster::{Cluster, Holder, Tuning};

use crate::control::Control;
use crate::{Failure, LIMIT};

/// Metrics that appear with their first fault, which a node among good ones never sees.
const FAULTS: [&str; 6] = [
    "mesh_gossip_detection_seconds",
    "mesh_gossip_dropped_total",
    "mesh_gossip_links_cut_total",
    "mesh_gossip_refused_by_others_total",
    "mesh_gossip_rejected_total",
    "mesh_gossip_revocation_lists_total",
];

/// Returns the name and type of every metric in `text`.
fn types(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

const fn type_of(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram { .. } => "histogram",
    }
}

/// Returns the label names of a series, without the bound of a bucket.
fn labels(series: &str) -> BTreeSet<&str> {
    let Some((_, labels)) = series.trim_end_matches('}').split_once('{') else { return BTreeSet::new() };
    labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).filter(|label| *label != "le").collect()
}

#[tokio::test]
async fn a_node_shows_every_metric_of_the_mesh_and_none_that_the_catalogue_lacks() -> Result<(), Failure> {
    let (recorder, rendered) = telemetry::build_metrics()?;
    let recorder = Arc::new(recorder);
    // The control endpoint runs on this thread, the node on its own: both count into one recorder, as in a process.
    let _here = metrics::set_default_local_recorder(&*recorder);
    let mut cluster = Cluster::start(2, Tuning::fast()).await?;
    let mut setup = cluster.setup("node-2")?;
    setup.recorder = Some(Arc::clone(&recorder) as _);
    let node = cluster.join(setup).await?;
    cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;

    let mut stranger = cluster.setup("stranger")?;
    let beta = Holder { cluster: "beta".to_owned(), ..Holder::new("stranger") };
    stranger.credentials = cluster.authority().credentials_with(&beta)?;
    stranger.options.cluster_id = "beta".parse()?;
    stranger.options.seed_peers = vec![cluster.node(node).local_addr().into()];
    cluster.join(stranger).await?;
    // News of another member, which come with their age.
    cluster.handle(0).set_lifecycle(NodeLifecycle::Cordoned).await?;
    let parts = ["refused_total{", "rtt_ms_count", "propagation_seconds_count"];
    let all_there = |text: &str| parts.iter().all(|part| text.contains(part));
    cluster.wait_until("a refusal, a probe and news", LIMIT, |_| all_there(&rendered.render())).await?;

    let shown = rendered.clone();
    let control = Control::start(&cluster, cluster.node(node), move || shown.render()).await?;
    // The first scrape is itself counted for the second to show.
    control.get("/metrics").await?;
    let text = control.get("/metrics").await?;
    let types = types(&text);
    let known: BTreeMap<_, _> = catalogue().iter().map(|metric| (metric.name, type_of(metric))).collect();
    let unknown: Vec<_> = types.iter().filter(|(name, kind)| known.get(*name) != Some(kind)).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    let of_mesh = known.keys().filter(|name| name.starts_with("mesh_gossip_"));
    let missing: Vec<_> = of_mesh.filter(|name| !types.contains_key(*name)).copied().collect();
    assert_eq!(missing, FAULTS, "in\n{text}");

    for metric in catalogue() {
        let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let is_its = |line: &&str| line.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with([' ', '{']));
        for line in text.lines().filter(is_its) {
            let series = line.rsplit_once(' ').ok_or("a series has a value")?.0;
            assert_eq!(labels(series), expected, "{line}");
        }
    }
    Ok(())
}

#[test]
fn what_the_pages_say_of_metrics_is_said_of_metrics_there_are() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let known: BTreeSet<&str> = catalogue().iter().map(|metric| metric.name).collect();
    for page in ["gossip.md", "gossip-tls.md", "gossip-tuning.md", "operations.md"] {
        let text = std::fs::read_to_string(format!("{docs}/{page}")).expect("the page is there");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| word.starts_with("mesh_gossip_") || word.starts_with("mesh_credentials_")).collect();
        let plain = |name: &&&str| {
            let name = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            !known.contains(name)
        };
        let unknown: Vec<_> = named.iter().filter(plain).collect();
        assert!(unknown.is_empty(), "{page} names {unknown:?}");
        assert!(!named.is_empty(), "{page} names none");
    }
}
