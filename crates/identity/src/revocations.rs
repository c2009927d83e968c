//! The lists of revoked certificates that a process knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use webpki::EndEntityCert;

use crate::credentials::Credentials;
use crate::pem;
use crate::revocation_error::{LearnRevocationsError, RevocationFileError};
use crate::revocation_list::{Authorities, RevocationHead, RevocationList};

/// What a list whose successor is overdue means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StaleLists {
    /// It still says who is revoked, and nothing else: a CA that is late stops nobody. The default; watch the lists' age.
    #[default]
    Keep,
    /// Nobody is let in whose CA's list is overdue, until a newer one is there. A CA that is late stops the mesh.
    Refuse,
}

/// What became of a list that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// It is newer than what was known, and in force from now on.
    New {
        /// How many certificates it revokes.
        revoked: usize,
    },
    /// It is known, or a newer one is.
    Known,
}

/// The lists of revoked certificates that a process knows; clones share them.
///
/// For each CA the newest list counts, by its number; there is no way back to an older one. Every connection made with the
/// [`Credentials`] that hold these lists is checked against them from the moment they are learnt, on both sides; those that
/// are open already are for their owners to look through, see [`Credentials::recheck`].
///
/// A certificate is refused if a list of its issuer names it, be it a node's or an intermediate CA's that is shown along. A
/// CA without a list revokes nobody. A list of a trusted CA counts only with that CA's signature, wherever it came from; a
/// list in our own file whose CA is not known here is taken as it is, and not passed on.
#[derive(Debug, Clone)]
pub struct Revocations {
    lists: Arc<watch::Sender<Lists>>,
    stale: StaleLists,
}

#[derive(Debug, Clone, Default)]
struct Lists {
    version: u64,
    by_scope: BTreeMap<u64, RevocationList>,
}

impl Revocations {
    /// Most lists kept.
    pub const MAX_LISTS: usize = 64;

    /// Largest list that nodes pass on to one another, in bytes of DER: some 1,500 certificates. A larger one must be given to
    /// each node as a file.
    pub const MAX_SPREAD_BYTES: usize = 64 * 1024;

    /// Makes an empty set.
    #[must_use]
    pub fn new(stale: StaleLists) -> Self {
        Self { lists: Arc::new(watch::Sender::new(Lists::default())), stale }
    }

    /// Takes a list that came from somebody else, if a CA that `trusted` knows has signed it.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn learn(&self, der: &[u8], trusted: &Credentials) -> Result<Learnt, LearnRevocationsError> {
        if der.len() > Self::MAX_SPREAD_BYTES {
            return Err(LearnRevocationsError::TooLarge { bytes: der.len() });
        }
        let list = RevocationList::parse(der, trusted.authorities())?;
        if !list.is_authentic() {
            return Err(LearnRevocationsError::UnknownIssuer);
        }
        self.adopt(&list)
    }

    /// Takes the lists of our own file, PEM or a single one in DER, and returns how many of them are news.
    ///
    /// # Errors
    /// Why nothing of it is used.
    pub fn learn_file(&self, bytes: &[u8], trusted: &Credentials) -> Result<usize, RevocationFileError> {
        let parsed = parse_file(bytes, trusted.authorities())?;
        let mut news = 0;
        for (index, list) in parsed.into_iter().enumerate() {
            let learnt =
                self.adopt(&list).map_err(|source| RevocationFileError::List { position: index + 1, source })?;
            news += usize::from(learnt != Learnt::Known);
        }
        Ok(news)
    }

    /// Takes all lists of another set.
    pub(crate) fn merge(&self, other: &Self) {
        let lists = other.lists.borrow().clone();
        for list in lists.by_scope.values() {
            if let Err(error) = self.adopt(list) {
                tracing::warn!(error = %error, "a revocation list is lost");
            }
        }
    }

    fn adopt(&self, list: &RevocationList) -> Result<Learnt, LearnRevocationsError> {
        let mut result = Ok(Learnt::Known);
        self.lists.send_if_modified(|lists| {
            let held = lists.by_scope.get(&list.head().scope);
            // The same list, once its CA is known, is worth more than before.
            let is_known = |known: &RevocationList| {
                let same = known.head() == list.head() && (known.is_authentic() || !list.is_authentic());
                same || known.head() > list.head()
            };
            if held.is_some_and(is_known) {
                return false;
            }
            if held.is_none() && lists.by_scope.len() >= Self::MAX_LISTS {
                result = Err(LearnRevocationsError::Full);
                return false;
            }
            result = Ok(Learnt::New { revoked: list.revoked() });
            lists.by_scope.insert(list.head().scope, list.clone());
            lists.version += 1;
            true
        });
        result
    }

    /// Returns a number that changes with each list that is learnt.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lists.borrow().version
    }

    /// Waits until [`Revocations::version`] is another than `seen`, and returns it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&self, seen: u64) -> u64 {
        let mut lists = self.lists.subscribe();
        let newer = lists.wait_for(|lists| lists.version != seen).await;
        // The sender lives in `self`, so waiting cannot fail.
        newer.map_or(seen, |now| now.version)
    }

    /// Returns which lists there are to pass on: at most [`Revocations::MAX_LISTS`].
    #[must_use]
    pub fn heads(&self) -> Vec<RevocationHead> {
        let lists = self.lists.borrow();
        lists.by_scope.values().filter(|list| can_spread(list)).map(RevocationList::head).collect()
    }

    /// Returns the lists to pass on to somebody who has `held`: those it lacks, and those that are newer here.
    #[must_use]
    pub fn newer_than(&self, held: &[RevocationHead]) -> Vec<Vec<u8>> {
        let lists = self.lists.borrow();
        let lacks = |list: &&RevocationList| {
            let head = list.head();
            can_spread(list) && !held.iter().any(|held| held.scope == head.scope && *held >= head)
        };
        lists.by_scope.values().filter(lacks).map(|list| list.der().to_vec()).collect()
    }

    /// Returns whether somebody who has `held` has a list that is lacking here, or newer than here.
    #[must_use]
    pub fn is_behind(&self, held: &[RevocationHead]) -> bool {
        let lists = self.lists.borrow();
        held.iter().any(|theirs| lists.by_scope.get(&theirs.scope).is_none_or(|list| list.head() < *theirs))
    }

    /// Returns how long ago the oldest of the lists was issued; `None` without lists.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let lists = self.lists.borrow();
        let oldest = lists.by_scope.values().map(RevocationList::issued_at).min()?;
        Some(now.duration_since(oldest).unwrap_or_default())
    }

    /// Checks each certificate of a chain against the lists of its issuer.
    pub(crate) fn check<'a>(
        &self,
        chain: impl IntoIterator<Item = &'a CertificateDer<'a>>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let lists = self.lists.borrow();
        if lists.by_scope.is_empty() {
            return Ok(());
        }
        for certificate in chain {
            // What cannot be decoded was no part of the chain that was verified.
            let Ok(certificate) = EndEntityCert::try_from(certificate) else { continue };
            for list in lists.by_scope.values().filter(|list| list.concerns(&certificate)) {
                match list.revokes(&certificate) {
                    Ok(false) => {}
                    Ok(true) => return Err(CertificateError::Revoked),
                    Err(_malformed_entry) => return Err(CertificateError::UnknownRevocationStatus),
                }
                let next_update = list.next_update();
                if self.stale == StaleLists::Refuse && now >= next_update {
                    return Err(CertificateError::ExpiredRevocationListContext { time: now, next_update });
                }
            }
        }
        Ok(())
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new(StaleLists::default())
    }
}

fn can_spread(list: &RevocationList) -> bool {
    list.is_authentic() && list.der().len() <= Revocations::MAX_SPREAD_BYTES
}

fn parse_file(bytes: &[u8], authorities: Authorities<'_>) -> Result<Vec<RevocationList>, RevocationFileError> {
    let limit = Credentials::MAX_INPUT_BYTES;
    if bytes.len() > limit {
        return Err(RevocationFileError::TooLarge { limit });
    }
    // DER begins with the tag of a sequence, which no text does.
    let found = match bytes.first() {
        Some(0x30) => vec![bytes.to_vec()],
        _ => pem::revocation_lists(bytes).map_err(|source| RevocationFileError::Pem { source })?,
    };
    if found.is_empty() {
        return Err(RevocationFileError::Empty);
    }
    let parse = |(index, der): (usize, &Vec<u8>)| {
        let parsed = RevocationList::parse(der, authorities);
        parsed.map_err(|source| RevocationFileError::List { position: index + 1, source })
    };
    found.iter().enumerate().map(parse).collect()
}
