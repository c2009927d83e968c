//! What is checked before credentials are used, and how a fault is told.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bootstrap::Validity;
use identity::{CertificateFiles, Credentials, CredentialsError, CredentialsInput, LoadCredentialsError};
use rcgen::ExtendedKeyUsagePurpose;

use crate::support::{Leaf, LooseCa, a_century, ca, id, now};

const GOOD: &str = "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a";

/// Good credentials in a directory, to be spoilt.
struct Files {
    dir: tempfile::TempDir,
    files: CertificateFiles,
}

impl Files {
    fn good() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = ca().issue_files(&id("alpha", "node-a"), a_century(), dir.path()).expect("files");
        Self { dir, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn error(&self) -> LoadCredentialsError {
        Credentials::load(&self.files, now()).expect_err("an error")
    }

    /// Spoils the file `name`, and checks that the error names it and says why.
    #[track_caller]
    fn check(self, name: &str, content: impl AsRef<[u8]>, input: CredentialsInput, why: &str) {
        fs::write(self.path(name), content).expect("a writable file");
        let error = self.error();
        let reason = error.source().map(ToString::to_string);
        assert_eq!((error.input(), reason.as_deref()), (input, Some(why)));
        assert_eq!(error.to_string(), format!("cannot use {input} `{}`", self.path(name).display()));
    }
}

fn pem(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}

#[test]
fn good_files_load() {
    let files = Files::good();
    let credentials = Credentials::load(&files.files, now()).unwrap();
    assert_eq!(credentials.spiffe_id(), &id("alpha", "node-a"));
}

#[test]
fn a_missing_file_is_named_with_what_it_should_hold() {
    for (name, what) in [("node-a.pem", "certificate"), ("node-a.key", "key"), ("ca.pem", "trust bundle")] {
        let files = Files::good();
        fs::remove_file(files.path(name)).unwrap();
        let error = files.error();
        assert_eq!(error.to_string(), format!("cannot read {what} `{}`", files.path(name).display()));
        assert!(matches!(error, LoadCredentialsError::Read { .. }), "{error:?}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    use CredentialsInput::{Certificate, Key, TrustBundle};
    let check = |name: &str, content: &str, input, why| Files::good().check(name, content, input, why);
    check("node-a.pem", "", Certificate, "certificate holds no certificate");
    check("node-a.pem", "-----BEGIN CERTIFICATE-----\n", Certificate, "certificate is not well-formed PEM");
    check("ca.pem", "not PEM", TrustBundle, "trust bundle holds no certificate");
    check("node-a.key", "", Key, "key holds no unencrypted private key");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    check("node-a.key", encrypted, Key, "key holds no unencrypted private key");
    let no_der = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    check("node-a.key", &no_der("PRIVATE KEY"), Key, "private key cannot be used");
    let unnamed = "certificate does not say which node it is for";
    check("node-a.pem", &no_der("CERTIFICATE"), Certificate, unnamed);
    let bundle = "certificate 1 of the trust bundle cannot be used";
    check("ca.pem", &no_der("CERTIFICATE"), TrustBundle, bundle);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (files, other) = (Files::good(), Files::good());
    files.check(
        "node-a.key",
        pem(&other.files.key),
        CredentialsInput::Key,
        "private key belongs to another certificate",
    );
}

#[test]
fn two_keys_are_one_too_many() {
    let files = Files::good();
    let twice = pem(&files.files.key).repeat(2);
    files.check("node-a.key", twice, CredentialsInput::Key, "key holds 2 private keys, not one");
}

#[test]
fn a_bundle_without_our_own_ca_is_refused() {
    let (files, other) = (Files::good(), Files::good());
    let why = "certificate would be refused by clients with this trust bundle";
    // The certificate is what peers would refuse; the fault may as well lie in the bundle.
    fs::write(&files.files.trust_bundle, pem(&other.files.trust_bundle)).unwrap();
    let certificate = pem(&files.files.certificate);
    files.check("node-a.pem", certificate, CredentialsInput::Certificate, why);
}

#[test]
fn a_file_may_have_a_mebibyte_and_not_a_byte_more() {
    let files = Files::good();
    let padded = |bytes: usize| {
        let certificate = pem(&files.files.certificate);
        format!("{}{certificate}", "\n".repeat(bytes - certificate.len()))
    };
    fs::write(&files.files.certificate, padded(1024 * 1024)).unwrap();
    assert_eq!(Credentials::load(&files.files, now()).map(|_| ()).map_err(|error| error.to_string()), Ok(()));
    let too_long = padded(1024 * 1024 + 1);
    files.check("node-a.pem", too_long, CredentialsInput::Certificate, "certificate is larger than 1048576 bytes");
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

#[test]
fn credentials_load_from_their_first_second_to_their_last() {
    let ca = ca();
    let issued = ca.issue(&id("alpha", "node-a"), Validity { not_before: at(1000), not_after: at(2000) }).unwrap();
    let load = |now| {
        let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
        Credentials::from_pem(certificate, key, ca.trust_bundle_pem().as_bytes(), now)
    };
    let why = |now| load(now).map(|_| ()).map_err(|error| error.to_string());
    let early = Err("certificate becomes valid in 1s".to_owned());
    let late = Err("certificate expired 1s ago".to_owned());
    assert_eq!([why(at(999)), why(at(1000)), why(at(2000)), why(at(2001))], [early, Ok(()), Ok(()), late]);
    assert_eq!(why(at(2000) + Duration::from_millis(999)), Ok(()));

    let credentials = load(at(1500)).unwrap();
    assert_eq!((credentials.not_before(), credentials.not_after()), (at(1000), at(2000)));
}

#[test]
fn a_certificate_must_serve_both_sides_of_a_connection() {
    let ca = LooseCa::new();
    let why = |usage| match ca.credentials(&ca.leaf(&[GOOD], &[usage])) {
        Err(CredentialsError::Untrusted { by, .. }) => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(ExtendedKeyUsagePurpose::ServerAuth), "servers");
    assert_eq!(why(ExtendedKeyUsagePurpose::ClientAuth), "clients");
}

#[test]
fn a_certificate_must_name_one_node() {
    let ca = LooseCa::new();
    let why = |leaf: &Leaf| match ca.credentials(leaf) {
        Err(CredentialsError::Unnamed { source }) => source.reason().as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&ca.with_uris(&[])), "no_spiffe_id");
    assert_eq!(why(&ca.with_uris(&[GOOD, "https://mesh.example"])), "several_spiffe_ids");
    assert_eq!(why(&ca.with_uris(&["spiffe://mesh.example/ns/prod/sa/api"])), "bad_spiffe_id");
}

#[test]
fn debug_output_says_who_and_until_when_and_no_more() {
    let files = Files::good();
    let debug = format!("{:?}", Credentials::load(&files.files, now()).unwrap());
    assert!(debug.contains(&id("alpha", "node-a").to_string()), "{debug}");
    assert!(debug.contains("not_after") && !debug.to_lowercase().contains("key"), "{debug}");
}
