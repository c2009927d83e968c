//! What a request calls.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri};
use mesh_types::ServiceName;
use tonic::Code;

use crate::header;
use crate::status::Status;

/// Returns the service that a request calls: that of the header `rpc-service`; else the one that the authority is named after, by
/// all of its host or the first label of it, if it is one that `knows`; else the first segment of the path.
///
/// # Errors
/// It names none, or in a way that cannot be read.
pub(crate) fn service(
    headers: &HeaderMap,
    uri: &Uri,
    knows: impl Fn(&ServiceName) -> bool,
) -> Result<ServiceName, Status> {
    if let Some(text) = text(headers, &header::SERVICE)? {
        return text.parse().map_err(|error| invalid(format!("header `rpc-service`: {error}")));
    }
    if let Some(service) = of_authority(headers, uri).into_iter().flatten().find(knows) {
        return Ok(service);
    }
    match segments(uri) {
        Some((service, _)) => service.parse().map_err(|error| invalid(format!("path `{}`: {error}", uri.path()))),
        None => Err(invalid(format!(
            "the call names no service: neither by header `rpc-service`, nor by host, nor by its path `{}`, which is not /service/procedure",
            uri.path()
        ))),
    }
}

/// Returns the procedure that a request calls: that of the header `rpc-procedure`, else what the path has behind its first segment, or
/// all that it has if that is one.
///
/// # Errors
/// It names none, or in a way that cannot be read.
pub(crate) fn procedure<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Result<&'a str, Status> {
    if let Some(text) = text(headers, &header::PROCEDURE)? {
        return Ok(text);
    }
    let path = uri.path().trim_start_matches('/');
    match segments(uri) {
        Some((_, procedure)) => Ok(procedure),
        None if !path.is_empty() => Ok(path),
        None => Err(invalid(
            "the call names no procedure: neither by header `rpc-procedure` nor by a path /service/procedure"
                .to_owned(),
        )),
    }
}

/// Returns the service in the path, as gRPC has it.
pub(crate) fn service_of_path(uri: &Uri) -> Option<&str> {
    segments(uri).map(|(service, _)| service)
}

fn segments(uri: &Uri) -> Option<(&str, &str)> {
    let (service, procedure) = uri.path().strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !procedure.is_empty()).then_some((service, procedure))
}

/// Returns the names that the host may stand for, the longer first.
fn of_authority(headers: &HeaderMap, uri: &Uri) -> [Option<ServiceName>; 2] {
    let of_header = || headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let Some(authority) = uri.authority().cloned().or_else(of_header) else { return [None, None] };
    let host = authority.host();
    let label = host.split_once('.').and_then(|(label, _)| label.parse().ok());
    [host.parse().ok(), label]
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Status> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|error| invalid(format!("header `{name}`: {error}")))
}

fn invalid(text: String) -> Status {
    Status::new(Code::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_static(text))).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &'static str)], uri: &'static str, expected: Result<(&str, &str), &str>) {
        let (headers, uri) = (headers(pairs), Uri::from_static(uri));
        let knows = |service: &ServiceName| ["payments", "payments.v2.mesh"].contains(&service.as_str());
        let both = service(&headers, &uri, knows).and_then(|service| Ok((service, procedure(&headers, &uri)?)));
        let found = both.as_ref().map(|(service, procedure)| (service.as_str(), *procedure));
        assert_eq!(found.map_err(Status::message), expected);
    }

    #[test]
    fn headers_come_before_the_host_and_the_host_before_the_path() {
        let named = [("rpc-service", "greeter"), ("rpc-procedure", "hello")];
        check(&named, "https://payments.local/a/b", Ok(("greeter", "hello")));
        check(&[], "https://payments.local:8080/acme.Pay/Charge", Ok(("payments", "Charge")));
        check(&[], "https://payments.v2.mesh/acme.Pay/Charge", Ok(("payments.v2.mesh", "Charge")));
        check(&[("host", "payments:80")], "/acme.Pay/Charge", Ok(("payments", "Charge")));
        check(&[("host", "other.local")], "/acme.Pay/Charge", Ok(("acme.Pay", "Charge")));
        check(&[], "https://127.0.0.1:8080/acme.Pay/Charge", Ok(("acme.Pay", "Charge")));
        check(&[("rpc-service", "greeter")], "/hello", Ok(("greeter", "hello")));
    }

    #[test]
    fn a_call_that_names_nothing_is_told_how_to() {
        let no_service = "the call names no service: neither by header `rpc-service`, nor by host, nor by its path `/hello`, which is not \
                          /service/procedure";
        check(&[], "/hello", Err(no_service));
        let no_procedure =
            "the call names no procedure: neither by header `rpc-procedure` nor by a path /service/procedure";
        check(&[("rpc-service", "greeter")], "/", Err(no_procedure));
        check(&[("rpc-service", "")], "/a/b", Err("header `rpc-service`: service name is empty"));
        let bad = "path `/a!/b`: service name `a!` holds '!'; letters, digits, `.`, `_` and `-` are valid";
        check(&[], "/a!/b", Err(bad));
    }
}
