//! Connections of HTTP/1 that go on as something else.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Extensions;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is to be done with a connection once it is no longer HTTP.
type Work = Arc<Mutex<Option<BoxFuture<'static, ()>>>>;

/// Takes over the connection of a request: found among the extensions of one over HTTP/1 that asks for it.
///
/// Whoever answers such a request with `101 Switching Protocols` says before what is to be done then.
#[derive(Clone)]
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    work: Work,
}

/// A connection that is no longer HTTP. Shut it down in the end: what was written last may be sent only then.
pub struct Upgraded(TokioIo<hyper::upgrade::Upgraded>);

/// The upgrades of one connection, for who serves it. Clones share them.
///
/// A connection goes on as something else once at most, and what is done with it then is done by who serves it.
#[derive(Clone, Default)]
pub struct Upgrades {
    work: Work,
}

impl Upgrade {
    /// Has `work` done with the connection as soon as it is no longer HTTP.
    ///
    /// It belongs to the connection: it is dropped when the peer's trust ends, and when a server that stops has waited for
    /// [`Options::drain_timeout`](crate::Options::drain_timeout). If the answer is another than 101, it is never begun.
    pub fn then<F, W>(self, work: F)
    where
        F: FnOnce(Upgraded) -> W + Send + 'static,
        W: Future<Output = ()> + Send,
    {
        let Self { on_upgrade, work: slot } = self;
        let begun = Box::pin(async move {
            match on_upgrade.await {
                Ok(upgraded) => work(Upgraded(TokioIo::new(upgraded))).await,
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
    }
}

impl Upgrades {
    /// Puts an [`Upgrade`] in the place of hyper's own, if the request asks for one.
    pub fn offer(&self, extensions: &mut Extensions) {
        if let Some(on_upgrade) = extensions.remove::<OnUpgrade>() {
            extensions.insert(Upgrade { on_upgrade, work: Arc::clone(&self.work) });
        }
    }

    /// Returns what is to be done with the connection, when it is no longer HTTP.
    #[must_use]
    pub fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrades")
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}
