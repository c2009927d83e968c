//! Messages as server-sent events.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};
use tonic::Code;

use crate::messages::Messages;
use crate::status::Status;
use crate::wire::failure_json;

/// The body of a stream of events: an event a message, then `end`, or `error` with what a failure over HTTP has as its body. Text is
/// told as it is, anything else in base64.
pub(crate) struct Events {
    /// None once the end is told.
    messages: Option<Messages>,
    is_text: bool,
    keep_alive: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Events {
    pub(crate) const fn new(messages: Messages, is_text: bool, keep_alive: Duration) -> Self {
        Self { messages: Some(messages), is_text, keep_alive, silence: None }
    }

    fn event(&self, message: &Bytes) -> Result<String, Status> {
        if !self.is_text {
            return Ok(format!("data: {}\n\n", STANDARD.encode(message)));
        }
        let text = std::str::from_utf8(message).map_err(|error| {
            Status::new(Code::Internal, format!("reply: message is not the text it is to be: {error}"))
        })?;
        Ok(event(None, text))
    }

    fn keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let length = self.keep_alive;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(length)));
        ready!(silence.as_mut().poll(cx));
        silence.as_mut().reset(Instant::now() + length);
        Poll::Ready(())
    }
}

/// Returns an event. Its data may have several lines.
fn event(kind: Option<&str>, data: &str) -> String {
    let mut event = String::with_capacity(data.len() + 16);
    if let Some(kind) = kind {
        writeln!(event, "event: {kind}").expect("memory takes what is written");
    }
    // A lone carriage return would end a line too.
    for line in data.split(['\n', '\r']) {
        writeln!(event, "data: {line}").expect("memory takes what is written");
    }
    event.push('\n');
    event
}

fn failed(status: &Status) -> String {
    event(Some("error"), &String::from_utf8_lossy(&failure_json(status)))
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(messages) = &mut self.messages else { return Poll::Ready(None) };
        let Poll::Ready(message) = messages.poll_next_unpin(cx) else {
            ready!(self.keep_alive(cx));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))));
        };
        self.silence = None;
        let told = message.map(|message| message.and_then(|message| self.event(&message)));
        let text = match told {
            Some(Ok(text)) => text,
            Some(Err(status)) => {
                self.messages = None;
                failed(&status)
            }
            None => {
                self.messages = None;
                event(Some("end"), "")
            }
        };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn told(messages: Vec<Result<&'static str, Status>>, is_text: bool) -> String {
        let messages = messages.into_iter().map(|message| message.map(Bytes::from));
        let events = Events::new(Messages::stream(stream::iter(messages.collect::<Vec<_>>())), is_text, MINUTE);
        let all = events.collect().await.map(|all| all.to_bytes().to_vec());
        String::from_utf8(all.unwrap_or_default()).unwrap_or_default()
    }

    #[tokio::test]
    async fn each_message_is_an_event_and_the_end_is_one_too() {
        assert_eq!(
            told(vec![Ok("{\"a\":1}"), Ok("2")], true).await,
            "data: {\"a\":1}\n\ndata: 2\n\nevent: end\ndata: \n\n"
        );
        assert_eq!(told(vec![Ok("a\nb\rc")], true).await, "data: a\ndata: b\ndata: c\n\nevent: end\ndata: \n\n");
        assert_eq!(told(vec![Ok("\u{1}")], false).await, "data: AQ==\n\nevent: end\ndata: \n\n");
    }

    #[tokio::test]
    async fn a_failure_is_an_event_and_the_last() {
        let failure = Status::new(Code::ResourceExhausted, "no more");
        let json = "{\"message\":\"no more\",\"status\":\"RESOURCE_EXHAUSTED\",\"code\":null,\"metadata\":{}}";
        let expected = format!("data: 1\n\nevent: error\ndata: {json}\n\n");
        assert_eq!(told(vec![Ok("1"), Err(failure), Ok("2")], true).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_now_and_then_that_it_is_there() {
        let mut events = Events::new(Messages::stream(stream::pending()), true, MINUTE);
        assert!(events.frame().now_or_never().is_none());
        for minutes in 1..=2 {
            let began = Instant::now();
            let frame = events.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
            assert_eq!((frame.as_deref(), began.elapsed()), (Some(&b":\n\n"[..]), MINUTE), "after {minutes}");
        }
    }
}
