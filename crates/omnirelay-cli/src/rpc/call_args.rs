//! The part of the command line that says what is called.

use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use dispatcher::{Encoding, MetaValue, ProcedureName, RequestMeta, ServiceName};
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::duration::parse_duration;
use crate::error::CliError;
use crate::rpc::frames::MESSAGE_BYTES_MAX;
use crate::rpc::listener::Listener;
use crate::rpc::spec::{CallSpec, Wire};

/// What is called, by which listener, and with what.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// Service that is called
    pub(crate) service: ServiceName,
    /// Its procedure
    pub(crate) procedure: String,
    #[command(flatten)]
    pub(crate) via: ViaArgs,
    /// How the call goes
    #[arg(long, value_name = "WIRE", default_value = "grpc")]
    pub(crate) wire: Wire,
    /// The message; none is empty, or {} in JSON
    #[arg(short, long, value_name = "TEXT", conflicts_with = "data_file")]
    pub(crate) data: Option<String>,
    /// Read the message from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) data_file: Option<PathBuf>,
    /// How the message is encoded: json, protobuf, raw or another word; all but json go as they are
    #[arg(long, value_name = "WORD", default_value = "json")]
    pub(crate) encoding: Encoding,
    /// A header for the application; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Header>,
    /// Longest that the call may take, all the way
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) deadline: Duration,
    /// Who calls, for logs and metrics
    #[arg(long, value_name = "NAME", default_value = "omnirelay")]
    pub(crate) caller: MetaValue,
    /// Shard that the call is about, `namespace/shard`
    #[arg(long, value_name = "KEY")]
    pub(crate) shard_key: Option<MetaValue>,
    /// Key by which calls that belong together find the same peer
    #[arg(long, value_name = "KEY")]
    pub(crate) routing_key: Option<MetaValue>,
    /// Service or node by which the call goes
    #[arg(long, value_name = "NAME")]
    pub(crate) routing_delegate: Option<MetaValue>,
}

/// By which listener.
#[derive(Debug, Args)]
pub(crate) struct ViaArgs {
    /// Listener that takes calls: `https://host:port` of a node, with our certificate; `http://127.0.0.1:port` or `unix:/path` of this
    /// machine
    #[arg(long, env = "OMNIRELAY_VIA", value_name = "URL")]
    pub(crate) via: Listener,
}

/// A header of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// Why a text is no header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write `name: value`, in visible ASCII")]
pub(crate) struct ParseHeaderError;

impl FromStr for Header {
    type Err = ParseHeaderError;

    fn from_str(text: &str) -> Result<Self, ParseHeaderError> {
        let (name, value) = text.split_once(':').ok_or(ParseHeaderError)?;
        // What is wrong with it in detail helps less than how to write it.
        let name = name.trim().parse().map_err(|_not_a_name| ParseHeaderError)?;
        let value = value.trim().parse().map_err(|_not_a_value| ParseHeaderError)?;
        Ok(Self { name, value })
    }
}

impl CallArgs {
    /// Returns the call, its message read and checked.
    pub(crate) fn spec(&self) -> Result<CallSpec, CliError> {
        let procedure = ProcedureName::new(self.service.clone(), &self.procedure);
        let meta = RequestMeta {
            caller: Some(self.caller.clone()),
            shard_key: self.shard_key.clone(),
            routing_key: self.routing_key.clone(),
            routing_delegate: self.routing_delegate.clone(),
            ..self.application()?
        };
        Ok(CallSpec {
            procedure: procedure.map_err(|source| CliError::Procedure { source })?,
            wire: self.wire,
            encoding: self.encoding.clone(),
            meta,
            payload: self.payload()?,
            deadline: self.deadline,
        })
    }

    /// Returns the headers of the application, and nothing else.
    fn application(&self) -> Result<RequestMeta, CliError> {
        let mut headers = HeaderMap::new();
        for Header { name, value } in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        let meta = RequestMeta { headers, ..RequestMeta::default() };
        let mut written = HeaderMap::new();
        meta.write(&mut written);
        // What is not the application's to set is left out when it is written.
        match meta.headers.keys().find(|name| !written.contains_key(*name)) {
            Some(reserved) => Err(CliError::ReservedHeader { name: reserved.clone() }),
            None => Ok(meta),
        }
    }

    fn payload(&self) -> Result<Bytes, CliError> {
        let payload: Bytes = match (&self.data, &self.data_file) {
            (Some(text), _) => text.clone().into(),
            (None, Some(file)) => read(file)?.into(),
            (None, None) if self.encoding == Encoding::JSON => Bytes::from_static(b"{}"),
            (None, None) => Bytes::new(),
        };
        if self.encoding == Encoding::JSON {
            let checked = serde_json::from_slice::<serde::de::IgnoredAny>(&payload);
            checked.map_err(|source| CliError::NotJson { source })?;
        }
        Ok(payload)
    }
}

/// Reads a message of bounded size.
fn read(file: &PathBuf) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Data { file: file.clone(), source };
    let mut bytes = Vec::new();
    let limit = MESSAGE_BYTES_MAX as u64 + 1;
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes))
    };
    if read.map_err(failed)? > MESSAGE_BYTES_MAX {
        return Err(CliError::TooLarge { bytes: MESSAGE_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let header = |name: &'static str, value: &'static str| {
            Ok(Header { name: HeaderName::from_static(name), value: HeaderValue::from_static(value) })
        };
        assert_eq!("X-Tenant: 7".parse(), header("x-tenant", "7"));
        assert_eq!("a:b:c".parse(), header("a", "b:c"));
        for wrong in ["x-tenant", ": 7", "a b: 7", "a: \u{1}"] {
            assert_eq!(wrong.parse::<Header>(), Err(ParseHeaderError), "{wrong}");
        }
    }
}
