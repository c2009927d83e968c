//! One request over HTTP/3.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use h3_transport::{Connection, SendStream, StreamEnd, WhenStopped};
use http::Response;
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::body::RequestBody;
use crate::answer::Answer;
use crate::body::{Body, BodyError};
use crate::call::{Begun, Calls};
use crate::serve::Serve;

/// Why an answer was not sent to its end.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the stream broke off")]
    Stream(#[from] StreamError),
    #[error("the handler broke off")]
    Body(#[source] BodyError),
}

/// Serves one request. Returns what tells whether the answer has arrived, if it was sent to its end.
pub(crate) async fn serve<S: Serve>(
    resolver: RequestResolver<Connection, Bytes>,
    mut stopped: WhenStopped,
    calls: Arc<Calls<S>>,
    head_timeout: Duration,
) -> Option<WhenStopped> {
    let (request, stream) = match timeout(head_timeout, resolver.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            tracing::debug!(peer = ?calls.peer, %error, "a request is none");
            return None;
        }
        Err(elapsed) => {
            tracing::debug!(peer = ?calls.peer, %elapsed, "a request did not come to its point");
            return None;
        }
    };
    let (mut sender, receiver) = stream.split();
    let begun = Begun::with(request.into_parts().0);
    let timing = Arc::clone(begun.timing());
    let body = Body::http3(RequestBody::new(receiver, Arc::clone(&timing)));
    let answering = async { send(&mut sender, calls.answer(begun, body).await).await };
    // Whatever comes first, what else is under way for the call is dropped. An answer that is ready needs no look at the rest.
    tokio::select! {
        biased;
        sent = answering => match sent {
            Ok(()) => return Some(stopped),
            Err(error) => tracing::debug!(peer = ?calls.peer, error = &error as &dyn std::error::Error, "an answer broke off"),
        },
        end = &mut stopped => debug_assert_ne!(end, StreamEnd::Acknowledged, "the answer is not finished"),
        () = timing.cuts_off() => sender.stop_stream(Code::H3_REQUEST_CANCELLED),
    }
    None
}

async fn send<B>(stream: &mut RequestStream<SendStream, Bytes>, response: Response<Answer<B>>) -> Result<(), SendError>
where
    B: HttpBody<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    let (head, mut body) = response.into_parts();
    stream.send_response(Response::from_parts(head, ())).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(SendError::Body)?;
        match frame.into_data() {
            Ok(data) => stream.send_data(data).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers).await?;
                }
            }
        }
    }
    Ok(stream.finish().await?)
}
