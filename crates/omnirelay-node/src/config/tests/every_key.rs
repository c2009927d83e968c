//! Each setting by itself: what it takes from a file and from the environment, and what it refuses.

use super::*;
use crate::config::env;

/// A setting: a value that is not its default as a file has it and as the environment has it, and one that is refused.
struct Row {
    path: &'static str,
    toml: &'static str,
    text: &'static str,
    wrong: &'static str,
}

macro_rules! rows {
    ($($path:literal: $toml:literal, $text:literal; $wrong:literal;)*) => {
        &[$(Row { path: $path, toml: $toml, text: $text, wrong: $wrong }),*]
    };
}

const ROWS: &[Row] = rows! {
    "mesh.gossip.enabled": "false", "false"; "'no'";
    "mesh.gossip.nodeId": "'node-a'", "node-a"; "'a/b'";
    "mesh.gossip.clusterId": "'alpha'", "alpha"; "''";
    "mesh.gossip.role": "'gateway'", "gateway"; "'a b'";
    "mesh.gossip.region": "'eu-1'", "eu-1"; "'eu/1'";
    "mesh.gossip.meshVersion": "'9.9'", "9.9"; "''";
    "mesh.gossip.http3Support": "false", "false"; "1";
    "mesh.gossip.labels": "{ rack = 'r1' }", "r1"; "{ rack = 1 }";
    "mesh.gossip.bindAddress": "'127.0.0.1'", "127.0.0.1"; "'localhost'";
    "mesh.gossip.port": "1", "1"; "65536";
    "mesh.gossip.advertiseHost": "'a.example'", "a.example"; "'a b'";
    "mesh.gossip.advertisePort": "1", "1"; "0";
    "mesh.gossip.seedPeers": "['a:1', 'b:2']", "a:1,b:2"; "['a']";
    "mesh.gossip.profile": "'wan'", "wan"; "'lan'";
    "mesh.gossip.interval": "'2s'", "2s"; "'49ms'";
    "mesh.gossip.fanout": "4", "4"; "33";
    "mesh.gossip.suspicionInterval": "'9s'", "9s"; "'1s'";
    "mesh.gossip.deadAfter": "'9s'", "9s"; "'1s'";
    "mesh.gossip.pingTimeout": "'1s'", "1s"; "'9ms'";
    "mesh.gossip.retransmitLimit": "4", "4"; "17";
    "mesh.gossip.metadataRefreshPeriod": "'1m'", "1m"; "'25h'";
    "mesh.gossip.linkBytesPerSecond": "65536", "65536"; "16383";
    "mesh.gossip.linkDatagramsPerSecond": "100", "100"; "49";
    "mesh.gossip.maxLinks": "100", "100"; "15";
    "mesh.gossip.idleTimeout": "'1m'", "1m"; "'4s'";
    "mesh.gossip.rehandshakeWindow": "'0s'", "0s"; "'11m'";
    "mesh.gossip.certificateReloadInterval": "'1m'", "1m"; "'1s'";
    "mesh.gossip.tls.certificate": "'/c'", "/c"; "''";
    "mesh.gossip.tls.key": "'/k'", "/k"; "''";
    "mesh.gossip.tls.trustBundle": "'/t'", "/t"; "''";
    "mesh.gossip.tls.certificateRevocationList": "'/r'", "/r"; "''";
    "mesh.gossip.tls.refuseOverdueRevocationLists": "true", "true"; "'yes'";
    "control.enabled": "false", "false"; "0";
    "control.address": "'127.0.0.1:1'", "127.0.0.1:1"; "'127.0.0.1'";
    "control.plaintext": "true", "true"; "'yes'";
    "state.directory": "'/s'", "/s"; "''";
    "rpc.address": "'127.0.0.1:1'", "127.0.0.1:1"; "'127.0.0.1'";
    "rpc.advertisePort": "1", "1"; "0";
    "rpc.local": "'unix:/s'", "unix:/s"; "'http://10.0.0.1:1'";
    "rpc.threads": "64", "64"; "65";
    "rpc.chooser": "'random'", "random"; "'best'";
    "rpc.services": "{ rack = 'http://127.0.0.1:1' }", "http://127.0.0.1:1"; "{ rack = 'http://10.0.0.1:1' }";
    "rpc.hedging.methods": "['a.B/Read', 'a.B/List']", "a.B/Read,a.B/List"; "['a.B.Read']";
    "rpc.hedging.maxAttempts": "5", "5"; "6";
    "rpc.hedging.delay": "'0s'", "0s"; "'61s'";
    "rpc.healthCheck.enabled": "true", "true"; "'yes'";
    "rpc.healthCheck.interval": "'1h'", "1h"; "'99ms'";
    "rpc.healthCheck.timeout": "'10ms'", "10ms"; "'61s'";
    "rpc.healthCheck.failures": "100", "100"; "0";
    "log.format": "'json'", "json"; "'xml'";
    "log.filter": "'warn,gossip=debug'", "warn,gossip=debug"; "'gossip=loud'";
    "traces.endpoint": "'https://c:4317'", "https://c:4317"; "'http://c:4317'";
    "traces.trustBundle": "'/o'", "/o"; "''";
    "traces.sampleRatio": "0.5", "0.5"; "1.1";
};

#[test]
fn every_setting_is_taken_from_a_file_and_from_the_environment_alike() -> TestResult {
    let dir = TempDir::new()?;
    let untouched = show(&Sources::default())?;
    for Row { path, toml, text, .. } in ROWS {
        let from_file = show(&files(&dir, &[&format!("{path} = {toml}")])?)?;
        assert_ne!(from_file, untouched, "{path} changes nothing");
        let key = keys::find(path).ok_or("unknown key")?;
        let variable = env::variable(key).replace('…', "rack");
        assert_eq!(show(&sources(&[(&variable, text)], &[]))?, from_file, "{variable}");
    }
    Ok(())
}

#[test]
fn every_setting_refuses_what_is_wrong_and_says_which_one_it_is() -> TestResult {
    let dir = TempDir::new()?;
    for Row { path, wrong, .. } in ROWS {
        let refused = show(&files(&dir, &[&format!("{path} = {wrong}")])?).err().ok_or(*path)?;
        let found: Vec<String> = refused.problems.iter().map(ToString::to_string).collect();
        assert!(matches!(found.as_slice(), [one] if one.contains(&format!("`{path}`"))), "{path} = {wrong}: {found:?}");
    }
    Ok(())
}

#[test]
fn the_rows_are_all_settings_there_are() {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.path).collect();
    let keys: Vec<&str> = keys::ALL.iter().map(|key| key.path).collect();
    assert_eq!(rows, keys);
}
