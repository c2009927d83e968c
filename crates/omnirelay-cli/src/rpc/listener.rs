//! Where a listener takes calls.

use std::fmt;
use std::str::FromStr;

use dispatcher::{LocalEndpoint, ParseLocalEndpointError};
use hyper::Uri;

use crate::endpoint::{Endpoint, ParseEndpointError};

/// Where a listener takes calls: of a node, over mutual TLS, or of this machine, in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listener {
    Node(Endpoint),
    Local(LocalEndpoint),
}

/// Why a text names no listener.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseListenerError {
    #[error("name its port: `https://host:port`")]
    NoPort,
    #[error(transparent)]
    Node(#[from] ParseEndpointError),
    #[error("{0}; a node is called at `https://host:port`")]
    Local(ParseLocalEndpointError),
}

impl FromStr for Listener {
    type Err = ParseListenerError;

    fn from_str(text: &str) -> Result<Self, ParseListenerError> {
        if !text.starts_with("https://") {
            return text.parse().map(Self::Local).map_err(ParseListenerError::Local);
        }
        let endpoint = text.parse()?;
        // The port of the control endpoint, which would be meant without one, takes no calls.
        let has_port = text.parse::<Uri>().is_ok_and(|uri| uri.port().is_some());
        if has_port { Ok(Self::Node(endpoint)) } else { Err(ParseListenerError::NoPort) }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(endpoint) => endpoint.fmt(f),
            Self::Local(endpoint) => endpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_of_a_node_with_tls_or_of_this_machine_without() {
        let read = |text: &str| text.parse::<Listener>().map(|listener| listener.to_string());
        for text in ["https://node-b:17430", "https://[fd00::7]:1", "http://127.0.0.1:17422", "unix:/run/node.sock"] {
            assert_eq!(read(text), Ok(text.to_owned()));
        }
        assert_eq!(read("https://node-b"), Err(ParseListenerError::NoPort));
        assert_eq!(read("https://node-b:1/x"), Err(ParseListenerError::Node(ParseEndpointError::Form)));
        for text in ["http://10.0.0.1:1", "node-b:1", "unix:node.sock"] {
            assert!(matches!(read(text), Err(ParseListenerError::Local(_))), "{text}");
        }
    }
}
