//! What is called, and how.

use std::time::Duration;

use clap::ValueEnum;
use dispatcher::{Encoding, ProcedureName, RequestMeta, header};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, Uri};

use crate::rpc::frames;

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// gRPC, over HTTP/2 or HTTP/3
    Grpc,
    /// A POST of plain HTTP
    Http,
}

/// One call, to be made as often as wanted.
#[derive(Debug, Clone)]
pub(crate) struct CallSpec {
    pub(crate) procedure: ProcedureName,
    pub(crate) wire: Wire,
    pub(crate) encoding: Encoding,
    /// What goes with it; the encoding and the deadline are those of the call.
    pub(crate) meta: RequestMeta,
    pub(crate) payload: Bytes,
    /// How long each call may take.
    pub(crate) deadline: Duration,
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

impl CallSpec {
    /// Returns the request to a listener at `authority`, which is called by `scheme`.
    pub(crate) fn request(&self, scheme: &str, authority: &str) -> Request<Full<Bytes>> {
        let Self { procedure, wire, encoding, meta, payload, deadline } = self;
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(format!("/{procedure}")).build();
        let body = match wire {
            Wire::Grpc => frames::framed(payload),
            Wire::Http => payload.clone(),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.expect("names of procedures and authorities are made of what a URI takes");
        let headers = request.headers_mut();
        self.say_who(headers);
        let meta = RequestMeta { encoding: Some(encoding.clone()), ..meta.clone() };
        match wire {
            Wire::Grpc => {
                meta.write(headers);
                headers.insert(TE, HeaderValue::from_static("trailers"));
                headers.insert(CONTENT_TYPE, text(&format!("application/grpc+{encoding}")));
                headers.insert(GRPC_TIMEOUT, text(&format!("{}m", deadline.as_millis())));
            }
            Wire::Http => {
                RequestMeta { ttl: Some(*deadline), ..meta }.write(headers);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
                headers.insert(HOST, text(authority));
            }
        }
        request
    }

    fn say_who(&self, headers: &mut HeaderMap) {
        headers.insert(header::SERVICE, text(self.procedure.service().as_str()));
        headers.insert(header::PROCEDURE, text(self.procedure.name()));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("omnirelay/", env!("CARGO_PKG_VERSION"))));
    }
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("names and numbers are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(wire: Wire) -> Result<CallSpec, Box<dyn std::error::Error>> {
        Ok(CallSpec {
            procedure: "greeter/hello".parse()?,
            wire,
            encoding: Encoding::JSON,
            meta: RequestMeta { shard_key: Some("orders/7".parse()?), ..RequestMeta::default() },
            payload: Bytes::from_static(b"{}"),
            deadline: Duration::from_millis(1500),
        })
    }

    #[track_caller]
    fn check(request: &Request<Full<Bytes>>, expected: &[(&str, Option<&str>)]) {
        for (name, wanted) in expected {
            let found = request.headers().get(*name).and_then(|value| value.to_str().ok());
            assert_eq!(found, *wanted, "{name}");
        }
    }

    #[test]
    fn the_same_call_goes_over_grpc_and_over_http() -> Result<(), Box<dyn std::error::Error>> {
        let both = [
            ("rpc-service", Some("greeter")),
            ("rpc-procedure", Some("hello")),
            ("rpc-encoding", Some("json")),
            ("rpc-shard-key", Some("orders/7")),
        ];
        let grpc = spec(Wire::Grpc)?.request("https", "node-a:7");
        assert_eq!(
            (grpc.method(), grpc.uri().to_string()),
            (&Method::POST, "https://node-a:7/greeter/hello".to_owned())
        );
        check(&grpc, &both);
        let ours = [
            ("content-type", Some("application/grpc+json")),
            ("grpc-timeout", Some("1500m")),
            ("te", Some("trailers")),
        ];
        check(&grpc, &ours);
        let http = spec(Wire::Http)?.request("http", "127.0.0.1:7");
        assert_eq!(http.uri().to_string(), "http://127.0.0.1:7/greeter/hello");
        check(&http, &both);
        let plain = [("content-type", Some("application/json")), ("rpc-ttl-ms", Some("1500")), ("grpc-timeout", None)];
        check(&http, &plain);
        Ok(())
    }
}
