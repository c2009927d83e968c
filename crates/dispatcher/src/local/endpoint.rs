//! Where a service of this node listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a service of this node listens: on a port of loopback, or on a socket in the file system. What is said there is not encrypted,
/// so it is nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalEndpoint {
    /// A TCP port; the address is of loopback.
    Tcp(SocketAddr),
    /// A Unix socket; the path is absolute.
    Unix(PathBuf),
}

/// Why a text names no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint `{text}` {problem}")]
pub struct ParseLocalEndpointError {
    text: String,
    problem: &'static str,
}

impl ParseLocalEndpointError {
    pub(super) fn new(text: &str, problem: &'static str) -> Self {
        Self { text: text.to_owned(), problem }
    }

    pub(super) const fn problem(&self) -> &'static str {
        self.problem
    }
}

impl FromStr for LocalEndpoint {
    type Err = ParseLocalEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem| ParseLocalEndpointError::new(text, problem);
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(wrong("has no absolute path after `unix:`"))
            };
        }
        let Some(address) = text.strip_prefix("http://") else {
            return Err(wrong("is neither `http://127.0.0.1:port` nor `unix:/path`"));
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        let address = match address.strip_prefix("localhost:") {
            Some(port) => port.parse().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).or(Err(())),
            None => address.parse().or(Err(())),
        };
        match address {
            Ok(address) if !address.ip().is_loopback() => {
                Err(wrong("is not on loopback: what is said there would go over the network without encryption"))
            }
            Ok(address) if address.port() == 0 => Err(wrong("has port 0")),
            Ok(address) => Ok(Self::Tcp(address)),
            Err(()) => Err(wrong("has no IP address and port after `http://`")),
        }
    }
}

impl fmt::Display for LocalEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_listens_on_loopback_or_on_a_unix_socket_and_nowhere_else() {
        let read = |text: &str| text.parse::<LocalEndpoint>().map(|it| it.to_string()).map_err(|error| error.problem);
        assert_eq!(read("http://127.0.0.1:8080"), Ok("http://127.0.0.1:8080".to_owned()));
        assert_eq!(read("http://localhost:8080/"), Ok("http://127.0.0.1:8080".to_owned()));
        assert_eq!(read("http://[::1]:8080"), Ok("http://[::1]:8080".to_owned()));
        assert_eq!(read("unix:/run/orders.sock"), Ok("unix:/run/orders.sock".to_owned()));
        let elsewhere = "is not on loopback: what is said there would go over the network without encryption";
        assert_eq!(read("http://10.0.0.1:8080"), Err(elsewhere));
        assert_eq!(read("http://0.0.0.0:8080"), Err(elsewhere));
        assert_eq!(read("http://127.0.0.1:0"), Err("has port 0"));
        assert_eq!(read("http://127.0.0.1"), Err("has no IP address and port after `http://`"));
        assert_eq!(read("https://127.0.0.1:1"), Err("is neither `http://127.0.0.1:port` nor `unix:/path`"));
        assert_eq!(read("unix:orders.sock"), Err("has no absolute path after `unix:`"));
    }
}
