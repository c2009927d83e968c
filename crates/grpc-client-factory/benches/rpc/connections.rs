//! What it costs to have connections: to make them, and to keep them while nothing happens.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::id;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grpc_client_factory::{ChannelFactory as _, ClientFactory, Http3Mode, Target};
use test_authority::Authority;
use test_rpc::rpc::EchoRequest;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::BoxError;
use crate::client::{PROFILE, factory, of};
use crate::process::{cpu_of, memory_of};
use crate::report::{Bound, Row, time};
use crate::rounds::Effort;
use crate::servers::{Servers, expected};

/// What this is called where one thing is run alone.
pub(crate) const NAME: &str = "connections";

/// Connections of each protocol.
const CONNECTIONS: u8 = 200;
/// How long they are left alone: in that time clients ask twice whether the server is there, and servers once.
const REST: Duration = Duration::from_secs(20);
/// How long what was done before has to come to its end.
const SETTLE: Duration = Duration::from_secs(1);

const HTTP2: Kind = Kind { name: "HTTP/2", mode: Http3Mode::Off };
const HTTP3: Kind = Kind { name: "HTTP/3", mode: Http3Mode::Only };

#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    mode: Http3Mode,
}

/// What the connections of one protocol have shown.
struct Shown {
    /// Time to the first answer, in nanoseconds, the median.
    first_answer: f64,
    /// Processor time of both sides a connection, the first call included, in nanoseconds.
    cpu: f64,
    /// Memory of the client and of the server a connection, in bytes.
    memory: [f64; 2],
}

/// Makes connections of both protocols and keeps them.
///
/// # Errors
/// A call fails.
pub(crate) fn rows(authority: &Authority, runtime: &Runtime, effort: Effort) -> Result<Vec<Row>, BoxError> {
    let servers = Servers::start(authority, crate::observe::Observed::No)?;
    let credentials = authority.credentials("client")?;
    let (count, rest, settle) =
        if effort == Effort::Measure { (CONNECTIONS, REST, SETTLE) } else { (2, Duration::ZERO, Duration::ZERO) };
    // A factory starts tasks when it is made.
    let _inside = runtime.enter();
    let made = |kind: Kind| factory(Arc::clone(&credentials), kind.mode);
    let (over_http2, over_http3) = (made(HTTP2)?, made(HTTP3)?);
    let shown = |factory| runtime.block_on(measured(factory, &servers, count));
    let idle = || runtime.block_on(used_in(rest, settle, &servers));
    let http2 = (shown(&over_http2)?, idle()?);
    // None is closed before: what one gives back would be what the next one takes.
    let http3 = shown(&over_http3)?;
    runtime.block_on(over_http2.close(Duration::ZERO));
    let http3 = (http3, idle()?);
    Ok(of_kind(HTTP2, &http2, None).into_iter().chain(of_kind(HTTP3, &http3, Some(&http2.0))).collect())
}

/// Returns the processor time that both sides have had.
fn used(servers: &Servers) -> Result<Duration, BoxError> {
    Ok(cpu_of(id())? + cpu_of(servers.process())?)
}

/// Returns the share of a core that both sides take while nothing is called.
async fn used_in(rest: Duration, settle: Duration, servers: &Servers) -> Result<f64, BoxError> {
    sleep(settle).await;
    let before = used(servers)?;
    sleep(rest).await;
    Ok(used(servers)?.saturating_sub(before).as_secs_f64() / rest.as_secs_f64())
}

async fn measured(factory: &ClientFactory, servers: &Servers, count: u8) -> Result<Shown, BoxError> {
    let both = [id(), servers.process()];
    let (memory_before, cpu_before) = (both.map(memory_of), used(servers)?);
    let mut answers = Vec::new();
    for number in 1..=count {
        // An address of its own is a connection of its own.
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 2, number), servers.anywhere));
        let mut client = of(factory.channel(&Target::new(address.into(), expected()?), PROFILE)?);
        let begun = Instant::now();
        client.unary(EchoRequest::default()).await?;
        answers.push(begun.elapsed().as_nanos() as f64);
    }
    let (cpu_after, memory_after) = (used(servers)?, both.map(memory_of));
    answers.sort_unstable_by(f64::total_cmp);
    let count = f64::from(count);
    let [[client_before, server_before], [client_after, server_after]] = [memory_before, memory_after];
    Ok(Shown {
        first_answer: answers.get(answers.len() / 2).copied().unwrap_or(f64::NAN),
        cpu: cpu_after.saturating_sub(cpu_before).as_nanos() as f64 / count,
        memory: [(client_after? - client_before?) / count, (server_after? - server_before?) / count],
    })
}

/// Returns the rows of one protocol; what is compared is compared with the other.
fn of_kind(kind: Kind, (shown, share): &(Shown, f64), base: Option<&Shown>) -> Vec<Row> {
    let row = |name: &str, measured: String, ratio: Option<f64>, bound: Bound| {
        let compared = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x HTTP/2"));
        Row::new(format!("a connection of {}: {name}", kind.name), measured, compared, ratio, bound)
    };
    let memory_max = if base.is_some() { 140.0 } else { 60.0 };
    let memory = |side: &str, bytes: f64| {
        let kib = bytes / 1024.0;
        let name = format!("a connection of {}: memory, {side}", kind.name);
        Row::held(name, format!("{kib:.0} KiB"), kib <= memory_max, format!("<= {memory_max:.0} KiB"))
    };
    let [client, server] = shown.memory;
    let idle = format!("{CONNECTIONS} idle connections of {}: processor", kind.name);
    vec![
        row(
            "first answer",
            time(shown.first_answer),
            base.map(|base| shown.first_answer / base.first_answer),
            Bound::AtMost(Some(1.7)),
        ),
        row("CPU until then", time(shown.cpu), base.map(|base| shown.cpu / base.cpu), Bound::AtMost(Some(1.8))),
        memory("client", client),
        memory("server", server),
        Row::held(idle, format!("{:.2} % of a core", share * 100.0), *share <= 0.003, "<= 0.3 %".to_owned()),
    ]
}
