//! Where an application beside the node listens, and what it speaks there.

use std::fmt;
use std::str::FromStr;

use http::uri::PathAndQuery;

use super::endpoint::{LocalEndpoint, ParseLocalEndpointError};

/// Begins the address of an application that speaks plain HTTP, behind the scheme.
const HTTP: &str = "http1";

/// Begins the path by which an application is asked whether it is well.
const HEALTH: &str = "?health=";

const UNKNOWN: &str = "is neither `grpc://127.0.0.1:port`, `http1://127.0.0.1:port` nor `unix:/path`";

/// Where an application beside the node listens, and what it speaks there.
///
/// As a text it is `grpc://127.0.0.1:50051` or `unix:/run/app.sock` for gRPC, and `http1://127.0.0.1:8080` or `http1+unix:/run/app.sock`
/// for plain HTTP, the latter with `?health=/path` behind it if the application has a page that says whether it is well. Alone,
/// `http://127.0.0.1:50051` is gRPC too, which goes over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalApp {
    /// Where it listens.
    pub endpoint: LocalEndpoint,
    /// What it speaks.
    pub protocol: LocalProtocol,
}

/// What an application beside the node speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalProtocol {
    /// gRPC, over HTTP/2 without TLS.
    Grpc,
    /// HTTP/1.1 without TLS: a call of one message is a POST, and what is answered is one message or a stream of events.
    Http {
        /// What is asked by GET whether the application is well; any status of 200 to 299 says so. Without it, it is well while it can be
        /// connected to.
        health: Option<PathAndQuery>,
    },
}

impl FromStr for LocalApp {
    type Err = ParseLocalEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem| ParseLocalEndpointError::new(text, problem);
        if let Some(address) = text.strip_prefix("grpc://") {
            return Self::grpc(&format!("http://{address}")).map_err(|error| wrong(error.problem()));
        }
        if text.starts_with("http://") || text.starts_with("unix:") {
            return Self::grpc(text);
        }
        let rest = text.strip_prefix(HTTP).filter(|rest| rest.starts_with("://") || rest.starts_with("+unix:"));
        let rest = rest.ok_or_else(|| wrong(UNKNOWN))?;
        let (address, health) = match rest.split_once(HEALTH) {
            Some((address, path)) => (address, Some(path)),
            None => (rest, None),
        };
        let endpoint = match address.strip_prefix('+') {
            Some(unix) => unix.to_owned(),
            None => format!("http{address}"),
        };
        let endpoint = endpoint.parse().map_err(|error: ParseLocalEndpointError| wrong(error.problem()))?;
        let health =
            health.map(|path| path_of(path).ok_or_else(|| wrong("has no path after `?health=`"))).transpose()?;
        Ok(Self { endpoint, protocol: LocalProtocol::Http { health } })
    }
}

impl LocalApp {
    fn grpc(endpoint: &str) -> Result<Self, ParseLocalEndpointError> {
        Ok(Self { endpoint: endpoint.parse()?, protocol: LocalProtocol::Grpc })
    }
}

fn path_of(text: &str) -> Option<PathAndQuery> {
    let path = PathAndQuery::try_from(text);
    path.into_iter().find(|_| text.starts_with('/'))
}

impl fmt::Display for LocalApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.protocol, &self.endpoint) {
            (LocalProtocol::Grpc, endpoint) => write!(f, "{endpoint}")?,
            (LocalProtocol::Http { .. }, LocalEndpoint::Tcp(address)) => write!(f, "{HTTP}://{address}")?,
            (LocalProtocol::Http { .. }, endpoint @ LocalEndpoint::Unix(_)) => write!(f, "{HTTP}+{endpoint}")?,
        }
        match &self.protocol {
            LocalProtocol::Http { health: Some(path) } => write!(f, "{HEALTH}{path}"),
            LocalProtocol::Http { health: None } | LocalProtocol::Grpc => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_what_an_application_speaks() {
        let read = |text: &str| text.parse::<LocalApp>().map(|it| it.to_string()).map_err(|error| error.to_string());
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("grpc://localhost:8080", "http://127.0.0.1:8080"),
            ("unix:/run/orders.sock", "unix:/run/orders.sock"),
            ("http1://localhost:8080/", "http1://127.0.0.1:8080"),
            ("http1://[::1]:8080?health=/healthz?deep=1", "http1://[::1]:8080?health=/healthz?deep=1"),
            ("http1+unix:/run/orders.sock", "http1+unix:/run/orders.sock"),
            ("http1+unix:/run/orders.sock?health=/", "http1+unix:/run/orders.sock?health=/"),
        ] {
            assert_eq!(read(text), Ok(shown.to_owned()), "{text}");
        }
        let is_http = |text: &str| text.parse::<LocalApp>().is_ok_and(|app| app.protocol != LocalProtocol::Grpc);
        assert_eq!(
            ["http://127.0.0.1:1", "grpc://127.0.0.1:1", "http1://127.0.0.1:1"].map(is_http),
            [false, false, true]
        );
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told_of_the_whole() {
        let problem = |text: &str| text.parse::<LocalApp>().map_err(|error| error.to_string());
        let wrong = |text: &str, what: &str| Err(format!("endpoint `{text}` {what}"));
        for text in ["grpc://10.0.0.1:1", "http1://10.0.0.1:1"] {
            let elsewhere = "is not on loopback: what is said there would go over the network without encryption";
            assert_eq!(problem(text), wrong(text, elsewhere));
        }
        for text in ["http1://127.0.0.1:1?health=", "http1://127.0.0.1:1?health=healthz"] {
            assert_eq!(problem(text), wrong(text, "has no path after `?health=`"));
        }
        let unknown = "is neither `grpc://127.0.0.1:port`, `http1://127.0.0.1:port` nor `unix:/path`";
        assert_eq!(problem("https://127.0.0.1:1"), wrong("https://127.0.0.1:1", unknown));
        assert_eq!(problem("http2://127.0.0.1:1"), wrong("http2://127.0.0.1:1", unknown));
    }
}
