//! Procedures of all shapes, codecs and middleware.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dispatcher::{
    Call, Code, Dispatcher, Encoding, Handler, Incoming, Json, Messages, Procedure, ProcedureName, Protobuf, Raw,
    RegisterError, Request, Response, Shape, Status,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tower::layer::layer_fn;
use tower::{ServiceExt as _, service_fn};

type BoxError = Box<dyn std::error::Error>;
type Outcome = Result<(), BoxError>;

fn name(text: &str) -> ProcedureName {
    text.parse().expect("a name")
}

/// One procedure of each shape, over JSON.
fn shapes() -> Result<Dispatcher, RegisterError> {
    let double = |request: Request<u32>| async move { Ok(Response::new(2 * request.message)) };
    let note = |request: Request<u32>| async move {
        if request.message == 0 { Err(Status::new(Code::OutOfRange, "0 is nothing to note")) } else { Ok(()) }
    };
    let count = |request: Request<u32>| async move { Ok(Response::new(stream::iter(0..request.message).map(Ok))) };
    let sum = |mut request: Request<Incoming<u32>>| async move {
        let mut sum = 0;
        while let Some(next) = request.message.message().await? {
            sum += next;
        }
        Ok(Response::new(sum))
    };
    let echo = |request: Request<Incoming<u32>>| async move { Ok(Response::new(request.message)) };
    Dispatcher::builder()
        .procedure(Procedure::unary(name("numbers/double"), Json, double))
        .procedure(Procedure::oneway(name("numbers/note"), Json, note))
        .procedure(Procedure::server_stream(name("numbers/count"), Json, count))
        .procedure(Procedure::client_stream(name("numbers/sum"), Json, sum))
        .procedure(Procedure::duplex(name("numbers/echo"), Json, echo))
        .build()
}

async fn ask(dispatcher: &Dispatcher, call: Call) -> Result<Vec<String>, (Code, String)> {
    let failure = |status: Status| (status.code(), status.message().to_owned());
    let reply = dispatcher.dispatch(call).await.map_err(failure)?;
    let texts = reply.messages.map_ok(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    texts.try_collect().await.map_err(failure)
}

fn call(procedure: &str, shape: Shape, messages: &[&'static str]) -> Call {
    let messages = messages.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>();
    Call::new(name(procedure), shape, Messages::stream(stream::iter(messages)))
}

#[tokio::test]
async fn each_shape_takes_and_returns_as_many_messages_as_it_says() -> Outcome {
    let dispatcher = shapes()?;
    for (procedure, shape, messages, expected) in [
        ("numbers/double", Shape::Unary, &["21"][..], &["42"][..]),
        ("numbers/note", Shape::Oneway, &["1"], &[""]),
        ("numbers/count", Shape::ServerStream, &["3"], &["0", "1", "2"]),
        ("numbers/sum", Shape::ClientStream, &["1", "2", "4"], &["7"]),
        ("numbers/echo", Shape::Duplex, &["1", "2"], &["1", "2"]),
    ] {
        let texts = ask(&dispatcher, call(procedure, shape, messages)).await;
        assert_eq!(texts, Ok(expected.iter().map(|text| (*text).to_owned()).collect()), "{procedure}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_called_is_named() -> Outcome {
    let dispatcher = shapes()?;
    for (procedure, shape, messages, code, text) in [
        ("letters/double", Shape::Unary, &["1"][..], Code::NotFound, "service `letters` is not known here"),
        ("numbers/halve", Shape::Unary, &["1"], Code::Unimplemented, "service `numbers` has no procedure `halve`"),
        (
            "numbers/sum",
            Shape::Unary,
            &["1"],
            Code::InvalidArgument,
            "procedure `numbers/sum` is client-stream, not unary",
        ),
        ("numbers/double", Shape::Unary, &[], Code::InvalidArgument, "there is no message where there is to be one"),
        ("numbers/note", Shape::Oneway, &["0"], Code::OutOfRange, "0 is nothing to note"),
        (
            "numbers/double",
            Shape::Unary,
            &["two"],
            Code::InvalidArgument,
            "request: message is not valid json: expected ident at line 1 column 2",
        ),
        (
            "numbers/sum",
            Shape::ClientStream,
            &["1", "-1"],
            Code::InvalidArgument,
            "request: message is not valid json: invalid value: integer `-1`, expected u32 at line 1 column 2",
        ),
    ] {
        assert_eq!(ask(&dispatcher, call(procedure, shape, messages)).await, Err((code, text.to_owned())));
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_that_encodes_otherwise_is_told_so() -> Outcome {
    let dispatcher = shapes()?;
    let with = |encoding| {
        let mut call = call("numbers/double", Shape::Unary, &["4"]);
        call.meta.encoding = Some(encoding);
        call
    };
    assert_eq!(ask(&dispatcher, with(Encoding::JSON)).await, Ok(vec!["8".to_owned()]));
    let text = "procedure numbers/double takes messages encoded as json, not as protobuf".to_owned();
    assert_eq!(ask(&dispatcher, with(Encoding::PROTOBUF)).await, Err((Code::InvalidArgument, text)));
    Ok(())
}

#[tokio::test]
async fn protobuf_and_raw_messages_are_taken_too() -> Outcome {
    let upper = |request: Request<String>| async move { Ok(Response::new(request.message.to_uppercase())) };
    let same = |request: Request<Bytes>| async move { Ok(Response::new(request.message)) };
    let dispatcher = Dispatcher::builder()
        .procedure(Procedure::unary(name("text/upper"), Protobuf, upper))
        .procedure(Procedure::unary(name("text/same"), Raw, same))
        .build()?;
    let reply = dispatcher.dispatch(call("text/upper", Shape::Unary, &["\n\u{2}hi"])).await?;
    assert_eq!(reply.meta.encoding, Some(Encoding::PROTOBUF));
    assert_eq!(reply.messages.only().await?, "\n\u{2}HI");
    let raw = dispatcher.dispatch(call("text/same", Shape::Unary, &["\u{1}"])).await?;
    assert_eq!((raw.meta.encoding, raw.messages.only().await?), (Some(Encoding::RAW), Bytes::from_static(b"\x01")));
    Ok(())
}

#[test]
fn two_procedures_of_one_name_are_refused_whatever_their_shapes() {
    let unary =
        || Procedure::unary(name("a/b"), Raw, |request: Request<Bytes>| async { Ok(Response::new(request.message)) });
    let oneway = Procedure::oneway(name("a/b"), Raw, |_: Request<Bytes>| async { Ok(()) });
    let refused = Dispatcher::builder().procedure(unary()).procedure(oneway).build().map(drop);
    assert_eq!(refused, Err(RegisterError::Twice { name: name("a/b"), first: Shape::Unary, second: Shape::Oneway }));
}

#[tokio::test]
async fn middleware_comes_before_the_handler_global_first_and_in_order() -> Outcome {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let seen = Arc::clone(&seen);
        layer_fn(move |inner: Handler| {
            let seen = Arc::clone(&seen);
            service_fn(move |call: Call| {
                seen.lock().expect("nobody panics").push(what);
                inner.clone().oneshot(call)
            })
        })
    };
    let handler_seen = Arc::clone(&seen);
    let handler = move |_: Request<Bytes>| {
        handler_seen.lock().expect("nobody panics").push("handler");
        async { Ok(()) }
    };
    let dispatcher = Dispatcher::builder()
        .layer("first", note("first"))
        .procedure(
            Procedure::oneway(name("a/b"), Raw, handler).layer("third", note("third")).layer("fourth", note("fourth")),
        )
        .layer("second", note("second"))
        .build()?;
    dispatcher.dispatch(call("a/b", Shape::Oneway, &["x"])).await?;
    assert_eq!(*seen.lock().expect("nobody panics"), ["first", "second", "third", "fourth", "handler"]);
    assert_eq!(dispatcher.middleware(), ["first", "second"]);
    let own = dispatcher.procedures().map(|procedure| procedure.middleware().to_vec()).collect::<Vec<_>>();
    assert_eq!(own, [vec!["third", "fourth"]]);
    Ok(())
}
