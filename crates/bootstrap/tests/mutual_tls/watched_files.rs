//! Credentials that follow their files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bootstrap::{DevCa, Issued, Validity};
use identity::{CertificateFiles, CredentialSource as _, FileCredentials, FileOptions, SharedCredentials};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::timeout;

use crate::support::{a_century, ca, id, year};

/// Longer than anything here may take, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);

/// Files of `node-a` that are watched closely.
struct Watched {
    ca: DevCa,
    dir: tempfile::TempDir,
    first: Issued,
}

impl Watched {
    fn new() -> Self {
        let (ca, dir) = (ca(), tempfile::tempdir().expect("a directory"));
        let first = ca.issue(&id("alpha", "node-a"), a_century()).expect("a certificate");
        let watched = Self { ca, dir, first };
        watched.write("ca.pem", &watched.ca.trust_bundle_pem());
        watched.write("node.pem", watched.first.certificate_pem());
        watched.write("node.key", watched.first.key_pem());
        watched
    }

    fn issue(&self) -> Issued {
        self.ca.issue(&id("alpha", "node-a"), a_century()).expect("a certificate")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a writable file");
    }

    fn options(&self) -> FileOptions {
        options_in(self.dir.path())
    }
}

fn options_in(dir: &Path) -> FileOptions {
    let files = CertificateFiles {
        certificate: dir.join("node.pem"),
        key: dir.join("node.key"),
        trust_bundle: dir.join("ca.pem"),
    };
    FileOptions { look_every: Duration::from_millis(5), ..FileOptions::new(files) }
}

fn load(options: FileOptions) -> FileCredentials {
    FileCredentials::load(options, year(2025)).expect("good files")
}

/// Watches until `wanted` has come true of the source.
async fn watch_until(files: FileCredentials, wanted: impl AsyncFn(Arc<SharedCredentials>)) {
    let source = files.source();
    let wait = async {
        tokio::select! {
            never = files.run() => match never {},
            () = wanted(source) => {}
        }
    };
    timeout(LIMIT, wait).await.expect("in time");
}

fn serial(issued: &Issued) -> String {
    issued.serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_certificate_that_is_written_in_place_is_taken_once_its_key_is_there() {
    let watched = Watched::new();
    let second = watched.issue();
    watch_until(load(watched.options()), async |source| {
        let first = source.current();
        assert_eq!(first.serial(), serial(&watched.first));
        // Between the two, certificate and key do not fit.
        watched.write("node.pem", second.certificate_pem());
        tokio::task::yield_now().await;
        watched.write("node.key", second.key_pem());
        assert_eq!(source.changed(&first).await.serial(), serial(&second));
    })
    .await;
}

#[tokio::test]
async fn a_symbolic_link_that_is_swung_to_another_directory_is_followed() {
    let watched = Watched::new();
    let second = watched.issue();
    // As Kubernetes lays out a secret: files are links through `..data`, which is swung.
    let secret = tempfile::tempdir().unwrap();
    let version = |name: &str, issued: &Issued| {
        let dir = secret.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ca.pem"), watched.ca.trust_bundle_pem()).unwrap();
        fs::write(dir.join("node.pem"), issued.certificate_pem()).unwrap();
        fs::write(dir.join("node.key"), issued.key_pem()).unwrap();
    };
    version("..1", &watched.first);
    version("..2", &second);
    symlink("..1", secret.path().join("..data")).unwrap();
    for name in ["ca.pem", "node.pem", "node.key"] {
        symlink(Path::new("..data").join(name), secret.path().join(name)).unwrap();
    }
    watch_until(load(options_in(secret.path())), async |source| {
        let first = source.current();
        symlink("..2", secret.path().join("..data_tmp")).unwrap();
        fs::rename(secret.path().join("..data_tmp"), secret.path().join("..data")).unwrap();
        assert_eq!(source.changed(&first).await.serial(), serial(&second));
    })
    .await;
}

/// Runs `body` on a node of its own, and shows it what is counted.
fn counted(body: &impl AsyncFn(&dyn Fn(&str) -> f64)) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let value = |series: &str| {
        let text = handle.render();
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&recorder, || runtime.block_on(body(&value)));
}

/// Waits until `condition` holds; time passes between two looks.
async fn until(condition: impl Fn() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while !condition() {
        ticks.tick().await;
    }
}

const IDENTITY_FAILED: &str = "mesh_credentials_reloads_total{part=\"identity\",outcome=\"failure\"}";
const IDENTITY_FAILING: &str = "mesh_credentials_reload_failing{part=\"identity\"}";
const LISTS_FAILED: &str = "mesh_credentials_reloads_total{part=\"revocations\",outcome=\"failure\"}";

/// Writes `content` to `name`, and checks that the credentials in use stay, that it is counted, and that good files are
/// taken afterwards.
fn check_bad_file(name: &str, content: impl Fn(&Watched) -> String) {
    counted(&async |value| {
        let watched = Watched::new();
        let second = watched.issue();
        watch_until(load(watched.options()), async |source| {
            let first = source.current();
            watched.write(name, &content(&watched));
            until(|| value(IDENTITY_FAILED) >= 1.0).await;
            assert_eq!(value(IDENTITY_FAILING), 1.0);
            assert!(Arc::ptr_eq(&first, &source.current()), "{name}");

            watched.write("ca.pem", &watched.ca.trust_bundle_pem());
            watched.write("node.pem", second.certificate_pem());
            watched.write("node.key", second.key_pem());
            assert_eq!(source.changed(&first).await.serial(), serial(&second));
            until(|| value(IDENTITY_FAILING) == 0.0).await;
        })
        .await;
    });
}

#[test]
fn files_that_cannot_be_used_leave_everything_as_it_was_and_are_counted() {
    check_bad_file("node.pem", |_| "no PEM".to_owned());
    check_bad_file("node.pem", |watched| watched.issue().certificate_pem().to_owned());
    check_bad_file("ca.pem", |_| ca().trust_bundle_pem());
    // Its own key, but another node; then a certificate that is good no longer.
    let both = |issued: Issued, watched: &Watched| {
        watched.write("node.key", issued.key_pem());
        issued.certificate_pem().to_owned()
    };
    check_bad_file("node.pem", |watched| {
        both(watched.ca.issue(&id("alpha", "node-b"), a_century()).expect("a certificate"), watched)
    });
    check_bad_file("node.pem", |watched| {
        let past = Validity { not_before: year(2020), not_after: year(2021) };
        both(watched.ca.issue(&id("alpha", "node-a"), past).expect("a certificate"), watched)
    });
}

#[test]
fn what_failed_is_tried_and_counted_again_from_time_to_time() {
    counted(&async |value| {
        let watched = Watched::new();
        let options = FileOptions { reread_every: Duration::from_millis(20), ..watched.options() };
        watch_until(load(options), async |_source| {
            watched.write("node.key", "no key");
            until(|| value(IDENTITY_FAILED) >= 3.0).await;
        })
        .await;
    });
}

#[test]
fn revocation_lists_are_taken_even_while_the_certificate_beside_them_is_broken() {
    counted(&async |value| {
        let watched = Watched::new();
        let stolen = watched.issue();
        let write_list = |number| {
            let list = watched.ca.revocation_list(number, [&stolen], a_century()).expect("a list");
            watched.write("crl.pem", list.pem());
        };
        write_list(1);
        let options = FileOptions { revocation_lists: Some(watched.path("crl.pem")), ..watched.options() };
        watch_until(load(options), async |source| {
            let revocations = source.revocations();
            let first = revocations.version();
            assert_eq!(first, 1);
            watched.write("node.pem", "no PEM");
            until(|| value(IDENTITY_FAILED) >= 1.0).await;
            write_list(2);
            let second = revocations.changed(first).await;

            // A list that is broken, or gone, takes nothing away.
            watched.write("crl.pem", "no list");
            until(|| value(LISTS_FAILED) >= 1.0).await;
            fs::remove_file(watched.path("crl.pem")).expect("a file to remove");
            until(|| value(LISTS_FAILED) >= 2.0).await;
            assert_eq!(revocations.version(), second);
        })
        .await;
    });
}

#[test]
fn a_certificate_that_is_revoked_at_the_start_is_told_by_its_serial_number() {
    let watched = Watched::new();
    let list = watched.ca.revocation_list(1, [&watched.first], a_century()).unwrap();
    watched.write("crl.pem", list.pem());
    let options = FileOptions { revocation_lists: Some(watched.path("crl.pem")), ..watched.options() };
    let error = FileCredentials::load(options, year(2025)).unwrap_err();
    let path = watched.path("node.pem");
    let expected =
        format!("certificate `{}` with serial number {} has been revoked", path.display(), serial(&watched.first));
    assert_eq!(error.to_string(), expected);
}

#[test]
fn how_long_the_certificate_lasts_and_how_old_the_lists_are_is_shown() {
    counted(&async |value| {
        let watched = Watched::new();
        watched.write("crl.pem", watched.ca.revocation_list(1, [], a_century()).expect("a list").pem());
        let options = FileOptions { revocation_lists: Some(watched.path("crl.pem")), ..watched.options() };
        let credentials = load(options).source().current();
        // Certificate and list are of 2020 to 2120.
        let year_s = 31_556_952.0;
        credentials.report(year(2025));
        let shown =
            ["expiry_seconds", "crl_age_seconds", "revoked"].map(|name| value(&format!("mesh_credentials_{name}")));
        assert_eq!(shown, [95.0 * year_s, 5.0 * year_s, 0.0]);
        credentials.report(year(2121));
        assert_eq!(value("mesh_credentials_expiry_seconds"), -year_s);
        let list = watched.ca.revocation_list(2, [&watched.first], a_century()).expect("a list");
        credentials.revocations().learn(list.der(), &credentials).expect("a good list");
        credentials.report(year(2025));
        assert_eq!(value("mesh_credentials_revoked"), 1.0);
    });
}
