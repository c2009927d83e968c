//! What a request says of its way through the mesh.

use std::fmt;

use grpc_client_factory::{Affinity, Idempotent};
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use mesh_types::{NodeId, ServiceName};
use peers_core::hash_key;
use tonic::Code;
use tonic::body::Body;

use crate::header;
use crate::status::Status;

/// Most nodes that a call may come to: by the first it enters the mesh, and the last has the service. Only one that is
/// named as the delegate stands between.
const HOPS_MAX: u8 = 2;

/// Headers of HTTP/1 that are about one connection (RFC 9113 §8.2.2), and the host, which is another on the next.
const OF_THE_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HOST,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a request says of its way through the mesh.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// How many nodes have sent it on.
    hops: u8,
    /// By whom it is to go.
    pub(crate) delegate: Option<Delegate>,
    /// Whether it is to find the peer that others with its key find.
    pub(crate) has_key: bool,
}

/// By whom a call is to go. Services and nodes are named alike; which of the two it is, the mesh knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delegate {
    pub(crate) service: ServiceName,
    pub(crate) node: NodeId,
}

impl Hop {
    /// Reads what `headers` say.
    ///
    /// # Errors
    /// A header has a value that none of ours has.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let hops = match headers.get(&header::HOPS) {
            None => 0,
            Some(value) => match text(&header::HOPS, value)?.parse() {
                Ok(hops) => hops,
                Err(_not_a_number) => return Err(invalid(&header::HOPS, "it is not a number from 0 to 255")),
            },
        };
        let delegate = headers.get(&header::ROUTING_DELEGATE).map(Delegate::read).transpose()?;
        Ok(Self { hops, delegate, has_key: headers.contains_key(&header::ROUTING_KEY) })
    }

    /// Returns whether the call may go on to another node. `is_through` says that it has come by this one because it was told to.
    pub(crate) const fn may_go_on(&self, is_through: bool) -> bool {
        self.hops == 0 || is_through && self.hops < HOPS_MAX
    }

    /// Makes `request` one that goes on from `node`, and tells the client factory what it says about whom to choose.
    pub(crate) fn write(&self, node: &NodeId, request: &mut Request<Body>) {
        let is_http2 = request.version() == Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(header::HOPS, HeaderValue::from(u16::from(self.hops) + 1));
        // HTTP/2 has none of the others, and h2 refuses requests that do.
        let left_out = if is_http2 { &[HOST][..] } else { &OF_THE_CONNECTION };
        for name in left_out {
            headers.remove(name);
        }
        if self.delegate.as_ref().is_some_and(|delegate| delegate.node == *node) {
            headers.remove(header::ROUTING_DELEGATE);
        }
        let key = headers.get(&header::ROUTING_KEY).map(|key| hash_key(key.as_bytes()));
        let shard = headers.get(&header::SHARD_KEY).and_then(|shard| shard.to_str().ok()).map(Into::into);
        let is_idempotent = headers.get(&header::IDEMPOTENT).is_some_and(|value| value == "true");
        let extensions = request.extensions_mut();
        if key.is_some() || shard.is_some() {
            extensions.insert(Affinity { key, shard });
        }
        if is_idempotent {
            extensions.insert(Idempotent);
        }
    }
}

impl Delegate {
    fn read(value: &HeaderValue) -> Result<Self, Status> {
        let text = text(&header::ROUTING_DELEGATE, value)?;
        match (text.parse(), text.parse()) {
            (Ok(service), Ok(node)) => Ok(Self { service, node }),
            (Err(error), _) | (_, Err(error)) => Err(invalid(&header::ROUTING_DELEGATE, &error.to_string())),
        }
    }
}

impl fmt::Display for Delegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.as_str())
    }
}

fn text<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str, Status> {
    value.to_str().map_err(|error| invalid(name, &error.to_string()))
}

fn invalid(name: &HeaderName, problem: &str) -> Status {
    Status::new(Code::InvalidArgument, format!("header `{name}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_static(text))).collect()
    }

    #[test]
    fn a_call_goes_on_once_and_once_more_only_by_the_node_that_it_was_told_to_come_by() {
        let may = |hops: &'static str, is_through| {
            Hop::read(&headers(&[("rpc-hops", hops)])).map(|hop| hop.may_go_on(is_through)).expect("valid")
        };
        assert!(Hop::read(&HeaderMap::new()).expect("valid").may_go_on(false));
        assert_eq!([may("0", false), may("1", false), may("1", true), may("2", true)], [true, false, true, false]);
    }

    #[test]
    fn what_goes_on_says_how_far_it_has_come_and_nothing_of_the_connection_before() {
        let told = headers(&[
            ("rpc-hops", "1"),
            ("rpc-routing-delegate", "node-b"),
            ("rpc-routing-key", "tenant 7"),
            ("rpc-shard-key", "orders/7"),
            ("rpc-idempotent", "true"),
            ("host", "orders"),
            ("keep-alive", "5"),
            ("x-tenant", "7"),
        ]);
        let mut request = Request::new(Body::empty());
        *request.headers_mut() = told.clone();
        Hop::read(&told).expect("valid").write(&"node-b".parse().expect("a name"), &mut request);
        let left = headers(&[
            ("rpc-hops", "2"),
            ("rpc-routing-key", "tenant 7"),
            ("rpc-shard-key", "orders/7"),
            ("rpc-idempotent", "true"),
            ("x-tenant", "7"),
        ]);
        assert_eq!(*request.headers(), left);
        let affinity = Affinity { key: Some(hash_key(b"tenant 7")), shard: Some("orders/7".into()) };
        assert_eq!(request.extensions().get(), Some(&affinity));
        assert_eq!(request.extensions().get(), Some(&Idempotent));
    }

    #[test]
    fn a_header_that_cannot_be_read_is_named() {
        let problem = |name, text| {
            let status = Hop::read(&headers(&[(name, text)])).expect_err(name);
            (status.code(), status.message().to_owned())
        };
        let hops = "header `rpc-hops`: it is not a number from 0 to 255".to_owned();
        assert_eq!(problem("rpc-hops", "-1"), (Code::InvalidArgument, hops));
        let delegate = "header `rpc-routing-delegate`: service name is empty".to_owned();
        assert_eq!(problem("rpc-routing-delegate", ""), (Code::InvalidArgument, delegate));
    }
}
