//! Messages in a stream of server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use futures_core::Stream;
use http_body::Body;
use tonic::Code;

use super::answer;
use crate::status::Status;

/// The messages in a body of events: the data of each. `event: end` ends them, `event: error` fails them with a failure as its data.
#[derive(Debug)]
pub(crate) struct Events<B> {
    /// None once they are over.
    body: Option<B>,
    /// What is not looked at yet.
    rest: Bytes,
    begun: Begun,
    is_text: bool,
}

/// What has come of the next event.
#[derive(Debug, Default)]
struct Begun {
    line: Vec<u8>,
    kind: Vec<u8>,
    data: Option<Vec<u8>>,
    /// A line has ended with a carriage return: a line feed would be of it.
    is_after_return: bool,
}

/// A whole event.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    kind: Vec<u8>,
    data: Vec<u8>,
}

impl<B> Events<B> {
    /// Makes them. Data that is no text is base64.
    pub(crate) fn new(body: B, is_text: bool) -> Self {
        Self { body: Some(body), rest: Bytes::new(), begun: Begun::default(), is_text }
    }

    /// Returns the next message among what is there, `None` if there is no other.
    fn next(&mut self) -> Option<Result<Bytes, Status>> {
        while self.body.is_some() && self.rest.has_remaining() {
            let byte = self.rest.get_u8();
            if let Some(event) = self.begun.push(byte)
                && let Some(message) = self.message(event)
            {
                return Some(message);
            }
            if self.begun.len() > answer::MESSAGE_BYTES_MAX {
                return Some(Err(answer::too_large()));
            }
        }
        None
    }

    /// Returns the message that an event is.
    fn message(&mut self, Event { kind, data }: Event) -> Option<Result<Bytes, Status>> {
        match &*kind {
            b"end" => {
                self.body = None;
                None
            }
            b"error" => Some(Err(answer::failure_of_event(&data))),
            _ if self.is_text => Some(Ok(data.into())),
            _ => Some(STANDARD.decode(data).map(Bytes::from).map_err(|error| {
                Status::new(Code::Internal, format!("reply: event is not base64, as its `rpc-encoding` says: {error}"))
            })),
        }
    }
}

impl Begun {
    fn len(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, Vec::len)
    }

    /// Takes a byte, and returns the event that ends with it.
    fn push(&mut self, byte: u8) -> Option<Event> {
        let is_second = byte == b'\n' && self.is_after_return;
        self.is_after_return = byte == b'\r';
        match byte {
            b'\n' if is_second => None,
            b'\n' | b'\r' => self.end_line(),
            other => {
                self.line.push(other);
                None
            }
        }
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            return self.data.take().map(|data| Event { kind, data });
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => line.split_at(colon),
            None => (&*line, &[][..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            b"event" => self.kind = value.to_vec(),
            // Comments, and what browsers go by.
            _ => {}
        }
        None
    }
}

impl<B> Stream for Events<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let message = this.next();
            if message.as_ref().is_some_and(Result::is_err) {
                this.body = None;
            }
            let Some(body) = &mut this.body else { return Poll::Ready(message) };
            if message.is_some() {
                return Poll::Ready(message);
            }
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => this.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(answer::broken_off(&error))));
                }
                None => this.body = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str, size: usize, is_text: bool) -> Vec<Result<String, String>> {
        let mut events = Events::new((), is_text);
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            events.rest = Bytes::copy_from_slice(piece);
            while let Some(message) = events.next() {
                let message = message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                found.push(message.map_err(|status| status.to_string()));
            }
        }
        found
    }

    #[test]
    fn each_event_is_a_message_wherever_the_body_is_cut() {
        let text =
            ": hello\n\ndata: 1\r\n\r\nid: 7\rdata:2\rdata: 3\r\revent: any\ndata\n\nretry: 1\n\ndata: unfinished\n";
        let found = ["1", "2\n3", ""].map(|data| Ok(data.to_owned()));
        for size in 1..=text.len() {
            assert_eq!(messages(text, size, true), found, "pieces of {size}");
        }
        assert_eq!(messages("data: AQI=\n\n", 99, false), [Ok("\u{1}\u{2}".to_owned())]);
    }

    #[test]
    fn the_last_event_says_how_it_ended() {
        let ended = messages("data: 1\n\nevent: end\ndata: \n\ndata: 2\n\n", 99, true);
        assert_eq!(ended, [Ok("1".to_owned())]);
        let failed = messages("event: error\ndata: {\"message\":\"enough\",\"status\":\"ABORTED\"}\n\n", 99, true);
        assert_eq!(failed, [Err("aborted: enough".to_owned())]);
        let unreadable = messages("data: *\n\n", 99, false).concat_errors();
        assert!(unreadable.starts_with("internal: reply: event is not base64"), "{unreadable}");
    }

    trait ConcatErrors {
        fn concat_errors(self) -> String;
    }

    impl ConcatErrors for Vec<Result<String, String>> {
        fn concat_errors(self) -> String {
            self.into_iter().filter_map(Result::err).collect()
        }
    }
}
