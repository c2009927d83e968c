//! `omnirelay` and a node that wants certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstrap::{DevCa, Validity};
use control_api::Security;
use identity::{CertificateFiles, Credentials};
use mesh_types::MemberState;
use tempfile::TempDir;

use crate::command::{Run, finish, omnirelay};
use crate::node::{Failure, Node};

/// A CA whose certificates are good for an hour, and where they lie.
pub(crate) struct Ca {
    ca: DevCa,
    validity: Validity,
    dir: TempDir,
    now: SystemTime,
}

impl Ca {
    #[expect(clippy::disallowed_methods, reason = "the command asks the system for the time, too")]
    pub(crate) fn new() -> Result<Self, Failure> {
        let now = SystemTime::now();
        let validity = Validity::starting(now, Duration::from_secs(3600));
        let ca = DevCa::generate("mesh.example", validity)?;
        Ok(Self { ca, validity, dir: TempDir::new()?, now })
    }

    /// Issues the certificate of `node` in `cluster`.
    pub(crate) fn issue(&self, cluster: &str, node: &str) -> Result<CertificateFiles, Failure> {
        let id = format!("spiffe://mesh.example/cluster/{cluster}/role/worker/node/{node}").parse()?;
        let dir: PathBuf = self.dir.path().join(format!("{cluster}-{node}"));
        std::fs::create_dir(&dir)?;
        Ok(self.ca.issue_files(&id, self.validity, &dir)?)
    }

    /// Returns what `node` in `cluster` has.
    pub(crate) fn credentials(&self, cluster: &str, node: &str) -> Result<Credentials, Failure> {
        Ok(Credentials::load(&self.issue(cluster, node)?, self.now)?)
    }

    /// Starts a node of cluster `alpha`.
    async fn node(&self) -> Result<Node, Failure> {
        let credentials = Arc::new(self.credentials("alpha", "node-a")?);
        Node::start(Security::MutualTls { credentials, node_secret: None }, MemberState::Alive).await
    }
}

/// Lists members with the certificate from the environment.
async fn list(url: &str, files: &CertificateFiles) -> Result<Run, Failure> {
    let mut command = omnirelay(&["mesh", "peers", "list"]);
    let set = |name: &str, file: &Path| (format!("OMNIRELAY_{name}"), file.to_owned());
    let CertificateFiles { certificate, key, trust_bundle } = files;
    command.envs([set("CERT", certificate), set("KEY", key), set("CA", trust_bundle)]);
    command.env("OMNIRELAY_ENDPOINT", url);
    finish(command).await
}

#[tokio::test]
async fn a_member_lists_the_members_over_tls() -> Result<(), Failure> {
    let ca = Ca::new()?;
    let node = ca.node().await?;
    let shown = list(&format!("https://{}", node.addr), &ca.issue("alpha", "node-b")?).await?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    assert_eq!(shown.stdout.lines().count(), 3, "{}", shown.stdout);
    Ok(())
}

/// Checks that a run failed and told people `told`, where URL stands for `url`.
#[track_caller]
fn check(failed: &Run, url: &str, told: &str) {
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{}", failed.stderr);
    assert_eq!(failed.stderr, told.replace("URL", url));
}

#[tokio::test]
async fn a_node_of_another_mesh_is_not_believed() -> Result<(), Failure> {
    let ca = Ca::new()?;
    let node = ca.node().await?;
    let url = format!("https://{}", node.addr);
    check(
        &list(&url, &Ca::new()?.issue("alpha", "node-b")?).await?,
        &url,
        "error: TLS with URL failed: invalid peer certificate: UnknownIssuer\n\
         hint: do --cert, --key and --ca belong to this node's mesh, and are they still valid?\n",
    );
    check(
        &list(&url, &ca.issue("beta", "node-b")?).await?,
        &url,
        "error: the node at URL is not one of our mesh: peer spiffe://mesh.example/cluster/alpha/role/worker/node/node-a \
         is not of cluster `beta`\n\
         hint: do --cert, --key and --ca belong to this node's mesh, and are they still valid?\n",
    );
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_the_node_refuses_is_told_so() -> Result<(), Failure> {
    let (ours, theirs) = (Ca::new()?, Ca::new()?);
    let node = ours.node().await?;
    let url = format!("https://{}", node.addr);
    // Their certificate with both CAs: it loads, and the node is believed, but does not believe us.
    let mut files = theirs.issue("alpha", "node-b")?;
    let both = theirs.ca.trust_bundle_pem() + &ours.ca.trust_bundle_pem();
    files.trust_bundle = theirs.dir.path().join("both.pem");
    std::fs::write(&files.trust_bundle, both)?;
    let refused = list(&url, &files).await?;
    let told = format!("error: TLS with {url} failed: received fatal alert: ");
    assert!(refused.code == Some(1) && refused.stderr.starts_with(&told), "no `{told}` in\n{}", refused.stderr);
    Ok(())
}

#[tokio::test]
async fn the_wrong_one_of_http_and_https_is_found_out() -> Result<(), Failure> {
    let ca = Ca::new()?;
    let files = ca.issue("alpha", "node-b")?;
    let plain = Node::start(Security::PlaintextLoopback, MemberState::Alive).await?;
    let url = format!("https://{}", plain.addr);
    let failed = list(&url, &files).await?;
    let told = format!("error: {url} does not speak TLS: ");
    assert!(failed.code == Some(1) && failed.stderr.starts_with(&told), "no `{told}` in\n{}", failed.stderr);

    let node = ca.node().await?;
    let refused = list(&node.http_url(), &files).await?;
    let hint = "hint: does the node want https:// ? --endpoint says how to speak to it\n";
    assert!(refused.code == Some(1) && refused.stderr.ends_with(hint), "no `{hint}` in\n{}", refused.stderr);
    Ok(())
}
