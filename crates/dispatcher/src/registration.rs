//! Procedures with their handlers.

use std::fmt;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt as _;
use tonic::Code;
use tower::{Layer, service_fn};

use crate::call::{Call, Reply};
use crate::codec::{Codec, CodecError};
use crate::encoding::Encoding;
use crate::handler::{Answer, Handler, Middleware};
use crate::messages::Messages;
use crate::procedure::{ProcedureName, Shape};
use crate::status::Status;
use crate::typed::{Incoming, Request, Response};

/// A procedure and what answers it, to be registered with a [`Dispatcher`](crate::Dispatcher).
pub struct Procedure {
    pub(crate) name: ProcedureName,
    pub(crate) shape: Shape,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) handler: Handler,
    pub(crate) middleware: Vec<Middleware>,
}

impl Procedure {
    /// Makes a procedure of any service that answers calls, messages still encoded. `encoding` is what it understands: `None`
    /// if it looks for itself.
    #[must_use]
    pub fn service(name: ProcedureName, shape: Shape, encoding: Option<Encoding>, service: impl Answer) -> Self {
        Self { name, shape, encoding, handler: service.boxed(), middleware: Vec::new() }
    }

    /// Makes a procedure that answers one message with one.
    #[must_use]
    pub fn unary<C, Q, R, F, A>(name: ProcedureName, codec: C, answer: F) -> Self
    where
        C: Codec<Q> + Codec<R>,
        F: Fn(Request<Q>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<R>, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        Self::one_by_one(name, Shape::Unary, codec, answer, move |response| one(codec, response))
    }

    /// Makes a procedure that takes one message and answers only that it did, or why not.
    #[must_use]
    pub fn oneway<C, Q, F, A>(name: ProcedureName, codec: C, take: F) -> Self
    where
        C: Codec<Q>,
        F: Fn(Request<Q>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Status>> + Send + 'static,
        Q: Send + 'static,
    {
        Self::one_by_one(name, Shape::Oneway, codec, take, |()| {
            let mut taken = Reply::new(Messages::one(""));
            // Who translates it for plain HTTP answers 202 by that.
            taken.meta.shape = Some(Shape::Oneway);
            Ok(taken)
        })
    }

    /// Makes a procedure that answers one message with a stream of them.
    #[must_use]
    pub fn server_stream<C, Q, R, F, A, S>(name: ProcedureName, codec: C, answer: F) -> Self
    where
        C: Codec<Q> + Codec<R>,
        F: Fn(Request<Q>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<S>, Status>> + Send + 'static,
        S: Stream<Item = Result<R, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        Self::one_by_one(name, Shape::ServerStream, codec, answer, move |response| Ok(many(codec, response)))
    }

    /// Makes a procedure that answers a stream of messages with one.
    #[must_use]
    pub fn client_stream<C, Q, R, F, A>(name: ProcedureName, codec: C, answer: F) -> Self
    where
        C: Codec<Q> + Codec<R>,
        F: Fn(Request<Incoming<Q>>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<R>, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        Self::many_by_one(name, Shape::ClientStream, codec, answer, move |response| one(codec, response))
    }

    /// Makes a procedure that answers a stream of messages with a stream of them, each at its own pace.
    #[must_use]
    pub fn duplex<C, Q, R, F, A, S>(name: ProcedureName, codec: C, answer: F) -> Self
    where
        C: Codec<Q> + Codec<R>,
        F: Fn(Request<Incoming<Q>>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<S>, Status>> + Send + 'static,
        S: Stream<Item = Result<R, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        Self::many_by_one(name, Shape::Duplex, codec, answer, move |response| Ok(many(codec, response)))
    }

    /// Adds middleware for this procedure. What is added first is gone through first; `name` is what people see of it.
    #[must_use]
    pub fn layer<L>(mut self, name: &'static str, layer: L) -> Self
    where
        L: Layer<Handler, Service: Answer> + Send + Sync + 'static,
    {
        self.middleware.push(Middleware::new(name, layer));
        self
    }

    fn one_by_one<C, Q, F, A, R>(
        name: ProcedureName,
        shape: Shape,
        codec: C,
        answer: F,
        reply: impl Fn(R) -> Result<Reply, Status> + Copy + Send + Sync + 'static,
    ) -> Self
    where
        C: Codec<Q>,
        F: Fn(Request<Q>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        let answer = Arc::new(answer);
        let service = service_fn(move |call: Call| {
            let answer = Arc::clone(&answer);
            async move {
                let Call { meta, deadline, messages, extensions, .. } = understood(call, &codec.encoding())?;
                let message = codec.decode(messages.only().await?).map_err(unreadable)?;
                let response = (*answer)(Request { meta, deadline, extensions, message }).await?;
                said(reply(response), codec.encoding())
            }
        });
        Self::service(name, shape, Some(codec.encoding()), service)
    }

    fn many_by_one<C, Q, F, A, R>(
        name: ProcedureName,
        shape: Shape,
        codec: C,
        answer: F,
        reply: impl Fn(R) -> Result<Reply, Status> + Copy + Send + Sync + 'static,
    ) -> Self
    where
        C: Codec<Q>,
        F: Fn(Request<Incoming<Q>>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Status>> + Send + 'static,
        Q: Send + 'static,
        R: Send + 'static,
    {
        let answer = Arc::new(answer);
        let decode = Arc::new(move |bytes| codec.decode(bytes).map_err(unreadable));
        let service = service_fn(move |call: Call| {
            let (answer, decode) = (Arc::clone(&answer), Arc::clone(&decode));
            async move {
                let Call { meta, deadline, messages, extensions, .. } = understood(call, &codec.encoding())?;
                let message = Incoming::new(messages, decode);
                let response = (*answer)(Request { meta, deadline, extensions, message }).await?;
                said(reply(response), codec.encoding())
            }
        });
        Self::service(name, shape, Some(codec.encoding()), service)
    }
}

/// Returns the call, if its messages are encoded as its handler understands them. A caller that does not say is believed.
fn understood(call: Call, encoding: &Encoding) -> Result<Call, Status> {
    match &call.meta.encoding {
        Some(other) if other != encoding => {
            let text = format!("procedure {} takes messages encoded as {encoding}, not as {other}", call.procedure);
            Err(Status::new(Code::InvalidArgument, text))
        }
        Some(_) | None => Ok(call),
    }
}

fn said(reply: Result<Reply, Status>, encoding: Encoding) -> Result<Reply, Status> {
    let mut reply = reply?;
    reply.meta.encoding = Some(encoding);
    Ok(reply)
}

fn one<C: Codec<R>, R>(codec: C, Response { meta, message }: Response<R>) -> Result<Reply, Status> {
    let messages = Messages::one(codec.encode(&message).map_err(unwritable)?);
    Ok(Reply { meta, messages })
}

fn many<C, R, S>(codec: C, Response { meta, message }: Response<S>) -> Reply
where
    C: Codec<R>,
    S: Stream<Item = Result<R, Status>> + Send + 'static,
{
    let encoded = message.map(move |message| message.and_then(|message| codec.encode(&message).map_err(unwritable)));
    Reply { meta, messages: Messages::stream(encoded) }
}

/// What the caller is told says where its message is wrong.
fn unreadable(error: CodecError) -> Status {
    let text = format!("request: {error}: {}", error.source);
    Status::new(Code::InvalidArgument, text).with_source(Arc::new(error))
}

fn unwritable(error: CodecError) -> Status {
    Status::new(Code::Internal, format!("reply: {error}")).with_source(Arc::new(error))
}

impl fmt::Debug for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Procedure")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("encoding", &self.encoding)
            .field("middleware", &self.middleware)
            .finish_non_exhaustive()
    }
}
