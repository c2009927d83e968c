//! Plain HTTP over the connections of channels.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use grpc_client_factory::{FactoryError, Http3Mode, Profile, Target};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use identity::ExpectedPeer;
use mesh_server::{CancellationToken, Options, Server};
use test_authority::Authority;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service as _;

use crate::support::{CLIENT, Outcome, SERVER, channel, credentials, factory};

async fn text<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) -> Result<String, B::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame?.into_data().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Answers that it is not available, and what it was asked.
async fn busy(request: Request<mesh_server::Body>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let said = text(body).await.unwrap_or_default();
    let mut response = Response::new(Body::new(format!("{} {} {said}", head.method, head.uri.path())));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Ok(response)
}

#[tokio::test]
async fn a_request_of_plain_http_is_sent_once_and_answered_as_the_server_answers() -> Outcome {
    let authority = Authority::new()?;
    let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
    let server = Server::bind(options, credentials(&authority, SERVER))?;
    let target = Target::new(server.local_addr().into(), ExpectedPeer::Node(SERVER.parse()?));
    let (asked, mut running) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        busy(request)
    });
    running.spawn(server.run(service, CancellationToken::new()));
    for (calls, mode) in [(1, Http3Mode::Only), (2, Http3Mode::Off)] {
        let mut profile = Profile::control_plane();
        (profile.http3.mode, profile.max_send_bytes, profile.max_receive_bytes) = (mode, 7, 18);
        let factory = factory(credentials(&authority, CLIENT), profile);
        let post = |said: &'static str| {
            let request = Request::post("/a/path").header(CONTENT_TYPE, "application/json");
            let mut channel = channel(&factory, &target);
            async move { channel.call(request.body(Body::new(said.to_owned())).expect("a request")).await }
        };
        let response = post("{\"a\":1").await?;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let too_long = text(response.into_body()).await.expect_err("19 bytes");
        assert!(matches!(FactoryError::of(&too_long), Some(FactoryError::TooLarge { bytes: 19, limit: 18, .. })));
        let unsent = post("{\"a\":1}}").await.expect_err("8 bytes");
        assert!(matches!(FactoryError::of(&unsent), Some(FactoryError::TooLarge { bytes: 8, limit: 7, .. })));
        assert_eq!(text(post("{a:1}").await?.into_body()).await?, "POST /a/path {a:1}");
        assert_eq!(asked.load(Ordering::SeqCst), 2 * calls);
    }
    Ok(())
}
