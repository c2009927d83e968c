//! Ways in.

mod events;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod target;
pub(crate) mod websocket;

use ::http::{HeaderValue, Request, Response};
use mesh_types::ServiceName;
use tonic::body::Body;

use crate::forward::Forward;
use crate::grpc::timeout;
use crate::header;
use crate::late;
use crate::meta;
use crate::status::Status;
use crate::wire::Wire;

/// Has somebody else answer a call over gRPC.
pub(crate) async fn elsewhere(
    forward: &dyn Forward,
    service: &ServiceName,
    wire: &Wire,
    mut request: Request<Body>,
) -> Response<Body> {
    if let Err(status) = prepare(service, &mut request) {
        return wire.failure(&status);
    }
    forward.forward(service, request).await
}

/// Says who is called, and how long the caller waits: what it says by our headers holds for all the way.
fn prepare(service: &ServiceName, request: &mut Request<Body>) -> Result<(), Status> {
    let headers = request.headers_mut();
    let tells_time =
        [&timeout::NAME, &header::TTL_MS, &header::DEADLINE].iter().any(|name| headers.contains_key(*name));
    if tells_time && let Some(left) = late::time_left(headers, &meta::times(headers)?)? {
        late::deadline(Some(left))?;
        headers.insert(timeout::NAME, timeout::header(left));
        headers.remove(header::TTL_MS);
        headers.remove(header::DEADLINE);
    }
    if !headers.contains_key(header::SERVICE)
        && let Ok(name) = HeaderValue::from_str(service.as_str())
    {
        headers.insert(header::SERVICE, name);
    }
    Ok(())
}
