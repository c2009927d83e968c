//! Certificates that change under a running node, and one that is revoked before it starts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bootstrap::{DevCa, Issued, Validity};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::process::{TestResult, configuration, end, line_with, node, send, within_limit};

/// A CA of the test's own, whose certificates replace those that the configuration came with.
struct Ca {
    ca: DevCa,
    validity: Validity,
}

impl Ca {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        #[expect(clippy::disallowed_methods, reason = "the node under test reads the clock of the system")]
        let validity = Validity::starting(std::time::SystemTime::now(), Duration::from_secs(3600));
        Ok(Self { ca: DevCa::generate("mesh.example", validity)?, validity })
    }

    /// Writes a fresh certificate of `node-a` with its key and the CA's own over those in `dir`.
    fn write(&self, dir: &Path) -> Result<Issued, Box<dyn std::error::Error>> {
        let issued =
            self.ca.issue(&"spiffe://mesh.example/cluster/alpha/role/worker/node/node-a".parse()?, self.validity)?;
        fs::write(dir.join("ca.pem"), self.ca.trust_bundle_pem())?;
        fs::write(dir.join("node-a.key"), issued.key_pem())?;
        fs::write(dir.join("node-a.pem"), issued.certificate_pem())?;
        Ok(issued)
    }
}

fn serial(issued: &Issued) -> String {
    issued.serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_running_node_takes_up_a_certificate_that_is_written_over_its_own() -> TestResult {
    let (dir, ca) = (TempDir::new()?, Ca::new()?);
    let file = configuration(dir.path(), "")?;
    ca.write(dir.path())?;
    let mut child = node(dir.path(), &["run", "--config", file]).spawn()?;
    let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
    line_with(&mut log, "node is ready").await?;
    let renewed = serial(&ca.write(dir.path())?);
    let taken = line_with(&mut log, "certificate renewed").await?;
    assert!(taken.contains(&renewed), "{taken}");
    send(&child, Signal::SIGTERM)?;
    assert_eq!(within_limit(child.wait()).await??.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_node_whose_certificate_is_revoked_does_not_start_and_says_so() -> TestResult {
    let (dir, ca) = (TempDir::new()?, Ca::new()?);
    let file = configuration(dir.path(), "")?;
    let run = ["run", "--config", file, "--set", "mesh.gossip.tls.certificateRevocationList=crl.pem"];
    let issued = ca.write(dir.path())?;
    fs::write(dir.path().join("crl.pem"), ca.ca.revocation_list(1, [&issued], ca.validity)?.pem())?;
    let ended = end(dir.path(), &run).await?;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = format!("with serial number {} has been revoked", serial(&issued));
    assert!(ended.stderr.contains("`mesh.gossip.tls.certificate` cannot be used"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);

    fs::write(dir.path().join("crl.pem"), "no list")?;
    let broken = end(dir.path(), &run).await?.stderr;
    assert!(broken.contains("`mesh.gossip.tls.certificateRevocationList` cannot be used"), "{broken}");
    assert!(broken.contains("it holds no revocation list"), "{broken}");
    Ok(())
}
