//! Certificates of both sides that are replaced under load, each time by those of another CA.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use grpc_client_factory::{Http3Mode, Profile};
use identity::{CredentialSource as _, SharedCredentials};
use tokio::time::timeout;

use super::{Pair, channel, factory, none_failed, profile};
use crate::calls::carrier;
use crate::load::{Caller, Load, Via, failures, pass};
use crate::report::Report;

const TIMES: usize = 20;

/// Callers of each protocol.
const CALLERS: usize = 8;

/// Within what time the client connects anew with its new certificate.
const RENEW_WITHIN: Duration = Duration::from_millis(100);

/// How long each certificate is in use at least.
const USED: Duration = Duration::from_millis(300);

const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let mut pair = Pair::start(profile(Http3Mode::Auto)).await?;
    let shared = Arc::new(SharedCredentials::new((*pair.certificates.issue("client")?).clone()));
    let mut loads = Vec::new();
    for (name, mode, via) in [("HTTP/3", Http3Mode::Only, Via::Http3), ("HTTP/2", Http3Mode::Off, Via::Http2)] {
        let profile = Profile { renew_within: RENEW_WITHIN, ..profile(mode) };
        let factory = factory(Arc::clone(&shared) as _, profile)?;
        let caller = Caller::new(name, carrier(channel(&factory, pair.server.address)?), None);
        loads.push((name, via, Load::closed(&caller, CALLERS)));
    }
    for turn in 1..=TIMES {
        pass(USED).await;
        let own = pair.certificates.issue_by(turn, "client")?;
        shared.replace(&own)?;
        let serial = pair.certificates.issue_by(turn, "server")?.serial();
        until_serial(&mut pair, &serial).await?;
        ensure!(shared.current().serial() == own.serial(), "the client has another certificate");
    }
    pass(USED).await;
    for (name, via, load) in loads {
        let done = load.end().await;
        let what = format!("{TIMES} certificates of both sides replaced, {name}");
        none_failed(report, &what, done.len(), failures(&done));
        let by_it = done.iter().all(|done| done.is_via(via));
        report.figure(&format!("{what}: calls over it"), if by_it { "all" } else { "not all" }, "all", by_it);
    }
    pair.executed_once("certificates replaced", report).await
}

/// Waits until the server has taken its new certificate.
async fn until_serial(pair: &mut Pair, serial: &str) -> anyhow::Result<()> {
    let taken = async {
        while pair.server.tell("serial").await? != serial {
            pass(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    timeout(LIMIT, taken).await?
}
