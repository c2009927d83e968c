//! A client of HTTP/3, as small as it can be.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use futures_util::future::{Fuse, FusedFuture as _};
use futures_util::{FutureExt as _, stream};
use h3::client::{RequestStream, SendRequest};
use h3::error::{Code, StreamError};
use h3_transport::{Connection, Opener, QuicOptions, RecvStream, SendStream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use identity::Credentials;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::fixture::BoxError;

/// One connection. It lasts as long as anything that it was asked for.
#[derive(Clone)]
pub(crate) struct Http3Client {
    requests: SendRequest<Opener, Bytes>,
    pub(crate) quic: quinn::Connection,
    _driver: Arc<JoinSet<()>>,
}

type Sending = Fuse<Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>>;

/// An answer on its way, and with it the rest of the request.
struct Answering {
    receiver: RequestStream<RecvStream, Bytes>,
    sending: Sending,
    is_in_trailers: bool,
    _client: Http3Client,
}

pub(crate) async fn dial(address: SocketAddr, credentials: &Credentials) -> Result<quinn::Connection, BoxError> {
    dial_with(address, credentials.client_config(&[b"h3"])).await
}

pub(crate) async fn dial_with(
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
) -> Result<quinn::Connection, BoxError> {
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(QuicOptions::default().transport_config()));
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint.connect(address, "mesh")?.await?)
}

impl Http3Client {
    pub(crate) async fn connect(address: SocketAddr, credentials: &Credentials) -> Result<Self, BoxError> {
        let quic = dial(address, credentials).await?;
        let mut builder = h3::client::builder();
        let (mut driver, requests) = builder.send_grease(false).build(Connection::client(quic.clone())).await?;
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(driver.wait_idle().await) });
        Ok(Self { requests, quic, _driver: Arc::new(driving) })
    }

    async fn ask(mut self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let stream = self.requests.send_request(Request::from_parts(head, ())).await.map_err(failed)?;
        let (sender, mut receiver) = stream.split();
        let mut sending = send(sender, body).boxed().fuse();
        let response = loop {
            tokio::select! {
                response = receiver.recv_response() => break response.map_err(failed)?,
                // If the server wants no more of the request, its answer says why.
                _ = &mut sending, if !sending.is_terminated() => {}
            }
        };
        let answering = Answering { receiver, sending, is_in_trailers: false, _client: self };
        let frames = stream::unfold(Some(answering), |answering| async move {
            let mut answering = answering?;
            let frame = answering.next().await?;
            let rest = frame.is_ok().then_some(answering);
            Some((frame, rest))
        });
        Ok(response.map(|()| Body::new(StreamBody::new(Box::pin(frames)))))
    }
}

impl Answering {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        while !self.is_in_trailers {
            let data = tokio::select! {
                data = self.receiver.recv_data() => data,
                _ = &mut self.sending, if !self.sending.is_terminated() => continue,
            };
            match data {
                Ok(Some(mut data)) => return Some(Ok(Frame::data(data.copy_to_bytes(data.remaining())))),
                Ok(None) => self.is_in_trailers = true,
                Err(error) => return Some(Err(failed(error))),
            }
        }
        let trailers = self.receiver.recv_trailers().await.map_err(failed).transpose()?;
        Some(trailers.map(Frame::trailers))
    }
}

async fn send(mut sender: RequestStream<SendStream, Bytes>, mut body: Body) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            sender.send_data(data).await?;
        }
    }
    Ok(sender.finish().await?)
}

/// gRFC G2 has the table.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
fn failed(error: StreamError) -> Status {
    match &error {
        StreamError::RemoteTerminate { code, .. } if *code == Code::H3_REQUEST_CANCELLED => {
            Status::cancelled(error.to_string())
        }
        StreamError::RemoteTerminate { code, .. } if *code != Code::H3_REQUEST_REJECTED => {
            Status::internal(error.to_string())
        }
        _ => Status::unavailable(error.to_string()),
    }
}

impl Service<Request<Body>> for Http3Client {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().ask(request))
    }
}
