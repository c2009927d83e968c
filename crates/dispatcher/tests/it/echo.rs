//! The echo service of `test_rpc`, as procedures of a dispatcher.

use dispatcher::{
    Code, Dispatcher, DispatcherBuilder, Incoming, Procedure, ProcedureName, Protobuf, Request, Response, Status,
};
use futures_util::{Stream, StreamExt as _, stream};
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};

const SERVICE: &str = "omnirelay.test.v1.Echo";

fn name(procedure: &str) -> ProcedureName {
    format!("{SERVICE}/{procedure}").parse().expect("a name")
}

/// Returns a dispatcher in the making that has the four procedures.
pub(crate) fn procedures() -> DispatcherBuilder {
    Dispatcher::builder()
        .procedure(Procedure::unary(name("Unary"), Protobuf, unary))
        .procedure(Procedure::server_stream(name("ServerStream"), Protobuf, server_stream))
        .procedure(Procedure::client_stream(name("ClientStream"), Protobuf, client_stream))
        .procedure(Procedure::duplex(name("Chat"), Protobuf, chat))
}

async fn unary(request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
    let mut response = Response::new(answer(request.message, 0).await?);
    response.meta.headers = request.meta.headers;
    Ok(response)
}

async fn server_stream(
    request: Request<StreamRequest>,
) -> Result<Response<impl Stream<Item = Result<EchoReply, Status>>>, Status> {
    let StreamRequest { each, count, failure } = request.message;
    let each = each.unwrap_or_default();
    let replies = stream::iter(0..count).then(move |index| answer(each.clone(), index));
    let end = stream::iter(failure.map(|failure| Err(status(&failure))));
    Ok(Response::new(replies.chain(end)))
}

async fn client_stream(mut request: Request<Incoming<EchoRequest>>) -> Result<Response<Summary>, Status> {
    let mut sum = Summary::default();
    while let Some(next) = request.message.message().await? {
        sum.messages += 1;
        sum.bytes += next.payload.len() as u64;
    }
    Ok(Response::new(sum))
}

async fn chat(
    request: Request<Incoming<EchoRequest>>,
) -> Result<Response<impl Stream<Item = Result<EchoReply, Status>>>, Status> {
    let replies = request.message.enumerate().then(|(index, next)| async move { answer(next?, index as u64).await });
    Ok(Response::new(replies))
}

#[expect(clippy::panic, reason = "that is what was asked for")]
async fn answer(request: EchoRequest, index: u64) -> Result<EchoReply, Status> {
    let EchoRequest { payload, held, failure, .. } = request;
    if held {
        std::future::pending::<()>().await;
    }
    match failure {
        Some(Failure { panic: true, message, .. }) => panic!("{message}"),
        Some(failure) => Err(status(&failure)),
        None => Ok(EchoReply { payload, index }),
    }
}

fn status(failure: &Failure) -> Status {
    Status::new(Code::from(failure.code), &*failure.message).with_details(failure.details.clone())
}
