//! What one message asks for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status};

use crate::rpc::{EchoReply, EchoRequest, Failure};

/// Keys that begin so come back.
const PREFIX: &str = "echo-";

/// Does what `request` asks for: waits, then answers or fails.
pub(crate) async fn answer(
    request: EchoRequest,
    index: u64,
    mut released: watch::Receiver<bool>,
) -> Result<EchoReply, Status> {
    let EchoRequest { payload, more_bytes, delay_ms, held, failure } = request;
    if delay_ms > 0 {
        sleep(Duration::from_millis(delay_ms.into())).await;
    }
    if held && released.wait_for(|released| *released).await.is_err() {
        return Err(Status::aborted("the service is gone"));
    }
    match failure {
        Some(failure) => Err(status(failure)),
        None => Ok(EchoReply { payload: payload_with(payload, more_bytes), index }),
    }
}

#[expect(clippy::panic, reason = "that is what was asked for")]
pub(crate) fn status(failure: Failure) -> Status {
    let Failure { code, message, details, panic } = failure;
    if panic {
        panic!("{message}");
    }
    Status::with_details(Code::from_i32(code), message, details)
}

fn payload_with(payload: Bytes, more_bytes: u32) -> Bytes {
    let Ok(more) = usize::try_from(more_bytes) else { return payload };
    if more == 0 {
        return payload;
    }
    let mut longer = BytesMut::from(payload);
    longer.resize(longer.len() + more, 0);
    longer.freeze()
}

/// Returns the metadata of `request` that is to come back.
pub(crate) fn returned<T>(request: &Request<T>) -> MetadataMap {
    let headers = request.metadata().as_ref();
    let kept = headers.iter().filter(|(key, _)| key.as_str().starts_with(PREFIX));
    MetadataMap::from_headers(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Returns `outcome` with `metadata`: among the headers, or in the trailers.
pub(crate) fn with_metadata<T>(outcome: Result<T, Status>, metadata: MetadataMap) -> Result<Response<T>, Status> {
    match outcome {
        Ok(message) => Ok(Response::from_parts(metadata, message, Extensions::default())),
        Err(mut status) => {
            status.metadata_mut().as_mut().extend(metadata.into_headers());
            Err(status)
        }
    }
}
