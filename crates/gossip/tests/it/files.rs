//! A node whose credentials are files that change while it runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use identity::{CertificateFiles, FileOptions};
use tempfile::TempDir;
use test_cluster::{Authority, Cluster, Holder, Issued, Tuning};

use crate::{Failure, LIMIT};

const RELOADED: &str = "mesh_credentials_reloads_total{part=\"identity\",outcome=\"success\"}";
const FAILED: &str = "mesh_credentials_reloads_total{part=\"identity\",outcome=\"failure\"}";
const FAILING: &str = "mesh_credentials_reload_failing{part=\"identity\"}";
const CURRENT: &str = "mesh_gossip_links_by_generation{generation=\"current\"}";

fn write(dir: &Path, authority: &Authority, issued: &Issued) -> Result<(), Failure> {
    fs::write(dir.join("ca.pem"), authority.trust_bundle_pem())?;
    fs::write(dir.join("node.key"), issued.key_pem())?;
    Ok(fs::write(dir.join("node.pem"), issued.certificate_pem())?)
}

/// Two nodes, of which `node-1` has its credentials in files.
async fn start(dir: &Path) -> Result<Cluster, Failure> {
    let mut cluster = Cluster::start(1, Tuning::fast()).await?;
    let holder = Holder::new("node-1");
    write(dir, cluster.authority(), &cluster.authority().issue(&holder)?)?;
    let files = CertificateFiles {
        certificate: dir.join("node.pem"),
        key: dir.join("node.key"),
        trust_bundle: dir.join("ca.pem"),
    };
    let mut setup = cluster.setup("node-1")?;
    setup.files = Some(FileOptions { look_every: Duration::from_millis(10), ..FileOptions::new(files) });
    setup.options.rehandshake_window = Duration::ZERO;
    cluster.join(setup).await?;
    cluster.wait_until("both see both", LIMIT, Cluster::all_see_all).await?;
    Ok(cluster)
}

#[tokio::test]
async fn a_certificate_that_is_written_to_its_file_is_shown_on_every_link() -> Result<(), Failure> {
    let dir = TempDir::new()?;
    let cluster = start(dir.path()).await?;
    let issued = cluster.authority().issue(&Holder::new("node-1"))?;
    write(dir.path(), cluster.authority(), &issued)?;
    let renewed = |c: &Cluster| c.node(1).metric(RELOADED) == 1.0 && c.node(1).log().contains("certificate renewed");
    cluster.wait_until("it is taken", LIMIT, renewed).await?;
    cluster.wait_until("the link is renewed", LIMIT, |c| c.node(1).metric(CURRENT) == 1.0).await?;
    let serial: String = issued.serial().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(cluster.node(1).log().contains(&serial), "the log names the serial number");
    assert!(cluster.all_see_all());
    Ok(())
}

/// Writes `content` to the file `name` of `node-1`. Checks that the node goes on with what it has, counts it, and says `words`.
async fn check_bad(name: &str, content: &str, words: &[&str]) -> Result<(), Failure> {
    let dir = TempDir::new()?;
    let cluster = start(dir.path()).await?;
    fs::write(dir.path().join(name), content)?;
    cluster.wait_until("it is counted", LIMIT, |c| c.node(1).metric(FAILED) == 1.0).await?;
    assert_eq!((cluster.node(1).metric(FAILING), cluster.node(1).metric(RELOADED)), (1.0, 0.0));
    let log = cluster.node(1).log();
    let told =
        |line: &str| line.contains("what was in use stays in use") && words.iter().all(|word| line.contains(word));
    assert!(log.lines().any(told), "{words:?} is not told in\n{log}");
    assert!(cluster.all_see_all());
    assert!(!log.contains("certificate renewed"), "{log}");
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_counted_and_told() -> Result<(), Failure> {
    let another = Authority::new()?;
    check_bad("node.pem", "no certificate", &["cannot use certificate", "node.pem", "holds no certificate"]).await?;
    let other = another.issue(&Holder::new("node-1"))?;
    check_bad("node.key", other.key_pem(), &["cannot use key", "node.key", "belongs to another certificate"]).await?;
    let bundle = another.trust_bundle_pem();
    check_bad("ca.pem", &bundle, &["cannot use certificate", "UnknownIssuer"]).await?;
    Ok(())
}
