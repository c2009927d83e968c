//! Clients over TCP, with certificates of the mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::client::conn::http2::handshake;
use hyper_util::rt::TokioIo;
use identity::Credentials;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::service_fn;

use crate::fixture::{BoxError, Channel};

pub(crate) async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(config).connect("mesh".try_into().map_err(std::io::Error::other)?, tcp).await
}

/// Returns tonic's own channel, which connects anew when it must.
pub(crate) async fn tonic(address: SocketAddr, credentials: &Credentials) -> Result<Channel, BoxError> {
    let config = credentials.client_config(&[b"h2"]);
    let connector = service_fn(move |_uri| {
        let config = Arc::clone(&config);
        async move { connect(address, config).await.map(TokioIo::new) }
    });
    // The encryption is the connector's: of that, tonic wants to know nothing.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.origin(format!("https://{address}").parse()?);
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(Channel::new(tower::util::MapErr::new(channel, |error| Status::from_error(Box::new(error)))))
}

/// Returns one connection of HTTP/2, which ends with its last user.
pub(crate) async fn http2(address: SocketAddr, credentials: &Credentials) -> Result<Channel, BoxError> {
    let tls = connect(address, credentials.client_config(&[b"h2"])).await?;
    let (requests, connection) = handshake::<_, _, Body>(Streams, TokioIo::new(tls)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let driver = Arc::new(driver);
    Ok(Channel::new(service_fn(move |request| {
        let (mut requests, driver) = (requests.clone(), Arc::clone(&driver));
        async move {
            let failed = |error| Status::from_error(Box::new(error));
            requests.ready().await.map_err(failed)?;
            let response = requests.send_request(request).await.map_err(failed)?;
            drop(driver);
            Ok(response.map(Body::new))
        }
    })))
}

/// Runs what hyper needs run for a request's body.
#[derive(Debug, Clone, Copy)]
struct Streams;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    #[expect(clippy::disallowed_methods, reason = "it ends with the connection, which the test ends")]
    fn execute(&self, body: F) {
        drop(tokio::spawn(body));
    }
}
