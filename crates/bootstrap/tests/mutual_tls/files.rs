//! What the CA issues, and the files it writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bootstrap::{CaError, DevCa, Validity};
use identity::{Credentials, SpiffeId};

use crate::support::{a_century, ca, id, now, year};

#[test]
fn nodes_of_one_ca_share_a_directory_and_its_bundle() {
    let (ca, dir) = (ca(), tempfile::tempdir().unwrap());
    let a = ca.issue_files(&id("alpha", "node-a"), a_century(), dir.path()).unwrap();
    let b = ca.issue_files(&id("alpha", "node-b"), a_century(), dir.path()).unwrap();
    assert_eq!(a.trust_bundle, b.trust_bundle);
    assert_eq!((a.certificate, a.key), (dir.path().join("node-a.pem"), dir.path().join("node-a.key")));
    assert_eq!(fs::read_to_string(dir.path().join("ca.pem")).unwrap(), ca.trust_bundle_pem());
    assert_eq!(Credentials::load(&b, now()).unwrap().spiffe_id(), &id("alpha", "node-b"));
}

#[test]
fn the_key_file_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let files = ca().issue_files(&id("alpha", "node-a"), a_century(), dir.path()).unwrap();
    assert_eq!(fs::metadata(files.key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn files_that_are_there_are_kept() {
    let (ca, dir) = (ca(), tempfile::tempdir().unwrap());
    let files = ca.issue_files(&id("alpha", "node-a"), a_century(), dir.path()).unwrap();
    let key = fs::read(&files.key).unwrap();
    let error = ca.issue_files(&id("alpha", "node-a"), a_century(), dir.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}`", files.key.display()));
    assert_eq!(fs::read(&files.key).unwrap(), key);
}

#[test]
fn a_directory_of_another_ca_is_left_alone() {
    let (first, second, dir) = (ca(), ca(), tempfile::tempdir().unwrap());
    first.issue_files(&id("alpha", "node-a"), a_century(), dir.path()).unwrap();
    let error = second.issue_files(&id("alpha", "node-b"), a_century(), dir.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{}` is the certificate of another CA", dir.path().join("ca.pem").display())
    );
    assert_eq!(fs::read_to_string(dir.path().join("ca.pem")).unwrap(), first.trust_bundle_pem());
}

#[test]
fn a_ca_issues_for_its_own_trust_domain_only() {
    let other: SpiffeId = "spiffe://other.example/cluster/alpha/role/worker/node/node-a".parse().unwrap();
    let error = ca().issue(&other, a_century()).unwrap_err();
    assert_eq!(error.to_string(), format!("CA of trust domain `mesh.example` does not issue for {other}"));
    assert!(matches!(DevCa::generate("Mesh:443", a_century()), Err(CaError::TrustDomain { .. })));
}

#[test]
fn a_validity_that_is_none_is_refused() {
    let ca = ca();
    let issue =
        |first, last| ca.issue(&id("alpha", "node-a"), Validity { not_before: year(first), not_after: year(last) });
    for (first, last) in [(2026, 2025), (2025, 10_001)] {
        let error = issue(first, last).unwrap_err();
        assert!(matches!(error, CaError::Validity { .. }), "{error}");
    }
    assert!(issue(2025, 9999).is_ok());
}

#[test]
fn no_key_shows_in_debug_output() {
    let ca = ca();
    let issued = ca.issue(&id("alpha", "node-a"), a_century()).unwrap();
    assert_eq!(format!("{ca:?}"), "DevCa { trust_domain: mesh.example, .. }");
    let secret = issued.key_pem().lines().nth(1).unwrap();
    assert!(!format!("{issued:?}").contains(secret));
}
