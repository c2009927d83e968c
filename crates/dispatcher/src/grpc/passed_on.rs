//! Answers of others, on their way back.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Code;
use tonic::body::Body;

use crate::status::Status;

type BoxError = Box<dyn Error + Send + Sync>;

/// Returns an answer as it goes on to whoever has called. One whose head says how the call ended has no body, and has to end with
/// its head: clients take an empty body after it for a broken answer.
pub(crate) fn passed_on<B>(response: Response<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let is_over = response.headers().contains_key(tonic::Status::GRPC_STATUS);
    response.map(|body| if is_over { Body::empty() } else { Body::new(PassedOn(Some(body))) })
}

/// The body of an answer. One that breaks off ends with a status that says why, as no reset could.
struct PassedOn<B>(Option<B>);

impl<B> HttpBody for PassedOn<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        Poll::Ready(match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                self.0 = None;
                let mut trailers = HeaderMap::new();
                broken_off(error.into()).write_trailers(&mut trailers);
                Some(Ok(Frame::trailers(trailers)))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // Trailers may come in the place of the rest.
        SizeHint::default()
    }
}

/// Says why an answer has broken off. What says nothing of a code is a connection that has ended.
fn broken_off(error: BoxError) -> Status {
    let status = tonic::Status::from_error(error);
    match status.code() {
        Code::Unknown => Status::new(Code::Unavailable, format!("the answer has broken off: {}", status.message())),
        _ => Status::from(status),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    async fn ended(error: impl Into<BoxError>) -> Option<(usize, Code, String)> {
        let pieces = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(error.into())];
        let answer = passed_on(Response::new(StreamBody::new(futures_util::stream::iter(pieces))));
        let collected = answer.into_body().collect().await.ok()?;
        let status = Status::of_trailers(collected.trailers()?)?;
        Some((collected.to_bytes().len(), status.code(), status.message().to_owned()))
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_says_why() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = "the answer has broken off: connection reset".to_owned();
        assert_eq!(ended(reset).await, Some((4, Code::Unavailable, broken)));
        let late = tonic::Status::deadline_exceeded("the deadline has passed");
        let passed = "the deadline has passed".to_owned();
        assert_eq!(ended(late).await, Some((4, Code::DeadlineExceeded, passed)));
    }

    #[test]
    fn a_head_that_says_how_the_call_ended_ends_the_answer() {
        let answer = Response::builder().header("grpc-status", "9").body(Body::new(String::new()));
        assert!(passed_on(answer.expect("a head")).body().is_end_stream());
    }
}
