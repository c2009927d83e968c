//! What QUIC runs on: tokio, with far timers that go off together.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

/// Time to a timer from which it is far: longer than anything that waits for an answer.
const FAR: Duration = Duration::from_secs(2);

/// Far timers go off at multiples of this.
const TICK: Duration = Duration::from_millis(250);

/// What QUIC runs on: tokio, with far timers that go off together. Endpoints of both sides take it.
///
/// A connection that rests has timers only to say that it is still there, and to give up. Each at its own moment would wake the process once
/// a connection, and the other side, too; those of a quarter of a second are one turn for both. So a keep-alive and an idle timeout
/// come up to 250 ms late, while timers that are nearer than 2 s, as those of lost packets are, stay as they are.
#[derive(Debug)]
pub struct GatheredTimers {
    tokio: TokioRuntime,
    ticks: Ticks,
}

impl GatheredTimers {
    /// Makes one, whose timers go off together with those of no other. Call it within a runtime of tokio.
    #[must_use]
    pub fn new() -> Self {
        Self { tokio: TokioRuntime, ticks: Ticks { begun: TokioRuntime.now() } }
    }
}

impl Default for GatheredTimers {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for GatheredTimers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let ticks = self.ticks;
        Box::pin(Gathered { ticks, timer: self.tokio.new_timer(ticks.put_off(TokioRuntime.now(), at)) })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tokio.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.tokio.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        self.tokio.now()
    }
}

/// The moments at which far timers go off.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    begun: Instant,
}

impl Ticks {
    /// Returns when a timer goes off that was set to `at`: never before.
    fn put_off(self, now: Instant, at: Instant) -> Instant {
        if at.saturating_duration_since(now) < FAR {
            return at;
        }
        let past_tick_ns = at.saturating_duration_since(self.begun).as_nanos() % TICK.as_nanos();
        match u64::try_from(past_tick_ns) {
            Ok(past_ns) if past_ns > 0 => at + TICK - Duration::from_nanos(past_ns),
            _ => at,
        }
    }
}

/// A timer that is put off to the next tick if it is far.
#[derive(Debug)]
struct Gathered {
    ticks: Ticks,
    timer: Pin<Box<dyn AsyncTimer>>,
}

impl AsyncTimer for Gathered {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        let at = self.ticks.put_off(TokioRuntime.now(), at);
        self.timer.as_mut().reset(at);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Says after how many milliseconds timers go off that were set to these.
    async fn go_off(set_ms: &[u32]) -> Vec<u128> {
        let (runtime, begun) = (GatheredTimers::new(), tokio::time::Instant::now());
        let mut timers: Vec<_> = set_ms.iter().map(|ms| runtime.new_timer((begun + *ms * MS).into_std())).collect();
        let mut gone_off = Vec::new();
        for timer in &mut timers {
            poll_fn(|cx| timer.as_mut().poll(cx)).await;
            gone_off.push(begun.elapsed().as_millis());
        }
        gone_off
    }

    #[tokio::test(start_paused = true)]
    async fn far_timers_go_off_at_the_next_quarter_of_a_second_and_near_ones_on_time() {
        assert_eq!(
            go_off(&[5, 1_990, 2_001, 2_249, 2_250, 10_003, 10_180]).await,
            [5, 1_990, 2_250, 2_250, 2_250, 10_250, 10_250]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_set_anew_is_put_off_anew() {
        let (runtime, begun) = (GatheredTimers::new(), tokio::time::Instant::now());
        let mut timer = runtime.new_timer((begun + 10_003 * MS).into_std());
        timer.as_mut().reset((begun + 7 * MS).into_std());
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
        assert_eq!(begun.elapsed().as_millis(), 7);
        timer.as_mut().reset((begun + 5_100 * MS).into_std());
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
        assert_eq!(begun.elapsed().as_millis(), 5_250);
    }
}
