//! What calls have come to.

use std::fmt;

/// What calls have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that may be executed twice and went well.
    pub(crate) ok: u64,
    /// The same, and failed.
    pub(crate) failed: u64,
    /// Calls that may be executed once only and went well.
    pub(crate) once_ok: u64,
    /// The same, and failed.
    pub(crate) once_failed: u64,
    /// Calls of both kinds that went well, or were answered at least, after more than one attempt.
    pub(crate) retried: u64,
}

impl Counts {
    /// Returns them for programs.
    pub(crate) fn fields(&self) -> String {
        let Self { ok, failed, once_ok, once_failed, retried } = self;
        format!("calls ok={ok} failed={failed} once_ok={once_ok} once_failed={once_failed} retried={retried}")
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, failed, once_ok, once_failed, retried } = self;
        write!(
            f,
            "calls: {ok} ok, {failed} failed; not idempotent: {once_ok} ok, {once_failed} failed; {retried} retried"
        )
    }
}
