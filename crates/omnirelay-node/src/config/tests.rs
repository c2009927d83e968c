//! The loader as a whole: files, environment and flags in, configuration or problems out.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use grpc_client_factory::{HealthCheckOptions, HedgedMethods, HedgingOptions, Profile};
use tempfile::TempDir;

use super::*;

mod every_key;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn sources(variables: &[(&str, &str)], assignments: &[&str]) -> Sources {
    Sources {
        variables: variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
        assignments: assignments.iter().map(|text| (*text).to_owned()).collect(),
        ..Sources::default()
    }
}

/// Writes each text to a file of its own, in order, as sources of a configuration.
fn files(dir: &TempDir, texts: &[&str]) -> Result<Sources, std::io::Error> {
    let write = |(index, text): (usize, &&str)| {
        let path = dir.path().join(format!("{index}.toml"));
        fs::write(&path, text)?;
        Ok(path)
    };
    Ok(Sources {
        files: texts.iter().enumerate().map(write).collect::<Result<_, std::io::Error>>()?,
        ..Sources::default()
    })
}

fn show(sources: &Sources) -> Result<Config, ConfigError> {
    Config::load(sources, Purpose::Show)
}

/// Asserts that the configuration is refused with exactly these lines, in any order.
#[track_caller]
fn check_refused(loaded: Result<Config, ConfigError>, expected: &[&str]) {
    let error = loaded.expect_err("a wrong configuration was accepted");
    let mut lines: Vec<_> = error.problems.iter().map(|problem| Chain(problem).to_string()).collect();
    let mut expected = expected.to_vec();
    lines.sort();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn defaults_are_those_of_the_contract() -> TestResult {
    let config = show(&Sources::default())?;
    // Gossip documents its own defaults; configuration must not have others.
    let id: identity::SpiffeId = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a".parse()?;
    let (node, cluster, role) = (id.node().clone(), id.cluster().clone(), id.role().clone());
    assert_eq!(config.gossip.options(&id), gossip::Options::new(node, cluster, role, "local".parse()?));
    assert!(config.gossip.enabled);
    assert_eq!((config.gossip.node_id, config.gossip.cluster_id, config.gossip.role), (None, None, None));
    assert_eq!(config.control, ControlConfig { enabled: true, address: "127.0.0.1:17420".parse()?, plaintext: false });
    assert_eq!(config.log, LogConfig { format: LogFormat::Text, filter: "info".to_owned() });
    Ok(())
}

#[test]
fn calls_are_made_as_the_factory_does_by_default_and_hedged_and_checked_if_the_configuration_says_so() -> TestResult {
    let profile = |assignments: &[&str]| Ok::<_, ConfigError>(show(&sources(&[], assignments))?.rpc.profile());
    assert_eq!(profile(&["rpc.hedging.delay=1s", "rpc.healthCheck.interval=1s"])?, Profile::data_plane());
    let both = profile(&["rpc.hedging.methods=*", "rpc.healthCheck.enabled=true"])?;
    assert_eq!(both.hedging, Some(HedgingOptions::new(HedgedMethods::All)));
    assert_eq!(both.http3.health_check, Some(HealthCheckOptions::default()));
    let named =
        profile(&["rpc.hedging.methods=a.B/Read,a.B/List", "rpc.hedging.delay=20ms", "rpc.hedging.maxAttempts=3"])?;
    let methods = HedgedMethods::Named(["a.B/List".to_owned(), "a.B/Read".to_owned()].into());
    let delay = Duration::from_millis(20);
    assert_eq!(named.hedging, Some(HedgingOptions { max_attempts: 3, delay, ..HedgingOptions::new(methods) }));
    Ok(())
}

#[test]
fn each_source_covers_the_ones_before_it() -> TestResult {
    let dir = TempDir::new()?;
    let region = |sources: &Sources| Ok::<_, ConfigError>(show(sources)?.gossip.region.as_str().to_owned());
    let mut sources = files(&dir, &["[mesh.gossip]\nregion = 'first'", "mesh.gossip.region = 'second'"])?;
    assert_eq!(region(&sources)?, "second");
    sources.variables.push(("OMNIRELAY_MESH__GOSSIP__REGION".into(), "variable".into()));
    assert_eq!(region(&sources)?, "variable");
    sources.assignments.push("mesh.gossip.region=assigned".to_owned());
    assert_eq!(region(&sources)?, "assigned");
    sources.flags.push(("--region", keys::REGION, "flag".to_owned()));
    assert_eq!(region(&sources)?, "flag");
    Ok(())
}

#[test]
fn a_later_source_leaves_alone_what_it_does_not_name() -> TestResult {
    let dir = TempDir::new()?;
    let first = "[mesh.gossip]\nport = 1\nlabels = { rack = 'r1', zone = 'a' }";
    let mut sources = files(&dir, &[first, "[mesh.gossip]\nfanout = 2\nlabels.zone = 'b'"])?;
    sources.variables.push(("MESH_GOSSIP__LABELS__Disk".into(), "ssd".into()));
    let gossip = show(&sources)?.gossip;
    assert_eq!((gossip.port, gossip.fanout), (1, 2));
    let labels = [("Disk", "ssd"), ("rack", "r1"), ("zone", "b")];
    assert_eq!(gossip.labels, labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    Ok(())
}

#[test]
fn both_spellings_of_the_environment_set_the_same_keys() -> TestResult {
    for prefix in ["OMNIRELAY_MESH__GOSSIP__", "MESH_GOSSIP__"] {
        for name in ["CLUSTERID", "CLUSTER_ID", "ClusterId"] {
            let gossip = show(&sources(&[(&format!("{prefix}{name}"), "alpha")], &[]))?.gossip;
            assert_eq!(gossip.cluster_id, Some("alpha".parse()?), "{prefix}{name}");
        }
        let nested = show(&sources(&[(&format!("{prefix}TLS__TRUST_BUNDLE"), "ca.pem")], &[]))?;
        assert_eq!(nested.tls.trust_bundle.as_deref(), Some(Path::new("ca.pem")));
    }
    Ok(())
}

#[test]
fn text_takes_the_type_of_its_key() -> TestResult {
    let variables = [
        ("MESH_GOSSIP__PORT", "0"),
        ("MESH_GOSSIP__HTTP3_SUPPORT", "false"),
        ("MESH_GOSSIP__SEED_PEERS", "10.0.0.7:1, seed-2:2,"),
        ("MESH_GOSSIP__INTERVAL", "00:00:02"),
        ("OMNIRELAY_LOG__FORMAT", "json"),
    ];
    let config = show(&sources(&variables, &["mesh.gossip.labels.a.b=c=d", "control.enabled=false"]))?;
    assert_eq!(config.gossip.port, 0);
    assert!(!config.gossip.http3_support);
    assert_eq!(config.gossip.seed_peers, ["10.0.0.7:1".parse()?, "seed-2:2".parse()?]);
    assert_eq!(config.gossip.interval, Duration::from_secs(2));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.gossip.labels, [("a.b".to_owned(), "c=d".to_owned())].into());
    assert!(!config.control.enabled);
    Ok(())
}

#[test]
fn other_programs_variables_are_left_alone() -> TestResult {
    let variables = [("OMNIRELAY_ENDPOINT", "x"), ("OMNIRELAY_TIMEOUT", "x"), ("MESH_GOSSIP", "x"), ("PATH", "x")];
    assert_eq!(show(&sources(&variables, &[]))?, show(&Sources::default())?);
    Ok(())
}

#[test]
fn a_bare_time_of_toml_is_a_duration() -> TestResult {
    let dir = TempDir::new()?;
    let sources = files(&dir, &["mesh.gossip.interval = 00:00:02"])?;
    assert_eq!(show(&sources)?.gossip.interval, Duration::from_secs(2));
    Ok(())
}

#[test]
fn a_path_in_a_file_is_relative_to_the_file() -> TestResult {
    let dir = TempDir::new()?;
    let sources = files(&dir, &["mesh.gossip.tls = { certificate = 'node.pem', key = '/etc/key.pem' }"])?;
    let tls = show(&sources)?.tls;
    assert_eq!(tls.certificate, Some(dir.path().join("node.pem")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/etc/key.pem")));
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_its_origin_and_a_suggestion() -> TestResult {
    let dir = TempDir::new()?;
    let mut sources = files(&dir, &["[mesh.gossip]\nseedPeer = ['a:1']\n[colours]\nred = 1\n[empty]"])?;
    let file = sources.files.first().ok_or("no file")?.display().to_string();
    let variables = ["OMNIRELAY_MESH__GOSSIP__ROLL", "MESH_GOSSIP__PORTS", "OMNIRELAY_GOSSIP__ROLE"];
    sources.variables = variables.map(|name| (name.into(), "1".into())).into();
    sources.assignments =
        vec!["log.fromat=json".to_owned(), "mesh.gossip.cluster_id=x".to_owned(), "nonsense".to_owned()];
    let expected = [
        format!("file {file}: unknown key `mesh.gossip.seedPeer`; did you mean `mesh.gossip.seedPeers`?"),
        format!("file {file}: unknown key `colours.red`"),
        format!("file {file}: unknown key `empty`"),
        "env OMNIRELAY_MESH__GOSSIP__ROLL: unknown key `mesh.gossip.roll`; did you mean `mesh.gossip.role`?".to_owned(),
        "env MESH_GOSSIP__PORTS: unknown key `mesh.gossip.ports`; did you mean `mesh.gossip.port`?".to_owned(),
        "env OMNIRELAY_GOSSIP__ROLE: unknown key `gossip.role`; did you mean `mesh.gossip.role`?".to_owned(),
        "flag --set: unknown key `log.fromat`; did you mean `log.format`?".to_owned(),
        "flag --set: unknown key `mesh.gossip.cluster_id`; did you mean `mesh.gossip.clusterId`?".to_owned(),
        "flag --set: `nonsense` is not of the form `key=value`".to_owned(),
    ];
    check_refused(show(&sources), &expected.each_ref().map(String::as_str));
    Ok(())
}

#[test]
fn wrong_values_are_refused_all_at_once_each_with_what_would_be_valid() -> TestResult {
    let dir = TempDir::new()?;
    let text = "mesh.gossip.port = '17421'\nmesh.gossip.fanout = 256\nmesh.gossip.seedPeers = ['node-a']\n\
                mesh.gossip.labels.rack = 7\nmesh.gossip.tls.key = ''\nmesh.gossip.advertisePort = 0\nlog.format = true";
    let mut sources = files(&dir, &[text])?;
    let file = format!("file {}", sources.files.first().ok_or("no file")?.display());
    sources.variables.push(("MESH_GOSSIP__NODE_ID".into(), "a/b".into()));
    sources.assignments.push("mesh.gossip.interval=5 parsecs".to_owned());
    sources.flags.push(("--bind-address", keys::BIND_ADDRESS, "everywhere".to_owned()));
    sources.flags.push(("--control-address", keys::CONTROL_ADDRESS, "localhost".to_owned()));
    let expected = [
        format!("{file}: `mesh.gossip.port` is \"17421\"; a whole number from 0 to 65535 is valid"),
        format!("{file}: `mesh.gossip.fanout` is 256; a whole number from 0 to 255 is valid"),
        format!("{file}: `mesh.gossip.seedPeers` is [\"node-a\"]; endpoint `node-a` has no port; write `host:port`"),
        format!("{file}: `mesh.gossip.labels` is {{\"rack\":7}}; a table of texts such as `{{ rack = \"r1\" }}` is valid"),
        format!("{file}: `mesh.gossip.tls.key` is \"\"; the path of a file is valid"),
        format!("{file}: `mesh.gossip.advertisePort` is 0; a whole number from 1 to 65535 is valid"),
        format!("{file}: `log.format` is true; `text` or `json` is valid"),
        "env MESH_GOSSIP__NODE_ID: `mesh.gossip.nodeId` is \"a/b\"; node id `a/b` holds '/'; letters, digits, `.`, `_` and \
         `-` are valid"
            .to_owned(),
        format!("flag --set: `mesh.gossip.interval` is \"5 parsecs\"; {}", duration::FORMS),
        "flag --bind-address: `mesh.gossip.bindAddress` is \"everywhere\"; an IP address such as `0.0.0.0` or `::` is valid"
            .to_owned(),
        "flag --control-address: `control.address` is \"localhost\"; an IP address and a port such as `127.0.0.1:17420` are \
         valid"
            .to_owned(),
    ];
    check_refused(show(&sources), &expected.each_ref().map(String::as_str));
    Ok(())
}

#[test]
fn values_out_of_range_are_refused_all_at_once_except_those_that_follow_from_others() -> TestResult {
    let long = "v".repeat(129);
    let settings = [
        "mesh.gossip.fanout=1",
        "mesh.gossip.interval=2m",
        // Less than twice the interval, but more than twice a valid one.
        "mesh.gossip.suspicionInterval=3m",
        "mesh.gossip.deadAfter=25h",
        "mesh.gossip.idleTimeout=1s",
        &format!("mesh.gossip.labels.rack={long}"),
    ];
    let expected = [
        "flag --set: `mesh.gossip.fanout` is 1; 2 to 32 is valid",
        "flag --set: `mesh.gossip.interval` is 2m; 50ms to 1m is valid",
        "flag --set: `mesh.gossip.deadAfter` is 25h; a quarter of suspicionInterval to 24h is valid",
        "flag --set: `mesh.gossip.idleTimeout` is 1s; 5s to 10m is valid",
        "flag --set: `mesh.gossip.labels` is not valid: value of label `rack` is 129 bytes long, more than 128",
    ];
    check_refused(show(&sources(&[], &settings)), &expected);
    check_refused(
        show(&sources(&[], &["mesh.gossip.pingTimeout=6s"])),
        &["flag --set: `mesh.gossip.pingTimeout` is 6s; 10ms to suspicionInterval is valid"],
    );
    Ok(())
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() -> TestResult {
    let dir = TempDir::new()?;
    let mut sources = files(&dir, &["[mesh\nx"])?;
    let broken = sources.files.first().ok_or("no file")?.display().to_string();
    sources.files.push(dir.path().join("absent.toml"));
    let error = show(&sources).expect_err("accepted").to_string();
    assert!(error.contains(&format!("file {broken}: TOML parse error at line 1, column 6")), "{error}");
    assert!(error.contains("absent.toml`: No such file or directory"), "{error}");
    Ok(())
}

#[test]
fn two_variables_that_disagree_about_a_key_are_refused() -> TestResult {
    let twice = |second| sources(&[("MESH_GOSSIP__ROLE", "a"), ("OMNIRELAY_MESH__GOSSIP__ROLE", second)], &[]);
    assert_eq!(show(&twice("a"))?.gossip.role, Some("a".parse()?));
    let expected = "env MESH_GOSSIP__ROLE and env OMNIRELAY_MESH__GOSSIP__ROLE set `mesh.gossip.role` to different values; \
                    keep one";
    check_refused(show(&twice("b")), &[expected]);
    Ok(())
}

const CERTIFICATES: [&str; 3] =
    ["mesh.gossip.tls.certificate=c", "mesh.gossip.tls.key=k", "mesh.gossip.tls.trustBundle=t"];

#[test]
fn a_node_needs_its_certificate() {
    let missing = [
        "`mesh.gossip.tls.certificate` is not set: the PEM file of this node's certificate chain",
        "`mesh.gossip.tls.key` is not set: the PEM file of the certificate's private key",
        "`mesh.gossip.tls.trustBundle` is not set: the PEM file of the CA certificates that this node trusts",
    ];
    check_refused(Config::load(&Sources::default(), Purpose::Run), &missing);
    assert!(Config::load(&sources(&[], &CERTIFICATES), Purpose::Run).is_ok());
}

#[test]
fn certificate_files_are_read_again_at_least_daily_and_lists_may_be_overdue_unless_that_is_refused() -> TestResult {
    let shown = show(&Sources::default())?;
    assert_eq!((shown.tls.reload_interval, shown.tls.stale_lists), (Duration::from_secs(300), StaleLists::Keep));
    assert_eq!(shown.gossip.rehandshake_window, Duration::from_secs(30));
    let set = [
        "mesh.gossip.tls.certificateRevocationList=crl.pem",
        "mesh.gossip.tls.refuseOverdueRevocationLists=true",
        "mesh.gossip.certificateReloadInterval=1m",
    ];
    let files = Config::load(&sources(&[], &[&CERTIFICATES[..], &set].concat()), Purpose::Run)?.tls.files();
    assert_eq!(files.revocation_lists, Some("crl.pem".into()));
    assert_eq!((files.stale_lists, files.reread_every), (StaleLists::Refuse, Duration::from_secs(60)));
    check_refused(
        show(&sources(&[], &["mesh.gossip.certificateReloadInterval=25h"])),
        &["flag --set: `mesh.gossip.certificateReloadInterval` is 25h; 2s to 24h is valid"],
    );
    Ok(())
}

#[test]
fn plain_http_is_for_dev_on_loopback_only() {
    let load = |purpose, address: &str| {
        let address = format!("control.address={address}");
        let settings = [&CERTIFICATES[..], &["control.plaintext=true", &address]].concat();
        Config::load(&sources(&[], &settings), purpose)
    };
    let refused =
        "flag --set: `control.plaintext` is true; only `omnirelay-node dev` may serve plain HTTP, and only on loopback";
    check_refused(load(Purpose::Run, "127.0.0.1:0"), &[refused]);
    check_refused(load(Purpose::RunInDev, "0.0.0.0:0"), &[refused]);
    assert!(load(Purpose::RunInDev, "127.0.0.1:0").is_ok());
}

#[test]
fn a_node_with_nothing_to_run_is_refused() {
    let settings = [&CERTIFICATES[..], &["mesh.gossip.enabled=false", "control.enabled=false"]].concat();
    let expected = "`mesh.gossip.enabled` and `control.enabled` are both false: nothing is left to run";
    check_refused(Config::load(&sources(&[], &settings), Purpose::Run), &[expected]);
}

#[test]
fn the_sample_configurations_are_valid() -> TestResult {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config");
    let load = |name: &str| {
        let sources = Sources { files: vec![samples.join(name)], ..Sources::default() };
        Config::load(&sources, Purpose::Run)
    };
    let dev = load("dev.toml")?;
    assert!(dev.control.address.ip().is_loopback());
    let prod = load("prod.toml")?;
    assert_eq!((prod.gossip.port, prod.control.address.port()), (17421, 17420));
    assert!(prod.gossip.advertise_host.is_some(), "with seeds by name gossip cannot find out where it is reached");
    assert!(prod.gossip.seed_peers.len() >= 2, "one seed is a single point of failure");
    Ok(())
}

#[test]
fn the_origin_of_every_value_is_shown() -> TestResult {
    let dir = TempDir::new()?;
    let mut from = files(&dir, &["mesh.gossip.labels.rack = 'r1'\nlog.format = 'json'"])?;
    let file = from.files.first().ok_or("no file")?.display().to_string();
    from.variables =
        vec![("MESH_GOSSIP__LABELS__zone".into(), "a".into()), ("MESH_GOSSIP__ROLE".into(), "worker".into())];
    from.flags = vec![("--port", keys::PORT, "7".to_owned())];
    let (settings, _) = Settings::gather(&from);

    let table = print(&settings, PrintFormat::Table);
    let row = |key: &str| {
        let line = table.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table.lines().count(), 1 + keys::ALL.len());
    assert_eq!(row("log.format"), ["log.format", "json", &format!("file {file}")]);
    assert_eq!(row("mesh.gossip.role"), ["mesh.gossip.role", "worker", "env MESH_GOSSIP__ROLE"]);
    assert_eq!(row("mesh.gossip.port"), ["mesh.gossip.port", "7", "flag --port"]);
    assert_eq!(row("mesh.gossip.interval"), ["mesh.gossip.interval", "1s", "default"]);
    assert_eq!(row("mesh.gossip.nodeId"), ["mesh.gossip.nodeId", "-", "not set"]);
    let both = format!("file {file}, env MESH_GOSSIP__LABELS__zone");
    assert_eq!(row("mesh.gossip.labels"), ["mesh.gossip.labels", "{\"rack\":\"r1\",\"zone\":\"a\"}", &both]);

    let json: serde_json::Value = serde_json::from_str(&print(&settings, PrintFormat::Json))?;
    let port = serde_json::json!({ "key": "mesh.gossip.port", "value": 7, "origin": "flag --port" });
    assert!(json.as_array().is_some_and(|rows| rows.contains(&port)), "{json}");
    Ok(())
}

#[test]
fn settings_shown_as_toml_load_as_the_same_configuration() -> TestResult {
    let dir = TempDir::new()?;
    let assignments = [
        "mesh.gossip.labels.a b=\"q\"",
        "mesh.gossip.seedPeers=a:1,b:2",
        "mesh.gossip.nodeId=n",
        "control.plaintext=true",
    ];
    let from = sources(&[], &assignments);
    let text = print(&Settings::gather(&from).0, PrintFormat::Toml);
    assert_eq!(show(&files(&dir, &[&text])?)?, show(&from)?, "{text}");
    assert!(text.contains("nodeId = \"n\" # flag --set\n"), "{text}");
    assert!(text.contains("# role is not set\n"), "{text}");
    Ok(())
}

#[test]
fn a_profile_stands_above_the_defaults_and_below_everything_that_somebody_set() -> TestResult {
    let of = |settings: &[&str]| -> Result<[Duration; 3], ConfigError> {
        let gossip = show(&sources(&[], settings))?.gossip;
        Ok([gossip.interval, gossip.suspicion_interval, gossip.ping_timeout])
    };
    let secs = Duration::from_secs;
    assert_eq!(of(&["mesh.gossip.profile=wan"])?, [secs(2), secs(15), secs(5)]);
    assert_eq!(of(&["mesh.gossip.interval=3s", "mesh.gossip.profile=wan"])?, [secs(3), secs(15), secs(5)]);
    let as_usual = ["mesh.gossip.profile=wan", "mesh.gossip.interval=1s"];
    assert_eq!(of(&as_usual)?, [secs(1), secs(15), secs(5)], "what equals the default is set all the same");
    assert_eq!(of(&["mesh.gossip.profile=balanced"])?, of(&[])?);
    let (settings, _) = Settings::gather(&sources(&[], &["mesh.gossip.profile=fast", "mesh.gossip.pingTimeout=1s"]));
    let origins = [keys::INTERVAL, keys::PING_TIMEOUT, keys::FANOUT].map(|key| settings.origin(key));
    assert_eq!(origins, ["profile fast", "flag --set", "default"]);
    Ok(())
}

#[test]
fn calls_have_as_many_threads_as_there_may_be() -> TestResult {
    let load = |threads: &str| show(&sources(&[], &[&format!("rpc.threads={threads}")]));
    let threads = |count: &str| Ok::<_, ConfigError>(load(count)?.rpc.threads.map(|Threads(count)| count.get()));
    assert_eq!((threads("1")?, threads("64")?, show(&sources(&[], &[]))?.rpc.threads), (Some(1), Some(64), None));
    for wrong in ["0", "65"] {
        let problem = format!("flag --set: `rpc.threads` is {wrong}; a whole number from 1 to 64 is valid");
        check_refused(load(wrong), &[&problem]);
    }
    Ok(())
}
