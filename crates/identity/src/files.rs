//! Credentials in files that are watched.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::error;

use crate::credentials::CertificateFiles;
use crate::error::LoadCredentialsError;
use crate::file_contents::{Contents, Stamps};
use crate::report::{self, Part};
use crate::revocations::{Revocations, StaleLists};
use crate::source::{CredentialSource as _, SharedCredentials};

/// Which files are watched, and how closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Certificate, key and trust bundle.
    pub files: CertificateFiles,
    /// Revocation lists of the CAs in the bundle, PEM or one in DER; default none.
    pub revocation_lists: Option<PathBuf>,
    /// What an overdue list means; default [`StaleLists::Keep`].
    pub stale_lists: StaleLists,
    /// How often it is looked whether a file has changed, by its inode, size and times; default 2 s, at least 1 ms. Looking
    /// costs a few system calls. Shorter makes a revocation that is written to a file count sooner.
    pub look_every: Duration,
    /// How often the files are read even if nothing says that they have changed, as on file systems whose times are not
    /// to be relied on; default 5 minutes, at least `look_every`. What failed is tried, counted and logged again then.
    pub reread_every: Duration,
}

impl FileOptions {
    /// Makes options with defaults for everything else.
    #[must_use]
    pub const fn new(files: CertificateFiles) -> Self {
        Self {
            files,
            revocation_lists: None,
            stale_lists: StaleLists::Keep,
            look_every: Duration::from_secs(2),
            reread_every: Duration::from_secs(300),
        }
    }

    /// Returns the files in the order of [`Contents`].
    fn paths(&self) -> Vec<PathBuf> {
        let CertificateFiles { certificate, key, trust_bundle } = &self.files;
        [certificate, key, trust_bundle].into_iter().chain(&self.revocation_lists).cloned().collect()
    }
}

/// Credentials that follow their files.
///
/// Files are looked at by polling: that sees a file written in place, one renamed over another, and a symbolic link
/// that is swung to another directory, as Kubernetes does, on every file system. New content is checked as at the start and must
/// name the same node; what does not pass leaves everything as it was. Certificate, key and bundle are
/// taken together; a key that is written after its certificate is waited for. Revocation lists are taken apart from them.
#[derive(Debug)]
pub struct FileCredentials {
    options: FileOptions,
    shared: Arc<SharedCredentials>,
    stamps: Stamps,
    hasher: RandomState,
    identity: Attempt,
    lists: Attempt,
}

/// What became of the last content of a group of files.
#[derive(Debug, Default)]
struct Attempt {
    /// Hash of the content that was tried last.
    tried: Option<u64>,
    /// Why it failed, while its files may still be being written.
    untold: Option<LoadCredentialsError>,
    has_failed: bool,
}

impl FileCredentials {
    /// Loads and checks everything as of `now`. Blocks on the file system.
    ///
    /// # Errors
    /// The first fault, and the file it was found in; a certificate that the lists revoke is one.
    pub fn load(options: FileOptions, now: SystemTime) -> Result<Self, LoadCredentialsError> {
        let (stamps, contents) = (Stamps::of(&options.paths()), Contents::read(&options.paths()));
        let revocations = Revocations::new(options.stale_lists);
        let credentials = contents.credentials(&options.files, now)?.with_revocations(&revocations);
        let hasher = RandomState::new();
        let tried = |hash| Attempt { tried: Some(hash), ..Attempt::default() };
        let loaded = Self {
            identity: tried(hasher.hash_one(contents.identity())),
            lists: tried(hasher.hash_one(contents.lists())),
            shared: Arc::new(SharedCredentials::new(credentials.clone())),
            options,
            stamps,
            hasher,
        };
        loaded.learn_lists(&contents)?;
        if credentials.is_revoked() {
            let (path, serial) = (loaded.options.files.certificate, credentials.serial());
            return Err(LoadCredentialsError::Revoked { path, serial });
        }
        Ok(loaded)
    }

    /// Returns the source that follows the files while [`FileCredentials::run`] is polled.
    #[must_use]
    pub fn source(&self) -> Arc<SharedCredentials> {
        Arc::clone(&self.shared)
    }

    /// Watches the files, and shows the age of what they hold as gauges, until it is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future ends the watch; the source keeps the last credentials.
    pub async fn run(mut self) -> Infallible {
        let mut looks = interval(self.options.look_every.max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read_at = Instant::now();
        loop {
            looks.tick().await;
            let is_due = read_at.elapsed() >= self.options.reread_every;
            if is_due {
                read_at = Instant::now();
                self.identity.forget_failure();
                self.lists.forget_failure();
            }
            self.look(is_due).await;
            self.shared.current().report(wall_clock());
        }
    }

    async fn look(&mut self, is_due: bool) {
        let paths = self.options.paths();
        let looked = spawn_blocking(move || Stamps::of(&paths)).await;
        let Ok(stamps) = looked.inspect_err(|panic| error!(error = %panic, "cannot look at files")) else { return };
        let is_untold = self.identity.untold.is_some() || self.lists.untold.is_some();
        if stamps == self.stamps && !is_due && !is_untold {
            return;
        }
        // Taken before the content is read: what is written meanwhile is seen by the next look.
        self.stamps = stamps;
        let changed = self.options.paths();
        let read = spawn_blocking(move || Contents::read(&changed)).await;
        let Ok(contents) = read.inspect_err(|panic| error!(error = %panic, "cannot read files")) else { return };
        self.take_identity(&contents, wall_clock());
        self.take_lists(&contents);
    }

    fn take_identity(&mut self, contents: &Contents, now: SystemTime) {
        if !self.identity.is_new(self.hasher.hash_one(contents.identity()), Part::Identity) {
            return;
        }
        match self.replace(contents, now) {
            Ok(()) => {
                self.identity.has_failed = false;
                report::identity_reloaded(&self.shared.current(), now);
                // The bundle decides whose lists count.
                self.lists.tried = None;
            }
            Err(error) => self.identity.fail(error),
        }
    }

    fn take_lists(&mut self, contents: &Contents) {
        if !self.lists.is_new(self.hasher.hash_one(contents.lists()), Part::Revocations) {
            return;
        }
        match self.learn_lists(contents) {
            Ok(None) => {}
            Ok(Some(news)) => {
                self.lists.has_failed = false;
                report::revocations_reloaded(news);
            }
            Err(error) => self.lists.fail(error),
        }
    }

    fn replace(&self, contents: &Contents, now: SystemTime) -> Result<(), LoadCredentialsError> {
        let new = contents.credentials(&self.options.files, now)?;
        let path = || self.options.files.certificate.clone();
        self.shared.replace(&new).map_err(|source| LoadCredentialsError::NotAReplacement { path: path(), source })
    }

    /// Returns how many lists are news; `None` if there is no file of them.
    fn learn_lists(&self, contents: &Contents) -> Result<Option<usize>, LoadCredentialsError> {
        let Some(path) = &self.options.revocation_lists else { return Ok(None) };
        let bytes = contents.revocation_lists(path)?;
        let learnt = self.shared.revocations().learn_file(bytes, &self.shared.current());
        learnt.map(Some).map_err(|source| LoadCredentialsError::Revocations { path: path.clone(), source })
    }
}

impl Attempt {
    /// Whether content with this hash is yet to be tried. If it has been and failed, and has not changed since, that is told now.
    fn is_new(&mut self, hash: u64, part: Part) -> bool {
        if self.tried != Some(hash) {
            (self.tried, self.untold) = (Some(hash), None);
            return true;
        }
        if let Some(error) = self.untold.take() {
            report::reload_failed(part, &error);
        }
        false
    }

    fn fail(&mut self, error: LoadCredentialsError) {
        (self.untold, self.has_failed) = (Some(error), true);
    }

    /// Lets what failed be tried once more: a certificate may have become valid.
    fn forget_failure(&mut self) {
        if self.has_failed {
            self.tried = None;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: whether a certificate is valid is asked now")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
