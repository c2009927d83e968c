//! Types that a setting can have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use dispatcher::{LocalApp, LocalEndpoint};
use figment::value::Value;
use gossip::Profile;
use grpc_client_factory::HedgedMethods;
use lanes::LANES_MAX;
use mesh_types::{ClusterId, Endpoint, NameError, NodeId, NodeMetadata, Region, Role, ServiceName};
use peers_core::ChooserSpec;
use telemetry::LogFormat;

use super::duration;

/// A type that a setting can have.
pub(crate) trait Setting: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// What would be valid, as a clause that ends a sentence about the value.
    fn from_value(value: &Value) -> Result<Self, String>;
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "a text in quotes is valid".to_owned())
}

fn parsed<T: FromStr<Err: std::error::Error>>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

fn whole<T: TryFrom<i128>>(value: &Value, range: &str) -> Result<T, String> {
    // Too large for `T` is as wrong as not a number: the range says both.
    let number = value.to_i128().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("a whole number {range} is valid"))
}

impl Setting for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.to_bool().ok_or_else(|| "`true` or `false` is valid".to_owned())
    }
}

impl Setting for u8 {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value, "from 0 to 255")
    }
}

impl Setting for u16 {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value, "from 0 to 65535")
    }
}

impl Setting for u32 {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value, "from 0 to 4294967295")
    }
}

impl Setting for NonZeroU16 {
    fn from_value(value: &Value) -> Result<Self, String> {
        let valid = "from 1 to 65535";
        Self::new(whole(value, valid)?).ok_or_else(|| format!("a whole number {valid} is valid"))
    }
}

/// How many threads calls have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(pub(crate) NonZeroUsize);

impl Setting for Threads {
    fn from_value(value: &Value) -> Result<Self, String> {
        let count = value.to_i128().and_then(|number| usize::try_from(number).ok()).and_then(NonZeroUsize::new);
        let threads = count.filter(|count| count.get() <= LANES_MAX).map(Self);
        threads.ok_or_else(|| format!("a whole number from 1 to {LANES_MAX} is valid"))
    }
}

impl Setting for usize {
    fn from_value(value: &Value) -> Result<Self, String> {
        whole(value, "from 0")
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fraction(pub(crate) f64);

impl Setting for Fraction {
    fn from_value(value: &Value) -> Result<Self, String> {
        let number = value.to_num().and_then(|num| num.to_f64().or_else(|| num.to_i128().map(|whole| whole as f64)));
        let fraction = number.filter(|number| (0.0..=1.0).contains(number));
        fraction.map(Self).ok_or_else(|| "a number from 0 to 1 is valid".to_owned())
    }
}

impl Setting for Duration {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(duration::parse).ok_or_else(|| duration::FORMS.to_owned())
    }
}

impl Setting for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        text(value).map(str::to_owned)
    }
}

impl Setting for PathBuf {
    fn from_value(value: &Value) -> Result<Self, String> {
        match text(value)? {
            "" => Err("the path of a file is valid".to_owned()),
            path => Ok(Self::from(path)),
        }
    }
}

impl Setting for IpAddr {
    fn from_value(value: &Value) -> Result<Self, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "an IP address such as `0.0.0.0` or `::` is valid".to_owned())
    }
}

impl Setting for SocketAddr {
    fn from_value(value: &Value) -> Result<Self, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "an IP address and a port such as `127.0.0.1:17420` are valid".to_owned())
    }
}

impl Setting for NodeId {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for ClusterId {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for Role {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for Region {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for Vec<Endpoint> {
    fn from_value(value: &Value) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| "a list such as `[\"10.0.0.7:17421\"]` is valid".to_owned())?;
        items.iter().map(parsed).collect()
    }
}

impl Setting for BTreeMap<String, String> {
    fn from_value(value: &Value) -> Result<Self, String> {
        let valid = "a table of texts such as `{ rack = \"r1\" }` is valid";
        let entries = value.as_dict().ok_or_else(|| valid.to_owned())?;
        let entry = |(name, text): (&String, &Value)| Some((name.clone(), text.as_str()?.to_owned()));
        entries.iter().map(entry).collect::<Option<_>>().ok_or_else(|| valid.to_owned())
    }
}

impl Setting for LocalEndpoint {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for ChooserSpec {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for BTreeMap<ServiceName, LocalApp> {
    fn from_value(value: &Value) -> Result<Self, String> {
        let valid = "a table of addresses such as `{ orders = \"grpc://127.0.0.1:8080\" }` is valid";
        let entries = value.as_dict().ok_or_else(|| valid.to_owned())?;
        let services: Self = entries
            .iter()
            .map(|(name, address)| Ok((name.parse().map_err(|error: NameError| error.to_string())?, parsed(address)?)))
            .collect::<Result<_, String>>()?;
        match services.len() {
            count if count > NodeMetadata::MAX_SERVICES => {
                Err(format!("at most {} services are valid, not {count}", NodeMetadata::MAX_SERVICES))
            }
            _ => Ok(services),
        }
    }
}

impl Setting for HedgedMethods {
    fn from_value(value: &Value) -> Result<Self, String> {
        let valid = "a list such as `[\"orders.Orders/Get\"]`, or `[\"*\"]`, is valid";
        let items = value.as_array().ok_or_else(|| valid.to_owned())?;
        let names: BTreeSet<_> = items.iter().map(|item| text(item).map(str::to_owned)).collect::<Result<_, _>>()?;
        let is_method = |name: &String| {
            let parts = name.split_once('/');
            parts.is_some_and(|(service, method)| !service.is_empty() && !method.is_empty() && !method.contains('/'))
        };
        match names.iter().find(|name| !is_method(name)) {
            None => Ok(Self::Named(names)),
            Some(name) if name == "*" && names.len() == 1 => Ok(Self::All),
            Some(name) => Err(format!("{valid}, and `{name}` names no method")),
        }
    }
}

impl Setting for Profile {
    fn from_value(value: &Value) -> Result<Self, String> {
        parsed(value)
    }
}

impl Setting for LogFormat {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err("`text` or `json` is valid".to_owned()),
        }
    }
}
