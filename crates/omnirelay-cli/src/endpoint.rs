//! Where the control API of a node is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

/// Port that a node's control endpoint has unless configured otherwise.
const DEFAULT_PORT: u16 = 17420;

/// How the endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// TLS, with certificates on both sides.
    Https,
    /// Plain text, on loopback only.
    Http,
}

/// A control endpoint: `https://host[:port]`, or `http://` to a loopback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// A DNS name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why a text is not a control endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseEndpointError {
    #[error("write `https://host:port`, or `http://127.0.0.1:port` for a development node")]
    Form,
    #[error("plain http:// is for loopback addresses only; write `https://{authority}`")]
    NotLoopback { authority: String },
}

impl Endpoint {
    pub(crate) const DEFAULT: &str = "https://127.0.0.1:17420";

    /// Returns `host:port`, with an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        // What is wrong with a URL in detail helps less than how to write it.
        let uri = Uri::from_str(text).map_err(|_not_a_url| ParseEndpointError::Form)?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(ParseEndpointError::Form),
        };
        let authority = uri.authority().ok_or(ParseEndpointError::Form)?;
        let bare = uri.query().is_none() && uri.path() == "/" && !authority.as_str().contains('@');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if !bare || host.is_empty() || authority.as_str().ends_with(':') {
            return Err(ParseEndpointError::Form);
        }
        let endpoint = Self { scheme, host: host.to_owned(), port: uri.port_u16().unwrap_or(DEFAULT_PORT) };
        if scheme == Scheme::Http && !may_be_loopback(host) {
            return Err(ParseEndpointError::NotLoopback { authority: endpoint.authority() });
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Returns whether plain text may go to `host`. What `localhost` means is checked again when it is resolved.
fn may_be_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ParseEndpointError>) {
        let written = text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(written, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        check(Endpoint::DEFAULT, Ok("https://127.0.0.1:17420"));
        check("https://node-a.example", Ok("https://node-a.example:17420"));
        check("https://[fd00::7]:8443/", Ok("https://[fd00::7]:8443"));
        for wrong in ["127.0.0.1:17420", "ftp://a:1", "https://", "https://a/b", "https://a:1?b", "https://me@a:1", ""]
        {
            check(wrong, Err(ParseEndpointError::Form));
        }
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        check("http://127.0.0.2:80", Ok("http://127.0.0.2:80"));
        check("http://[::1]", Ok("http://[::1]:17420"));
        check("http://localhost:1", Ok("http://localhost:1"));
        for authority in ["10.0.0.1:17420", "localhost.example:17420", "[::]:17420"] {
            let refused = ParseEndpointError::NotLoopback { authority: authority.to_owned() };
            check(&format!("http://{authority}"), Err(refused));
        }
    }
}
