//! A server that is killed and comes back on its port.

use std::time::Duration;

use grpc_client_factory::Http3Mode;
use tokio::time::Instant;

use super::{Pair, at_most, ms, profile};
use crate::load::{Load, Via, longest, pass};
use crate::report::Report;

/// How often it is killed in each way.
const TIMES: usize = 10;

/// How long it is gone.
const GONE: Duration = Duration::from_millis(300);

/// The same, long enough that clients have given it up and wait longer and longer before they try again.
const LONG: Duration = Duration::from_secs(3);

const WAYS: [(&str, Http3Mode, Via); 3] = [
    ("HTTP/3 only", Http3Mode::Only, Via::Http3),
    ("HTTP/3 first", Http3Mode::Auto, Via::Http3),
    ("HTTP/2", Http3Mode::Off, Via::Http2),
];

const LIMIT: Duration = Duration::from_millis(100);

/// 200 calls a second.
const EVERY: Duration = Duration::from_millis(5);

/// Far longer than anything may take here: only a call that hangs would reach it.
const DEADLINE: Duration = Duration::from_secs(25);

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    for (name, mode, via) in WAYS {
        let what = format!("killed and back after {GONE:?}, {name}");
        let recovered = die(TIMES, GONE, (mode, via), &what, report).await?;
        if via == Via::Http3 {
            at_most(report, &format!("{what}: longest of {TIMES} to the first answer over it"), recovered, LIMIT);
        } else {
            told(report, &format!("{what}: longest of {TIMES} to the first answer over it"), recovered);
        }
    }
    for (name, mode, via) in WAYS {
        let what = format!("killed and back after {LONG:?}, {name}");
        let recovered = die(1, LONG, (mode, via), &what, report).await?;
        told(report, &format!("{what}: to the first answer over it"), recovered);
    }
    Ok(())
}

fn told(report: &Report, what: &str, time: Option<Duration>) {
    report.aside(what, &time.map_or_else(|| "never".to_owned(), ms));
}

/// Kills a server that often; returns the longest from when it listens again to the first answer, none if there was one without.
async fn die(
    times: usize,
    gone: Duration,
    (mode, via): (Http3Mode, Via),
    what: &str,
    report: &mut Report,
) -> anyhow::Result<Option<Duration>> {
    let mut pair = Pair::start(profile(mode)).await?;
    let (mut recovered, mut lost, mut waited) = (Some(Duration::ZERO), 0, Duration::ZERO);
    for _ in 0..times {
        let once;
        (pair, once) = kill(pair, gone, via).await?;
        recovered = recovered.zip(once.recovered).map(|(worst, once)| worst.max(once));
        lost += once.lost;
        waited = waited.max(once.waited);
    }
    report.aside(&format!("{what}: longest wait of a call"), &ms(waited));
    report.aside(&format!("{what}: calls lost each time, of 200 a second"), &(lost / times).to_string());
    Ok(recovered)
}

/// What one death has meant.
struct Once {
    /// From when the server listens again to the first answer; none if there was none.
    recovered: Option<Duration>,
    lost: usize,
    /// The longest that a call took that began before the server was back.
    waited: Duration,
}

async fn kill(pair: Pair, gone: Duration, via: Via) -> anyhow::Result<(Pair, Once)> {
    let load = Load::open(pair.caller("steady", DEADLINE)?, EVERY);
    pass(GONE).await;
    let killed = Instant::now();
    let pair = pair.restart(pass(gone)).await?;
    let back = Instant::now();
    pass(Duration::from_secs(1) + gone).await;
    let done = load.end().await;
    // What was answered before the process was seen to be gone is of its first life.
    let answered = done.iter().filter(|call| call.is_via(via) && call.ended > killed + gone / 2);
    let first = answered.map(|call| call.ended).min();
    let lost = done.iter().filter(|call| call.outcome.is_err()).count();
    let waited = longest(&done, (killed, back)).unwrap_or_default();
    let recovered = first.map(|first: Instant| first.saturating_duration_since(back));
    Ok((pair, Once { recovered, lost, waited }))
}
