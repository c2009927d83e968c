//! A host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// Longest host accepted: the limit of a DNS name, in bytes.
const MAX_HOST_BYTES: usize = 253;

/// Where something listens: `host:port`, with IPv6 addresses in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: Arc<str>,
    port: u16,
}

/// Why a text is not a valid endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint `{text}` {problem}")]
pub struct ParseEndpointError {
    text: String,
    problem: &'static str,
}

impl Endpoint {
    /// Returns the host: a DNS name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket address if the host is an IP address, `None` if it is a name to resolve.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        // Not an error: a host name is the other valid case.
        let ip = IpAddr::from_str(&self.host).ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().to_string().into(), port: addr.port() }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let wrong = |problem| ParseEndpointError { text: text.to_owned(), problem };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port; write `host:port`"))?;
        let port = match port.parse::<u16>() {
            Ok(0) => return Err(wrong("has port 0")),
            Ok(port) => port,
            Err(_reason) => return Err(wrong("has a port that is not a number from 1 to 65535")),
        };
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(inner)) if inner.parse::<Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(wrong("has no valid IPv6 address between its brackets")),
            None if host.contains(':') => {
                return Err(wrong("has an IPv6 address without brackets; write `[::1]:port`"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        if host.len() > MAX_HOST_BYTES {
            return Err(wrong("has a host longer than 253 bytes"));
        }
        if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
            return Err(wrong("has a host with a character that no DNS name or address holds"));
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_back_as_it_is_written() {
        for text in ["127.0.0.1:17421", "[::1]:17421", "seed-1.mesh.example:1"] {
            assert_eq!(text.parse::<Endpoint>().map(|e| e.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn only_an_address_is_a_socket_address() {
        let socket = |text: &str| text.parse::<Endpoint>().map(|e| e.socket_addr());
        assert_eq!(socket("[::1]:7"), Ok(Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 7)))));
        assert_eq!(socket("seed-1:7"), Ok(None));
    }

    #[test]
    fn a_wrong_endpoint_is_refused_with_what_is_wrong() {
        let long = format!("{}:1", "h".repeat(254));
        let cases = [
            ("node-a", "has no port; write `host:port`"),
            ("node-a:0", "has port 0"),
            ("node-a:65536", "has a port that is not a number from 1 to 65535"),
            (":80", "has no host"),
            ("::1:80", "has an IPv6 address without brackets; write `[::1]:port`"),
            ("[nope]:80", "has no valid IPv6 address between its brackets"),
            ("[::1:80", "has no valid IPv6 address between its brackets"),
            ("a b:80", "has a host with a character that no DNS name or address holds"),
            (long.as_str(), "has a host longer than 253 bytes"),
        ];
        for (text, problem) in cases {
            let expected = ParseEndpointError { text: text.to_owned(), problem };
            assert_eq!(text.parse::<Endpoint>(), Err(expected));
        }
    }
}
