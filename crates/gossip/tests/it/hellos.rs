//! Who is not let in for the hello said. The certificate is good each time.

use mesh_proto::{MAX_HELLO_BYTES, Message as _};
use quinn::{ConnectionError, ReadError, ReadToEndError};
use tokio::time::timeout;

use crate::raw::{Raw, hello};
use crate::refusal::Target;
use crate::{Failure, LIMIT};

/// Says `hello` as `mallory`. Checks that the connection is closed as refused, with `told` for the other side and `logged`
/// for the operator.
async fn check(hello: &[u8], reason: &str, told: &str, logged: &str) -> Result<(), Failure> {
    check_code(16, hello, reason, (told, logged)).await
}

async fn check_code(code: u64, hello: &[u8], reason: &str, (told, logged): (&str, &str)) -> Result<(), Failure> {
    let target = Target::start().await?;
    let raw = Raw::connect(target.address, &*target.authority().credentials("mallory")?).await?;
    let error = timeout(LIMIT, raw.say(hello)).await?.err().ok_or("let in")?;
    let Some(ReadToEndError::Read(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)))) =
        error.downcast_ref()
    else {
        return Err(error);
    };
    let said = String::from_utf8_lossy(&close.reason);
    assert_eq!((u64::from(close.error_code), said.contains(told)), (code, true), "{said}");
    target.has_refused(reason, logged).await
}

#[tokio::test]
async fn a_hello_that_names_another_node_is_refused() -> Result<(), Failure> {
    let words = "hello names node `node-7`, its certificate `mallory`";
    check(&hello("node-7").encode_to_vec(), "sender_mismatch", words, words).await
}

#[tokio::test]
async fn a_hello_with_unknown_protocol_numbers_is_refused_and_both_ranges_are_named() -> Result<(), Failure> {
    let mut newer = hello("mallory");
    (newer.protocol_min, newer.protocol_max) = (7, 9);
    let words = "it speaks gossip protocol 7 to 9, this node 1 to 1";
    check_code(18, &newer.encode_to_vec(), "protocol_version", (words, words)).await
}

#[tokio::test]
async fn a_hello_of_another_cluster_is_refused() -> Result<(), Failure> {
    let mut elsewhere = hello("mallory");
    "beta".clone_into(&mut elsewhere.cluster);
    let words = "it is of cluster `beta`, this node of `test`";
    check(&elsewhere.encode_to_vec(), "wrong_cluster", words, words).await
}

#[tokio::test]
async fn a_hello_over_the_size_limit_is_refused() -> Result<(), Failure> {
    // A cluster's name that fills it to one byte over the limit: were it read, it would be well-formed.
    let mut large = hello("mallory");
    large.cluster = "c".repeat(MAX_HELLO_BYTES - 300);
    large.cluster.push_str(&"c".repeat(MAX_HELLO_BYTES + 1 - large.encoded_len()));
    let large = large.encode_to_vec();
    assert_eq!(large.len(), MAX_HELLO_BYTES + 1);
    check(&large, "oversize", "hello over the size limit", "hello is longer than 16384 bytes").await
}

#[tokio::test]
async fn a_hello_of_garbage_is_refused() -> Result<(), Failure> {
    let words = "hello cannot be decoded";
    check(&[0xff; 64], "malformed", words, words).await
}
