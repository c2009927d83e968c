//! Where credentials come from, as those who use them see it.

use std::fmt;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::credentials::Credentials;
use crate::peer_check::PeerCheck;
use crate::revocations::Revocations;
use crate::spiffe::SpiffeId;

/// What [`CredentialSource::changed`] returns.
pub type CredentialsFuture<'a> = Pin<Box<dyn Future<Output = Arc<Credentials>> + Send + 'a>>;

/// Has the credentials that a process shows now, and tells when there are others.
///
/// All credentials of one source name the same node and share one set of [`Revocations`]: what is learnt through one of them
/// holds for all that come after. Any thread may call it, as often as it likes; nothing blocks.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Returns the credentials to begin a connection with now.
    fn current(&self) -> Arc<Credentials>;

    /// Waits until [`CredentialSource::current`] is another value than `seen`, and returns it. Who was away for several
    /// changes gets the last one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    fn changed<'a>(&'a self, seen: &'a Arc<Credentials>) -> CredentialsFuture<'a>;
}

/// Credentials for as long as they last: for a process that is started anew for a new certificate.
impl CredentialSource for Credentials {
    fn current(&self) -> Arc<Credentials> {
        Arc::new(self.clone())
    }

    fn changed<'a>(&'a self, _seen: &'a Arc<Credentials>) -> CredentialsFuture<'a> {
        Box::pin(future::pending())
    }
}

/// Why credentials do not take the place of others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceCredentialsError {
    /// The new certificate is of another node, role, cluster or trust domain: that takes a restart.
    #[error("certificate is of {found}, this is {own}")]
    OtherNode {
        /// Whom the new certificate names.
        found: Box<SpiffeId>,
        /// Whom the old one names.
        own: Box<SpiffeId>,
    },
    /// The new certificate has been revoked.
    #[error("certificate with serial number {serial} has been revoked")]
    Revoked {
        /// Its serial number, in hexadecimal.
        serial: String,
    },
}

/// Credentials in memory that can be replaced while they are in use: for a process that gets them from elsewhere than
/// files, such as a SPIFFE Workload API.
///
/// ```
/// # fn on_new_svid(shared: &identity::SharedCredentials, svid: identity::Credentials) {
/// if let Err(error) = shared.replace(&svid) {
///     eprintln!("the old certificate stays: {error}");
/// }
/// # }
/// ```
pub struct SharedCredentials {
    current: watch::Sender<Arc<Credentials>>,
    revocations: Revocations,
}

impl SharedCredentials {
    /// Makes a source that begins with `credentials`, and takes over their revocations.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        let revocations = credentials.revocations().clone();
        Self { current: watch::Sender::new(Arc::new(credentials)), revocations }
    }

    /// Returns the lists of revoked certificates that all its credentials share.
    #[must_use]
    pub const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Has `rule` asked about each peer from now on, with the credentials that come later, too. It is a change like others: open
    /// connections are looked through.
    pub fn set_check(&self, rule: Arc<dyn PeerCheck>) {
        self.current.send_modify(|current| *current = Arc::new(current.with_check(rule)));
    }

    /// Lets `credentials` be the current ones. The revocation lists that they bring are added to those that are known; without a
    /// [`PeerCheck`] of their own, they get that of the old ones.
    ///
    /// # Errors
    /// Why the old ones stay.
    pub fn replace(&self, credentials: &Credentials) -> Result<(), ReplaceCredentialsError> {
        self.revocations.merge(credentials.revocations());
        let new = credentials.with_revocations(&self.revocations);
        let old = self.current();
        if new.spiffe_id() != old.spiffe_id() {
            let (found, own) = (Box::new(new.spiffe_id().clone()), Box::new(old.spiffe_id().clone()));
            return Err(ReplaceCredentialsError::OtherNode { found, own });
        }
        // One that is in use already is no worse with a new trust bundle.
        if new.is_revoked() && !new.shows_same_certificate(&old) {
            return Err(ReplaceCredentialsError::Revoked { serial: new.serial() });
        }
        let rule = new.check().or_else(|| old.check()).cloned();
        self.current.send_replace(Arc::new(rule.map_or_else(|| new.clone(), |rule| new.with_check(rule))));
        Ok(())
    }
}

impl CredentialSource for SharedCredentials {
    fn current(&self) -> Arc<Credentials> {
        Arc::clone(&self.current.borrow())
    }

    fn changed<'a>(&'a self, seen: &'a Arc<Credentials>) -> CredentialsFuture<'a> {
        let mut current = self.current.subscribe();
        Box::pin(async move {
            let changed = current.wait_for(|current| !Arc::ptr_eq(current, seen)).await;
            // The sender lives in `self`, so waiting cannot fail.
            changed.map_or_else(|_closed| Arc::clone(seen), |new| Arc::clone(&new))
        })
    }
}

impl fmt::Debug for SharedCredentials {
    /// Says who and until when, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCredentials").field("current", &*self.current.borrow()).finish_non_exhaustive()
    }
}
