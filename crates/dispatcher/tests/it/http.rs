//! Calls over plain HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Code, Dispatcher, Front, Json, Procedure, Readiness, Request, Response, Status};
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fixture::{BoxError, Outcome, forwarding};

/// Numbers, over JSON.
pub(crate) fn numbers() -> Result<Front, BoxError> {
    Ok(Front::builder(procedures()?).build())
}

fn procedures() -> Result<Dispatcher, BoxError> {
    let double = |request: Request<u32>| async move {
        let mut response = Response::new(2 * request.message);
        response.meta.headers = request.meta.headers;
        Ok(response)
    };
    let note = |request: Request<u32>| async move {
        if request.message > 0 {
            return Ok(());
        }
        let mut status = Status::new(Code::OutOfRange, "0 is nothing; naïve")
            .with_error_code(&"numbers.zero".parse().expect("a value"));
        status.metadata_mut().insert("x-least", http::HeaderValue::from_static("1"));
        Err(status)
    };
    let count = |request: Request<u32>| async move { Ok(Response::new(stream::iter((0..request.message).map(Ok)))) };
    let wait = |_: Request<()>| std::future::pending::<Result<Response<()>, Status>>();
    Ok(Dispatcher::builder()
        .procedure(Procedure::unary("numbers/double".parse()?, Json, double))
        .procedure(Procedure::oneway("numbers/note".parse()?, Json, note))
        .procedure(Procedure::server_stream("numbers/count".parse()?, Json, count))
        .procedure(Procedure::unary("numbers/wait".parse()?, Json, wait))
        .build()?)
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

pub(crate) async fn ask(
    front: &Front,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Result<Answer, BoxError> {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = front.clone().oneshot(request.body(Full::from(body))?).await;
    let (head, answer) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: answer.collect().await?.to_bytes() })
}

pub(crate) async fn check_answers(front: &Front) -> Outcome {
    let json = [("content-type", "application/json"), ("x-tenant", "7")];
    let doubled = ask(front, Method::POST, "/numbers/double", &json, "21").await?;
    assert_eq!((doubled.status, &doubled.body[..]), (StatusCode::OK, &b"42"[..]));
    let names = ["content-type", "rpc-encoding", "rpc-status", "rpc-transport", "x-tenant"];
    let told = names.map(|name| doubled.header(name));
    assert_eq!(told, [Some("application/json"), Some("json"), Some("ok"), Some("http"), Some("7")]);

    let noted = ask(front, Method::POST, "/", &[("rpc-service", "numbers"), ("rpc-procedure", "note")], "1").await?;
    assert_eq!(
        (noted.status, &noted.body[..], noted.header("rpc-status")),
        (StatusCode::ACCEPTED, &b""[..], Some("ok"))
    );

    for (method, path) in [(Method::POST, "/numbers/count"), (Method::POST, "/numbers/count?x=1")] {
        let counted =
            ask(front, method, path, &[("accept", "text/html, text/event-stream"), ("rpc-encoding", "json")], "3")
                .await?;
        let events = "data: 0\n\ndata: 1\n\ndata: 2\n\nevent: end\ndata: \n\n";
        assert_eq!((counted.status, &counted.body[..]), (StatusCode::OK, events.as_bytes()));
        assert_eq!(counted.header("content-type"), Some("text/event-stream"));
    }
    Ok(())
}

#[tokio::test]
async fn procedures_are_called_by_post_and_streams_come_as_events() -> Outcome {
    check_answers(&numbers()?).await
}

#[tokio::test]
async fn what_others_serve_is_called_over_http_just_the_same() -> Outcome {
    check_answers(&forwarding(numbers()?, "numbers")).await
}

pub(crate) async fn check_failure(front: &Front) -> Outcome {
    let refused = ask(front, Method::POST, "/numbers/note", &[], "0").await?;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let expected = json!({
        "message": "0 is nothing; naïve", "status": "OUT_OF_RANGE", "code": "numbers.zero", "metadata": { "x-least": "1" }
    });
    assert_eq!(serde_json::from_slice::<Value>(&refused.body)?, expected);
    let told = ["rpc-status", "rpc-error-code", "rpc-error-message", "x-least"].map(|name| refused.header(name));
    assert_eq!(told, [Some("out-of-range"), Some("numbers.zero"), Some("0%20is%20nothing;%20na%C3%AFve"), Some("1")]);
    Ok(())
}

#[tokio::test]
async fn a_failure_is_told_as_status_headers_and_json() -> Outcome {
    check_failure(&numbers()?).await?;
    check_failure(&forwarding(numbers()?, "numbers")).await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_our_headers_holds_here_and_elsewhere() -> Outcome {
    for front in [numbers()?, forwarding(numbers()?, "numbers")] {
        let late = ask(&front, Method::POST, "/numbers/wait", &[("rpc-ttl-ms", "50")], "").await?;
        assert_eq!((late.status, late.header("rpc-status")), (StatusCode::GATEWAY_TIMEOUT, Some("deadline-exceeded")));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_body_does_not_come_is_not_waited_for() -> Outcome {
    let (sent, unsent) = (Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"2"))), stream::pending());
    let body = http_body_util::StreamBody::new(stream::iter([sent]).chain(unsent));
    let began = tokio::time::Instant::now();
    let Ok(response) = numbers()?.oneshot(http::Request::post("/numbers/double").body(body)?).await;
    assert_eq!((response.status(), began.elapsed()), (StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(30)));
    Ok(())
}

#[tokio::test]
async fn of_a_body_that_is_too_large_the_rest_is_taken_up_to_a_bound() -> Outcome {
    const PIECE: Bytes = Bytes::from_static(&[b'1'; 1 << 20]);
    let (own, elsewhere) = (numbers()?, forwarding(numbers()?, "numbers"));
    for (front, pieces, taken) in [(&own, 10, 10), (&own, 1_000, 69), (&elsewhere, 10, 10)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let body = stream::iter(0..pieces).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(http_body::Frame::data(PIECE))
        });
        let request = http::Request::post("/numbers/double").body(http_body_util::StreamBody::new(body))?;
        let Ok(response) = front.clone().oneshot(request).await;
        assert_eq!((response.status(), sent.load(Ordering::Relaxed)), (StatusCode::TOO_MANY_REQUESTS, taken));
    }
    Ok(())
}

#[tokio::test]
async fn a_draining_node_says_when_to_come_again() -> Outcome {
    let readiness = Readiness::new("worker");
    readiness.set_draining(true);
    let front = Front::builder(procedures()?).readiness(readiness).build();
    let late = ask(&front, Method::POST, "/numbers/double", &[], "1").await?;
    assert_eq!((late.status, late.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    Ok(())
}
