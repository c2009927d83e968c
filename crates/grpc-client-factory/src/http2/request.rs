//! The body of a request over HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};
use tonic::Status;

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
        stream @ RequestBody::Stream { .. } => Pump::begin(tasks, send_all(sending, stream)).await,
    }
}

/// Sends a body to its end. That the server wants no more of it is no error here: its answer says why.
async fn send_all(mut sending: SendStream<Bytes>, mut body: RequestBody) {
    while let Some(frame) = poll_fn(|cx| poll_frame(&mut sending, &mut body, cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                if let Err(error) = sending.send_data(data, false) {
                    return trace_failure(Err(error));
                }
            }
            Ok(Err(_trailers)) => {} // gRPC has none in requests
            Err(_status) => {
                // The body keeps what was wrong with it.
                sending.send_reset(Reason::CANCEL);
                return;
            }
        }
    }
    trace_failure(sending.send_data(Bytes::new(), true));
}

/// Returns the next frame, once the server has taken enough of the last.
fn poll_frame(
    sending: &mut SendStream<Bytes>,
    body: &mut RequestBody,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
    // A frame in hand takes no more memory when it waits in the connection.
    sending.reserve_capacity(1);
    while sending.capacity() == 0 {
        match ready!(sending.poll_capacity(cx)) {
            Some(Ok(_bytes)) => {}
            Some(Err(error)) => {
                trace_failure(Err(error));
                return Poll::Ready(None);
            }
            None => return Poll::Ready(None),
        }
    }
    if sending.poll_reset(cx).is_ready() {
        return Poll::Ready(None);
    }
    Pin::new(body).poll_frame(cx)
}

fn trace_failure(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        tracing::trace!(error = %error, "the server took no more of a request");
    }
}
