//! `print-config`, `check-config` and what is said of a wrong configuration.

use std::fs;

use tempfile::TempDir;

use crate::process::{TestResult, configuration, end, node, within_limit};

#[tokio::test]
async fn print_config_shows_value_and_origin_of_every_source() -> TestResult {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("a.toml"), "mesh.gossip.region = 'eu-1'")?;
    let args = ["print-config", "--config", "a.toml", "--port", "7", "--set", "log.format=json", "-o", "json"];
    let output = within_limit(node(dir.path(), &args).env("MESH_GOSSIP__ROLE", "gateway").output()).await??;
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let origin = |key: &str| {
        let row = rows.iter().find(|row| row.get("key").is_some_and(|found| found == key))?;
        Some((row.get("value")?.to_string(), row.get("origin")?.to_string()))
    };
    let expected = |value: &str, place: &str| Some((value.to_owned(), format!("\"{place}\"")));
    assert_eq!(origin("mesh.gossip.region"), expected("\"eu-1\"", "file a.toml"));
    assert_eq!(origin("mesh.gossip.role"), expected("\"gateway\"", "env MESH_GOSSIP__ROLE"));
    assert_eq!(origin("mesh.gossip.port"), expected("7", "flag --port"));
    assert_eq!(origin("log.format"), expected("\"json\"", "flag --set"));
    assert_eq!(origin("control.address"), expected("\"127.0.0.1:17420\"", "default"));
    assert_eq!(output.status.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_is_told_on_stderr_with_exit_code_1() -> TestResult {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("a.toml"), "mesh.gossip.prot = 1\nmesh.gossip.interval = 'soon'")?;
    for command in ["print-config", "check-config", "run"] {
        let ended = end(dir.path(), &[command, "--config", "a.toml"]).await?;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{command}");
        let expected = [
            "error: configuration has ",
            "\n  file a.toml: unknown key `mesh.gossip.prot`; did you mean `mesh.gossip.port`?\n",
            "\n  file a.toml: `mesh.gossip.interval` is \"soon\"; a duration such as `500ms`",
        ];
        assert!(expected.iter().all(|text| ended.stderr.contains(text)), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() -> TestResult {
    let dir = TempDir::new()?;
    for args in [&["run", "--prot", "1"][..], &["fly"], &["dev", "--json"], &["dev", "--nodes", "0"], &[]] {
        assert_eq!(end(dir.path(), args).await?.code, Some(2), "{args:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_version_is_that_of_the_package() -> TestResult {
    let dir = TempDir::new()?;
    let expected = concat!("omnirelay-node ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(end(dir.path(), &["--version"]).await?.stdout, expected);
    Ok(())
}

#[tokio::test]
async fn check_config_accepts_a_configuration_whose_certificate_is_this_nodes() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "mesh.gossip.nodeId = 'node-a'\nmesh.gossip.clusterId = 'alpha'")?;
    let ended = end(dir.path(), &["check-config", "--config", file]).await?;
    let expected = "configuration is valid for spiffe://mesh.example/cluster/alpha/role/worker/node/node-a\n";
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), expected, ""));
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_another_node_is_refused_before_anything_runs() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "mesh.gossip.nodeId = 'node-b'\nmesh.gossip.role = 'gateway'")?;
    for command in ["check-config", "run"] {
        let ended = end(dir.path(), &[command, "--config", file]).await?;
        assert_eq!(ended.code, Some(1), "{command}");
        let expected = [
            "`mesh.gossip.nodeId` is `node-b`, but the certificate is of `node-a`",
            "`mesh.gossip.role` is `gateway`, but the certificate is of `worker`",
        ];
        assert!(expected.iter().all(|text| ended.stderr.contains(text)), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_is_missing_names_its_setting_and_its_file() -> TestResult {
    let dir = TempDir::new()?;
    let file = configuration(dir.path(), "")?;
    fs::remove_file(dir.path().join("node-a.key"))?;
    let ended = end(dir.path(), &["run", "--config", file]).await?;
    let expected =
        "error: `mesh.gossip.tls.key` cannot be used: cannot read key `node-a.key`: No such file or directory";
    assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
    Ok(())
}
