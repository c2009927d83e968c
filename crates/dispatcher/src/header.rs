//! Names of headers, the same as gRPC metadata and in plain HTTP.

pub use grpc_client_factory::NOT_PROCESSED;
use http::HeaderName;

/// Service that is called.
pub const SERVICE: HeaderName = HeaderName::from_static("rpc-service");
/// Procedure that is called.
pub const PROCEDURE: HeaderName = HeaderName::from_static("rpc-procedure");
/// Who calls, by its own word: for logs and metrics, never for permissions.
pub const CALLER: HeaderName = HeaderName::from_static("rpc-caller");
/// How the messages are encoded.
pub const ENCODING: HeaderName = HeaderName::from_static("rpc-encoding");
/// Shard that the call is about, `namespace/shard`.
pub const SHARD_KEY: HeaderName = HeaderName::from_static("rpc-shard-key");
/// Key by which calls that belong together find the same peer.
pub const ROUTING_KEY: HeaderName = HeaderName::from_static("rpc-routing-key");
/// Service or node by which the call goes instead.
pub const ROUTING_DELEGATE: HeaderName = HeaderName::from_static("rpc-routing-delegate");
/// How long the caller waits, in milliseconds.
pub const TTL_MS: HeaderName = HeaderName::from_static("rpc-ttl-ms");
/// Until when the caller waits, as RFC 3339 has it.
pub const DEADLINE: HeaderName = HeaderName::from_static("rpc-deadline");
/// What has carried the call: `grpc` or `http`.
pub const TRANSPORT: HeaderName = HeaderName::from_static("rpc-transport");
/// Shape of the procedure, where an answer has to say it.
pub const SHAPE: HeaderName = HeaderName::from_static("rpc-shape");
/// How a call over HTTP ended, in a word.
pub const STATUS: HeaderName = HeaderName::from_static("rpc-status");
/// The application's own word for what went wrong, over HTTP.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("rpc-error-code");
/// What went wrong, over HTTP; percent-encoded as `grpc-message` is.
pub const ERROR_MESSAGE: HeaderName = HeaderName::from_static("rpc-error-message");

/// How a call over gRPC ended, in a word; a trailer.
pub const GRPC_STATUS_WORD: HeaderName = HeaderName::from_static("omnirelay-status");
/// The application's own word for what went wrong, over gRPC; a trailer.
pub const GRPC_ERROR_CODE: HeaderName = HeaderName::from_static("omnirelay-error-code");
/// What went wrong, over gRPC, as `grpc-message` has it; a trailer.
pub const GRPC_ERROR_MESSAGE: HeaderName = HeaderName::from_static("omnirelay-error-message");
/// How the messages are encoded; a trailer.
pub const GRPC_ENCODING: HeaderName = HeaderName::from_static("omnirelay-encoding");
/// What has carried the call; a trailer.
pub const GRPC_TRANSPORT: HeaderName = HeaderName::from_static("omnirelay-transport");

/// How many nodes of the mesh have sent the call on.
pub const HOPS: HeaderName = HeaderName::from_static("rpc-hops");
/// `true` if the call may be executed more than once without harm: then it is made again when a node fails in the middle of it.
pub const IDEMPOTENT: HeaderName = HeaderName::from_static("rpc-idempotent");

/// Those of the protocols that carry a call: they end where the connection does.
const OF_THE_WIRE: [&str; 22] = [
    "accept",
    "accept-encoding",
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
];

/// Returns whether `name` is free for applications: not of the protocols, and none of those above.
pub(crate) fn is_free(name: &HeaderName) -> bool {
    let name = name.as_str();
    let reserved = ["rpc-", "grpc-", "omnirelay-", "sec-websocket-"];
    !reserved.iter().any(|prefix| name.starts_with(prefix)) && OF_THE_WIRE.binary_search(&name).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_wire_and_ours_are_not_free() {
        assert!(OF_THE_WIRE.is_sorted());
        for (name, free) in [
            ("x-tenant", true),
            ("trace-bin", true),
            ("authorization", true),
            ("te", false),
            ("vary", false),
            ("grpc-timeout", false),
            ("rpc-anything", false),
            ("omnirelay-status", false),
        ] {
            assert_eq!(is_free(&HeaderName::from_static(name)), free, "{name}");
        }
    }
}
