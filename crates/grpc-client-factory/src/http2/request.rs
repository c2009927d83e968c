//! The body of a request over HTTP/2.

use std::sync::Weak;

use bytes::Bytes;
use h2::SendStream;
use h2_transport::{send_all, trace_failure};

use crate::request_body::RequestBody;
use crate::tasks::{Pump, Tasks};

/// Sends the body as far as it goes at once; leaves the rest to a task of its own, because a caller that sends a stream may wait
/// for the answer to its beginning.
pub(super) async fn start(mut sending: SendStream<Bytes>, body: RequestBody, tasks: &Weak<Tasks>) -> Option<Pump> {
    match body {
        RequestBody::Whole(message) => {
            trace_failure(sending.send_data(message.unwrap_or_default(), true));
            None
        }
        // What was wrong with it, the body keeps.
        stream @ RequestBody::Stream { .. } => Pump::begin(tasks, send_all(sending, stream)).await,
    }
}
