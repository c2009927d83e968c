//! Middleware, each around a handler that does as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dispatcher::middleware::{
    CatchPanic, ConcurrencyLimit, ConcurrencyOptions, Deadlines, Metrics, Principal, Principals, RateLimit,
    RateOptions, Retry, Tee, TeeOptions,
};
use dispatcher::{
    Call, Code, Dispatcher, Front, Handler, Json, Messages, Procedure, Reply, Request, Response, Shape, Status,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use grpc_client_factory::RetryOptions;
use http::HeaderValue;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{Layer, ServiceExt as _, service_fn};

use crate::fixture::{BoxError, Outcome, Served, within};

const SECOND: Duration = Duration::from_secs(1);

fn call(shape: Shape) -> Call {
    Call::new("a/b".parse().expect("a name"), shape, Messages::one("x"))
}

fn unary() -> Call {
    call(Shape::Unary)
}

/// Puts `layer` around `handler`.
fn around<L>(layer: &L, handler: Handler) -> Handler
where
    L: Layer<Handler, Service: dispatcher::Answer>,
{
    use dispatcher::Answer as _;
    layer.layer(handler).boxed()
}

/// A handler that answers with a stream which ends when `released` says so.
fn held(released: watch::Receiver<bool>) -> Handler {
    Handler::new(service_fn(move |_: Call| {
        let mut released = released.clone();
        let end = async move { released.wait_for(|released| *released).await.map(drop).ok() };
        let messages = Messages::stream(end.into_stream().filter_map(|_| async { None }));
        async { Ok(Reply::new(messages)) }
    }))
}

/// A handler that ends calls as it is told, one after the other, and then well; counts them.
fn scripted(script: impl IntoIterator<Item = Status>) -> (Handler, Arc<Mutex<u32>>) {
    let (script, calls) = (Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>())), Arc::new(Mutex::new(0)));
    let count = Arc::clone(&calls);
    let handler = Handler::new(service_fn(move |call: Call| {
        let (script, count) = (Arc::clone(&script), Arc::clone(&count));
        async move {
            *count.lock().expect("nobody panics") += 1;
            let next = script.lock().expect("nobody panics").pop_front();
            match next {
                Some(status) => Err(status),
                None => Ok(Reply::new(call.messages)),
            }
        }
    }));
    (handler, calls)
}

fn count(calls: &Mutex<u32>) -> u32 {
    *calls.lock().expect("nobody panics")
}

fn code<T>(ended: Result<T, Status>) -> Code {
    ended.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(start_paused = true)]
async fn calls_get_a_deadline_and_none_beyond_the_most() {
    let never = || Handler::new(service_fn(|_: Call| std::future::pending::<Result<Reply, Status>>()));
    let layer = Deadlines { unsaid: Some(2 * SECOND), most: Some(5 * SECOND) };
    for (told, expected) in [(None, 2), (Some(1), 1), (Some(60), 5)] {
        let began = Instant::now();
        let deadline = told.map(|seconds| began + seconds * SECOND);
        let ended = around(&layer, never()).oneshot(Call { deadline, ..unary() }).await;
        assert_eq!((code(ended), began.elapsed()), (Code::DeadlineExceeded, expected * SECOND), "told {told:?}");
    }
    let (_release, released) = watch::channel(false);
    let reply = around(&layer, held(released)).oneshot(unary()).await.expect("the head comes");
    assert_eq!(code(reply.messages.try_collect::<Vec<_>>().await), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait_their_turn_and_are_refused_when_too_many_wait() -> Outcome {
    let (release, released) = watch::channel(false);
    let limit = ConcurrencyLimit::new(ConcurrencyOptions { running_max: 1, waiting_max: 1, wait_max: SECOND });
    let handler = around(&limit, held(released));
    let first = handler.clone().oneshot(unary()).await?;
    let mut second = Box::pin(handler.clone().oneshot(unary()));
    assert!(second.as_mut().now_or_never().is_none(), "it waits for the first");
    let arrived = Instant::now();
    let third = handler.clone().oneshot(unary()).await.expect_err("one waits already");
    assert_eq!(arrived.elapsed(), Duration::ZERO, "it is told at once");
    let text = "1 calls are running, the most that do at a time, and no more may wait";
    assert_eq!((third.code(), third.message()), (Code::ResourceExhausted, text));
    release.send_replace(true);
    assert_eq!(first.messages.count().await, 0);
    assert_eq!(code(second.await), Code::Ok);

    release.send_replace(false);
    let _running = handler.clone().oneshot(unary()).await?;
    let began = Instant::now();
    assert_eq!((code(handler.clone().oneshot(unary()).await), began.elapsed()), (Code::ResourceExhausted, SECOND));
    let deadline = Some(Instant::now() + SECOND / 2);
    assert_eq!(code(handler.oneshot(Call { deadline, ..unary() }).await), Code::DeadlineExceeded);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_too_fast_wait_until_they_are_due_or_are_refused() {
    let limit = RateLimit::new(RateOptions { per_second: 10, burst: 1, wait_max: SECOND / 10 });
    let handler = around(&limit, scripted([]).0);
    let began = Instant::now();
    let three = futures_util::future::join_all((0..3).map(|_| handler.clone().oneshot(unary())));
    let ended: Vec<_> = three.await.into_iter().map(code).collect();
    assert_eq!((ended, began.elapsed()), (vec![Code::Ok, Code::Ok, Code::ResourceExhausted], SECOND / 10));
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_call_and_tells_nothing() -> Outcome {
    let at_once = service_fn(|_: Call| async { panic!("a secret") });
    let later = service_fn(|_: Call| async {
        let messages = stream::iter(0..2).map(|index| if index == 0 { Ok(Bytes::new()) } else { panic!("a secret") });
        Ok::<_, Status>(Reply::new(Messages::stream(messages)))
    });
    let status = around(&CatchPanic, Handler::new(at_once)).oneshot(unary()).await.expect_err("it panics");
    assert_eq!((status.code(), status.message()), (Code::Internal, "the handler has panicked"));
    let mut messages = around(&CatchPanic, Handler::new(later)).oneshot(unary()).await?.messages;
    assert_eq!(messages.try_next().await?, Some(Bytes::new()));
    assert_eq!(code(messages.try_next().await), Code::Internal);
    assert!(messages.next().await.is_none());
    Ok(())
}

#[test]
fn calls_are_counted_by_how_they_ended() -> Outcome {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (handler, _calls) = scripted([Status::new(Code::NotFound, "gone")]);
            let handler = around(&Metrics::inbound(), handler);
            let codes = [code(handler.clone().oneshot(unary()).await), code(handler.oneshot(unary()).await)];
            assert_eq!(codes, [Code::NotFound, Code::Ok]);
            let (_release, released) = watch::channel(false);
            drop(around(&Metrics::outbound(), held(released)).oneshot(unary()).await?);
            Ok(())
        })
    })?;
    let text = recorder.handle().render();
    for line in [
        "omnirelay_rpc_requests_total{rpc_direction=\"inbound\",rpc_service=\"a\",rpc_procedure=\"b\",rpc_status=\"not-found\"} 1",
        "omnirelay_rpc_requests_total{rpc_direction=\"inbound\",rpc_service=\"a\",rpc_procedure=\"b\",rpc_status=\"ok\"} 1",
        "omnirelay_rpc_requests_total{rpc_direction=\"outbound\",rpc_service=\"a\",rpc_procedure=\"b\",rpc_status=\"cancelled\"} 1",
        "omnirelay_rpc_inflight{rpc_direction=\"outbound\",rpc_service=\"a\",rpc_procedure=\"b\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    Ok(())
}

fn unavailable() -> Status {
    Status::new(Code::Unavailable, "not now")
}

/// Makes `call` where at most three attempts are, of which the first end as `script` says; returns how it ends and after how many.
async fn tried(script: Vec<Status>, call: Call) -> (Code, u32) {
    let (handler, calls) = scripted(script);
    let retry = Retry::new(RetryOptions { max_attempts: 3, ..RetryOptions::default() });
    let ended = around(&retry, handler).oneshot(call).await;
    (code(ended), count(&calls))
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_are_made_again_as_often_as_allowed() {
    let fails = |times: usize| vec![unavailable(); times];
    assert_eq!(tried(fails(2), unary()).await, (Code::Ok, 3));
    assert_eq!(tried(fails(3), unary()).await, (Code::Unavailable, 3));
    assert_eq!(tried(vec![Status::new(Code::Internal, "broken")], unary()).await, (Code::Internal, 1), "not listed");
    assert_eq!(tried(fails(1), call(Shape::Duplex)).await, (Code::Unavailable, 1), "messages that go on are not kept");
    let soon = Call { deadline: Some(Instant::now() + Duration::from_millis(1)), ..unary() };
    assert_eq!(tried(fails(1), soon).await, (Code::Unavailable, 1), "there is no time");
    let mut harmless = unary();
    harmless.meta.is_idempotent = true;
    assert_eq!(tried(fails(3), harmless).await, (Code::Ok, 4), "idempotent calls have attempts of their own");
    let mut untouched = Status::new(Code::Aborted, "draining");
    untouched.metadata_mut().insert("omnirelay-not-processed", HeaderValue::from_static("1"));
    assert_eq!(tried(vec![untouched], unary()).await, (Code::Ok, 2), "nobody has begun");
}

#[tokio::test(start_paused = true)]
async fn retries_have_one_budget() {
    let options = RetryOptions { max_attempts: 2, budget: 4, ..RetryOptions::default() };
    let (handler, calls) = scripted(std::iter::repeat_with(unavailable).take(20));
    let handler = around(&Retry::new(options), handler);
    for _ in 0..5 {
        assert_eq!(code(handler.clone().oneshot(unary()).await), Code::Unavailable);
    }
    assert_eq!(count(&calls), 6, "five calls, and one retry before half of the budget is gone");
}

#[tokio::test]
async fn copies_go_to_the_shadow_and_what_becomes_of_them_does_not_matter() -> Outcome {
    let (told, mut seen) = tokio::sync::mpsc::channel(8);
    let shadow = Handler::new(service_fn(move |call: Call| {
        let told = told.clone();
        async move {
            told.send(call.messages.only().await?)
                .await
                .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
            Err(unavailable())
        }
    }));
    let (handler, calls) = scripted([]);
    let handler = around(&Tee::new(shadow, TeeOptions { one_in: 2, ..TeeOptions::default() }), handler);
    for _ in 0..4 {
        assert_eq!(handler.clone().oneshot(unary()).await?.messages.only().await?, "x");
    }
    let copies = [within("a copy", seen.recv()).await, within("a copy", seen.recv()).await];
    assert_eq!((copies, count(&calls)), ([Some(Bytes::from_static(b"x")), Some(Bytes::from_static(b"x"))], 4));
    assert!(seen.try_recv().is_err(), "every other call is copied");
    Ok(())
}

/// Answers with who calls.
fn who(principals: Principals) -> Result<Dispatcher, BoxError> {
    let who = |request: Request<()>| async move {
        let node = request.extensions.get::<Principal>().map(|Principal(id)| id.node().to_string());
        Ok(Response::new(node))
    };
    Ok(Dispatcher::builder()
        .procedure(Procedure::unary("a/b".parse()?, Json, who).layer("principals", principals))
        .build()?)
}

#[tokio::test]
async fn who_calls_is_known_by_certificate_only() -> Outcome {
    let nobody = |principals| async move {
        let mut call = Call { messages: Messages::one(""), ..unary() };
        call.meta.headers.insert("x-node", HeaderValue::from_static("node-a"));
        let answered = who(principals)?.dispatch(call).await;
        Ok::<_, BoxError>(match answered {
            Ok(reply) => Ok(reply.messages.only().await?),
            Err(status) => Err(status.code()),
        })
    };
    assert_eq!(nobody(Principals::known()).await?, Ok(Bytes::from_static(b"null")));
    assert_eq!(nobody(Principals::certified()).await?, Err(Code::Unauthenticated));
    for (roles, expected) in
        [("worker", Ok(Bytes::from_static(b"\"client\""))), ("operator", Err(Code::PermissionDenied))]
    {
        let front = Front::builder(who(Principals::of_roles([roles.parse()?]))?).build();
        let served = Served::start(front)?;
        let answered = served.ask(Call { messages: Messages::one("null"), ..unary() }).await?;
        assert_eq!(answered.map_err(|status| status.code()), expected);
        served.stop().await?;
    }
    Ok(())
}
