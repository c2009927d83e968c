//! What runs a connection over HTTP/2.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Ping, PingPong};
use h2_transport::{Gathering, Outlet};
use metrics::Histogram;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::Tls;
use crate::error::Cause;
use crate::profile::Http2Options;
use crate::watched::Watched;

type Io = Watched<Tls>;

/// Runs a connection; resolves to why it has ended, or to `None` if that is no failure.
pub(super) struct Driver {
    connection: Connection<Gathering<Io>, Bytes>,
    outlet: Outlet<Io>,
    /// Resolves when the connection is to end at once.
    is_cut: Option<oneshot::Receiver<()>>,
    pulse: Pulse,
    is_closed: Arc<AtomicBool>,
}

impl Driver {
    pub(super) fn new(
        mut connection: Connection<Gathering<Io>, Bytes>,
        outlet: Outlet<Io>,
        is_cut: oneshot::Receiver<()>,
        (options, rtt_seconds): (&Http2Options, Histogram),
        is_closed: Arc<AtomicBool>,
    ) -> Self {
        let pulse = Pulse::new(connection.ping_pong().expect("it is taken once"), options, rtt_seconds);
        Self { connection, outlet, is_cut: Some(is_cut), pulse, is_closed }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(is_cut) = &mut self.is_cut else { return Poll::Pending };
        match Pin::new(is_cut).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(_nobody_left)) => {
                // The connection ends with its last call.
                self.is_cut = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Future for Driver {
    type Output = Option<Cause>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Cause>> {
        let driver = &mut *self;
        let turn = Pin::new(&mut driver.connection).poll(cx);
        if let Poll::Ready(ended) = driver.outlet.after(turn, cx) {
            driver.is_closed.store(true, Ordering::Release);
            return Poll::Ready(ended.err().map(|error| Arc::new(error) as Cause));
        }
        if driver.poll_cut(cx).is_ready() {
            return Poll::Ready(Some(Arc::new(End::Cut)));
        }
        driver.pulse.poll(driver.outlet.read_bytes(), cx).map(|silent| Some(Arc::new(silent) as Cause))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Release);
    }
}

/// Why a connection ends that could go on.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the connection was given up")]
    Cut,
    #[error("no answer to a ping within {0:?}")]
    Silent(Duration),
}

/// Asks a server that is silent whether it is still there.
struct Pulse {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    next: Pin<Box<Sleep>>,
    /// How much the server had sent when it was looked last.
    read_bytes: u64,
    is_waiting: bool,
    /// When a ping was sent that is not answered.
    asked: Option<Instant>,
    rtt_seconds: Histogram,
}

impl Pulse {
    fn new(pings: PingPong, options: &Http2Options, rtt_seconds: Histogram) -> Self {
        let Http2Options { ping_interval: interval, ping_timeout: timeout, .. } = *options;
        let next = Box::pin(sleep(interval));
        Self { pings, interval, timeout, next, read_bytes: 0, is_waiting: false, asked: None, rtt_seconds }
    }

    /// Resolves when the server has been silent for too long. `read_bytes` is what it has sent so far.
    fn poll(&mut self, read_bytes: u64, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(asked) = self.asked
            && self.pings.poll_pong(cx).is_ready()
        {
            self.asked = None;
            self.rtt_seconds.record(asked.elapsed().as_secs_f64());
        }
        while self.next.as_mut().poll(cx).is_ready() {
            let is_silent = read_bytes == self.read_bytes;
            if is_silent && self.is_waiting {
                return Poll::Ready(End::Silent(self.timeout));
            }
            self.read_bytes = read_bytes;
            self.is_waiting = is_silent;
            let wait = if is_silent { self.timeout } else { self.interval };
            if is_silent {
                self.ask(cx);
            }
            self.next.as_mut().reset(Instant::now() + wait);
        }
        Poll::Pending
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        match self.pings.send_ping(Ping::opaque()) {
            Ok(()) => {
                self.asked = Some(Instant::now());
                // Whoever waits for the answer has to say so.
                cx.waker().wake_by_ref();
            }
            Err(error) => tracing::trace!(%error, "no ping was sent"),
        }
    }
}
