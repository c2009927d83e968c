//! Calls that are wrong, and what their callers are told.

use bytes::Bytes;
use dispatcher::{Code, Front, FrontOptions};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use crate::echo;
use crate::fixture::{BoxError, Outcome};
use crate::grpc::status_of;

const ECHO: &str = "omnirelay.test.v1.Echo";
const UNARY: &str = "/omnirelay.test.v1.Echo/Unary";
const EMPTY: &[u8] = b"\0\0\0\0\0";

/// Headers, path and body; code and message of the answer. A message may have 8 bytes.
type Case = (&'static [(&'static str, &'static str)], &'static str, &'static [u8], Code, &'static str);

const GRPC: &[Case] = &[
    (&[], UNARY, EMPTY, Code::Ok, ""),
    (&[], "/a.B/C", EMPTY, Code::NotFound, "service `a.B` is not known here or in the mesh"),
    (
        &[],
        "/omnirelay.test.v1.Echo/Gone",
        EMPTY,
        Code::Unimplemented,
        "service `omnirelay.test.v1.Echo` has no procedure `Gone`",
    ),
    (&[("rpc-service", ECHO)], "/Unary", EMPTY, Code::Ok, ""),
    (&[("rpc-service", ECHO), ("rpc-procedure", "Unary")], "/any/thing", EMPTY, Code::Ok, ""),
    (
        &[("rpc-service", "ä")],
        UNARY,
        EMPTY,
        Code::InvalidArgument,
        "header `rpc-service`: failed to convert header to a str",
    ),
    (&[], UNARY, b"", Code::InvalidArgument, "there is no message where there is to be one"),
    (
        &[],
        UNARY,
        b"\0\0\0\0\x09",
        Code::ResourceExhausted,
        "request: message of 9 bytes is larger than 8, the most that is taken",
    ),
    (
        &[],
        UNARY,
        b"\x07\0\0\0\0",
        Code::InvalidArgument,
        "request: compression flag of a message is 7, neither 0 nor 1",
    ),
    (&[], UNARY, b"\0\0\0\0\x02a", Code::InvalidArgument, "request: body ends 1 bytes before a message does"),
    (&[], UNARY, b"\0\0\0", Code::InvalidArgument, "request: body ends 2 bytes before a message does"),
    (
        &[],
        UNARY,
        b"\x01\0\0\0\0",
        Code::Internal,
        "request: message is flagged as compressed, but no `grpc-encoding` says how",
    ),
    (
        &[("grpc-encoding", "gzip")],
        UNARY,
        b"\x01\0\0\0\x01x",
        Code::InvalidArgument,
        "request: message is not gzip as it says",
    ),
    (
        &[("grpc-encoding", "br")],
        UNARY,
        EMPTY,
        Code::Unimplemented,
        "messages compressed as \"br\" are not understood; identity and gzip are",
    ),
    (&[("grpc-timeout", "soon")], UNARY, EMPTY, Code::Internal, "the call has a grpc-timeout that is none"),
    (&[("grpc-timeout", "0n")], UNARY, EMPTY, Code::DeadlineExceeded, "the deadline had passed when the call came"),
    (
        &[("rpc-deadline", "2001-01-01T00:00:00Z")],
        UNARY,
        EMPTY,
        Code::DeadlineExceeded,
        "the deadline had passed when the call came",
    ),
    (
        &[("rpc-ttl-ms", "1 s")],
        UNARY,
        EMPTY,
        Code::InvalidArgument,
        "header `rpc-ttl-ms` is `1 s`, not a number of milliseconds",
    ),
    (&[("rpc-caller", "")], UNARY, EMPTY, Code::InvalidArgument, "header `rpc-caller`: value is empty"),
    (
        &[("rpc-encoding", "json")],
        UNARY,
        EMPTY,
        Code::InvalidArgument,
        "procedure omnirelay.test.v1.Echo/Unary takes messages encoded as protobuf, not as json",
    ),
];

/// Returns how a call without any client ends: its code and message, from headers or trailers.
pub(crate) async fn raw(
    front: &Front,
    headers: &[(&str, &str)],
    path: &str,
    body: &[u8],
) -> Result<(Code, String), BoxError> {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Ok(response) = front.clone().oneshot(request.body(Full::new(Bytes::copy_from_slice(body)))?).await;
    let (head, answer) = response.into_parts();
    let trailers = answer.collect().await?.trailers().cloned();
    let status = status_of(&head.headers).or_else(|| status_of(&trailers?)).ok_or("no status")?;
    Ok((status.code(), status.message().to_owned()))
}

#[tokio::test]
async fn what_is_wrong_with_a_call_over_grpc_is_told() -> Outcome {
    let front = Front::builder(echo::procedures().build()?).options(options()).build();
    for (headers, path, body, code, message) in GRPC {
        let ended = raw(&front, headers, path, body).await?;
        assert_eq!(ended, (*code, (*message).to_owned()), "{path} {headers:?}");
    }
    Ok(())
}

fn options() -> FrontOptions {
    FrontOptions { message_bytes_max: 8, ..FrontOptions::default() }
}

/// Method, headers, path and body; status and message of the answer.
type HttpCase = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str, u16, &'static str);

const HTTP: &[HttpCase] = &[
    ("POST", &[], UNARY, "", 200, ""),
    ("POST", &[], "/a.B/C", "", 404, "service `a.B` is not known here or in the mesh"),
    ("POST", &[], "/omnirelay.test.v1.Echo/Gone", "", 501, "service `omnirelay.test.v1.Echo` has no procedure `Gone`"),
    (
        "POST",
        &[],
        "/",
        "",
        400,
        "the call names no service: neither by header `rpc-service`, nor by host, nor by its path `/`, which is not /service/procedure",
    ),
    (
        "POST",
        &[("rpc-service", ECHO)],
        "/",
        "",
        400,
        "the call names no procedure: neither by header `rpc-procedure` nor by a path /service/procedure",
    ),
    ("POST", &[], UNARY, "123456789", 429, "request: body is larger than 8 bytes, the most that is taken"),
    (
        "POST",
        &[],
        UNARY,
        "\u{7f}",
        400,
        "request: message is not valid protobuf: failed to decode Protobuf message: invalid wire type value: 7",
    ),
    (
        "POST",
        &[("content-type", "application/json")],
        UNARY,
        "",
        400,
        "procedure omnirelay.test.v1.Echo/Unary takes messages encoded as protobuf, not as json",
    ),
    (
        "POST",
        &[("content-encoding", "gzip")],
        UNARY,
        "",
        501,
        "body is compressed as \"gzip\"; over plain HTTP none is taken that is",
    ),
    ("POST", &[("rpc-deadline", "2001-01-01T00:00:00Z")], UNARY, "", 504, "the deadline had passed when the call came"),
    (
        "POST",
        &[("rpc-deadline", "soon")],
        UNARY,
        "",
        400,
        "header `rpc-deadline` is `soon`, not a time like 2025-11-19T15:23:04Z",
    ),
    (
        "POST",
        &[("accept", "text/event-stream")],
        UNARY,
        "",
        400,
        "procedure `omnirelay.test.v1.Echo/Unary` is unary: call it by POST",
    ),
    (
        "POST",
        &[],
        "/omnirelay.test.v1.Echo/ServerStream",
        "",
        400,
        "procedure `omnirelay.test.v1.Echo/ServerStream` is server-stream: call it with `Accept: text/event-stream`",
    ),
    (
        "POST",
        &[],
        "/omnirelay.test.v1.Echo/Chat",
        "",
        400,
        "procedure `omnirelay.test.v1.Echo/Chat` is duplex: call it as a WebSocket",
    ),
    (
        "POST",
        &[],
        "/omnirelay.test.v1.Echo/ClientStream",
        "",
        400,
        "procedure `omnirelay.test.v1.Echo/ClientStream` is client-stream: call it over gRPC",
    ),
    (
        "GET",
        &[],
        UNARY,
        "",
        501,
        "procedures are called by POST, or for a stream by `Accept: text/event-stream`; not by GET",
    ),
];

#[tokio::test]
async fn what_is_wrong_with_a_call_over_http_is_told() -> Outcome {
    let front = Front::builder(echo::procedures().build()?).options(options()).build();
    for (method, headers, path, body, status, message) in HTTP {
        let mut request = Request::builder().method(*method).uri(*path);
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let Ok(response) = front.clone().oneshot(request.body(Full::from(*body))?).await;
        let (head, answer) = response.into_parts();
        let answer = answer.collect().await?.to_bytes();
        let told = serde_json::from_slice::<serde_json::Value>(&answer).unwrap_or_default();
        let told = (head.status.as_u16(), told["message"].as_str().unwrap_or_default());
        assert_eq!(told, (*status, *message), "{method} {path} {headers:?}");
    }
    Ok(())
}
