//! Messages that are dropped. Who sends them has been let in.

use mesh_proto::MAX_STREAM_BYTES;
use quinn::ConnectionError;
use test_cluster::Authority;
use tokio::time::timeout;

use crate::raw::{Raw, probe};
use crate::refusal::Target;
use crate::{Failure, LIMIT};

/// Is let in as `mallory`.
async fn let_in(target: &Target) -> Result<Raw, Failure> {
    let credentials = Authority::credentials(target.authority(), "mallory")?;
    timeout(LIMIT, Raw::let_in(target.address, &credentials)).await?
}

/// Sends `bytes` as a datagram, after a good one that must not count.
async fn check_datagram(bytes: Vec<u8>, reason: &str, words: &str) -> Result<(), Failure> {
    let target = Target::start().await?;
    let raw = let_in(&target).await?;
    raw.connection.send_datagram(probe("mallory").into())?;
    raw.connection.send_datagram(bytes.into())?;
    target.has_rejected(reason, words).await
}

#[tokio::test]
async fn a_message_that_names_another_sender_is_dropped() -> Result<(), Failure> {
    let words = "message claims to come from `node-7`, its link is `mallory`";
    check_datagram(probe("node-7"), "sender_mismatch", words).await
}

#[tokio::test]
async fn a_truncated_datagram_is_dropped() -> Result<(), Failure> {
    let mut truncated = probe("mallory");
    truncated.pop();
    check_datagram(truncated, "malformed", "message cannot be decoded").await
}

#[tokio::test]
async fn a_datagram_of_garbage_is_dropped() -> Result<(), Failure> {
    let noise = (0..1_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    check_datagram(noise, "malformed", "message cannot be decoded").await
}

#[tokio::test]
async fn an_empty_datagram_is_dropped() -> Result<(), Failure> {
    check_datagram(Vec::new(), "bad_name", "message field `sender` is not valid").await
}

#[tokio::test]
async fn a_stream_over_the_size_limit_is_dropped_and_its_link_closed() -> Result<(), Failure> {
    let target = Target::start().await?;
    let raw = let_in(&target).await?;
    let sent = timeout(LIMIT, raw.send_stream(&vec![0; MAX_STREAM_BYTES + 1])).await?;
    let closed = timeout(LIMIT, raw.connection.closed()).await?;
    assert!(
        matches!(&closed, ConnectionError::ApplicationClosed(close) if u64::from(close.error_code) == 17),
        "{closed}"
    );
    // It is closed once the limit is passed, so the last bytes may not have left.
    drop(sent);
    target.has_rejected("oversize", "message on a stream is over the limit").await
}
