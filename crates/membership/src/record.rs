//! Records: what a node says of itself, as bytes that travel unchanged and the value they hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::{MAX_RECORD_BYTES, Message};
use mesh_types::{
    Endpoint, Features, MetadataError, NameError, NodeLifecycle, NodeMetadata, ParseEndpointError, ServiceName,
};

/// Newest record schema this build writes. A reader takes any: fields are only ever added.
const SCHEMA: u32 = 1;

/// A valid record: the origin's bytes, and what they say.
///
/// The bytes are kept because decoding and encoding again would drop the fields that a newer origin added.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) bytes: Bytes,
    pub(crate) metadata: Arc<NodeMetadata>,
}

/// Why a record is refused; each names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is over the size limit.
    #[error("record is {bytes} bytes long, more than {MAX_RECORD_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no protobuf message.
    #[error("record cannot be decoded")]
    Malformed {
        /// The decoder's reason.
        #[source]
        source: mesh_proto::DecodeError,
    },
    /// A required field is missing.
    #[error("record lacks required field `{field}`")]
    Missing {
        /// The field's name in the schema.
        field: &'static str,
    },
    /// A name is not valid.
    #[error("record field `{field}` is not valid")]
    Name {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// An endpoint is not valid.
    #[error("record field `{field}` is not valid")]
    Endpoint {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: ParseEndpointError,
    },
    /// A bound of the metadata is broken.
    #[error("record field `mesh_version`, `labels` or `services` is not valid")]
    Bounds {
        /// Which bound.
        #[source]
        source: MetadataError,
    },
}

impl Record {
    /// Encodes what this node says of itself.
    pub(crate) fn encode(metadata: Arc<NodeMetadata>) -> Result<Self, RecordError> {
        metadata.validate().map_err(|source| RecordError::Bounds { source })?;
        let message = proto::NodeRecord {
            schema: SCHEMA,
            role: metadata.role.to_string(),
            cluster: metadata.cluster.to_string(),
            region: metadata.region.to_string(),
            mesh_version: metadata.mesh_version.to_string(),
            http3_support: metadata.http3_support,
            endpoint: metadata.endpoint.to_string(),
            labels: metadata.labels.clone(),
            features: metadata.features.bits(),
            lifecycle: encoded(metadata.lifecycle).into(),
            services: metadata.services.iter().map(ServiceName::to_string).collect(),
            rpc_endpoint: metadata.rpc_endpoint.as_ref().map(Endpoint::to_string).unwrap_or_default(),
        };
        let bytes = Bytes::from(message.encode_to_vec());
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self { bytes, metadata })
    }

    /// Reads and checks what another node says of itself. What it says alike with `own`, as most nodes of a mesh do, is in memory
    /// once; and the bytes are copied, or they would keep the message around them.
    pub(crate) fn decode(bytes: &Bytes, own: &NodeMetadata) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        let message = proto::NodeRecord::decode(bytes.clone()).map_err(|source| RecordError::Malformed { source })?;
        if message.schema == 0 {
            return Err(RecordError::Missing { field: "schema" });
        }
        let metadata = NodeMetadata {
            role: alike(name("role", &message.role)?, &own.role),
            cluster: alike(name("cluster", &message.cluster)?, &own.cluster),
            region: alike(name("region", &message.region)?, &own.region),
            mesh_version: alike(required("mesh_version", &message.mesh_version)?.into(), &own.mesh_version),
            http3_support: message.http3_support,
            endpoint: endpoint("endpoint", required("endpoint", &message.endpoint)?)?,
            labels: message.labels,
            features: Features::from_bits(message.features),
            lifecycle: lifecycle(message.lifecycle),
            services: services(&message.services)?,
            rpc_endpoint: match message.rpc_endpoint.as_str() {
                "" => None,
                text => Some(endpoint("rpc_endpoint", text)?),
            },
        };
        metadata.validate().map_err(|source| RecordError::Bounds { source })?;
        Ok(Self { bytes: Bytes::copy_from_slice(bytes), metadata: Arc::new(metadata) })
    }
}

/// Returns `own` in the place of its equal.
fn alike<T: Clone + PartialEq>(read: T, own: &T) -> T {
    if read == *own { own.clone() } else { read }
}

const fn encoded(lifecycle: NodeLifecycle) -> proto::Lifecycle {
    match lifecycle {
        NodeLifecycle::Active => proto::Lifecycle::Active,
        NodeLifecycle::Cordoned => proto::Lifecycle::Cordoned,
        NodeLifecycle::Draining => proto::Lifecycle::Draining,
    }
}

fn lifecycle(number: i32) -> NodeLifecycle {
    match proto::Lifecycle::try_from(number) {
        Ok(proto::Lifecycle::Active) => NodeLifecycle::Active,
        Ok(proto::Lifecycle::Draining) => NodeLifecycle::Draining,
        // A newer origin asks for something else than all work: to give it none is safe.
        Ok(proto::Lifecycle::Cordoned) | Err(_) => NodeLifecycle::Cordoned,
    }
}

fn required<'a>(field: &'static str, text: &'a str) -> Result<&'a str, RecordError> {
    if text.is_empty() { Err(RecordError::Missing { field }) } else { Ok(text) }
}

fn endpoint(field: &'static str, text: &str) -> Result<Endpoint, RecordError> {
    text.parse().map_err(|source| RecordError::Endpoint { field, source })
}

/// Reads the names of services. How many there may be is said before they are read: the rest is never kept.
fn services(names: &[String]) -> Result<BTreeSet<ServiceName>, RecordError> {
    let count = names.len();
    if count > NodeMetadata::MAX_SERVICES {
        return Err(RecordError::Bounds { source: MetadataError::Services { count } });
    }
    names.iter().map(|text| name("services", text)).collect()
}

fn name<T: std::str::FromStr<Err = NameError>>(field: &'static str, text: &str) -> Result<T, RecordError> {
    required(field, text)?.parse().map_err(|source| RecordError::Name { field, source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn message() -> proto::NodeRecord {
        proto::NodeRecord {
            schema: 1,
            role: "worker".to_owned(),
            cluster: "alpha".to_owned(),
            region: "eu-1".to_owned(),
            mesh_version: "0.1.0".to_owned(),
            http3_support: true,
            endpoint: "127.0.0.1:17421".to_owned(),
            labels: [("rack".to_owned(), "r1".to_owned())].into(),
            features: 1 << 40 | 1,
            lifecycle: proto::Lifecycle::Draining.into(),
            services: vec!["orders".to_owned(), "orders.v1.Orders".to_owned()],
            rpc_endpoint: "127.0.0.1:7420".to_owned(),
        }
    }

    fn own() -> NodeMetadata {
        NodeMetadata {
            role: "worker".parse().expect("a name"),
            cluster: "alpha".parse().expect("a name"),
            region: "eu-1".parse().expect("a name"),
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: "10.0.0.1:17421".parse().expect("an endpoint"),
            labels: BTreeMap::new(),
            features: Features::default(),
            lifecycle: NodeLifecycle::Active,
            services: BTreeSet::new(),
            rpc_endpoint: None,
        }
    }

    fn decode(bytes: impl Into<Bytes>) -> Result<Record, RecordError> {
        Record::decode(&bytes.into(), &own())
    }

    #[track_caller]
    fn check(change: fn(&mut proto::NodeRecord), problem: &str) {
        let mut record = message();
        change(&mut record);
        let error = decode(record.encode_to_vec()).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(problem));
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() -> Result<(), RecordError> {
        let decoded = decode(message().encode_to_vec())?;
        let again = Record::encode(Arc::clone(&decoded.metadata))?;
        assert_eq!(again.bytes, decoded.bytes);
        assert_eq!(decoded.metadata.features, Features::from_bits(1 << 40 | 1));
        Ok(())
    }

    #[test]
    fn what_a_record_says_alike_with_the_own_one_is_in_memory_once() -> Result<(), RecordError> {
        let (own, message) = (own(), proto::NodeRecord { region: "eu-2".to_owned(), ..message() });
        let read = Record::decode(&message.encode_to_vec().into(), &own)?.metadata;
        assert!(std::ptr::eq(read.role.as_str(), own.role.as_str()));
        assert!(std::ptr::eq(read.cluster.as_str(), own.cluster.as_str()));
        assert!(Arc::ptr_eq(&read.mesh_version, &own.mesh_version));
        assert_eq!(read.region.as_str(), "eu-2");
        Ok(())
    }

    #[test]
    fn a_record_keeps_its_own_bytes_and_not_the_message_around_them() -> Result<(), RecordError> {
        let bytes = message().encode_to_vec();
        let around = Bytes::from([bytes.clone(), vec![0; 1_000]].concat());
        let read = Record::decode(&around.slice(..bytes.len()), &own())?;
        assert_eq!(read.bytes, bytes);
        assert!(around.is_unique(), "the message can go");
        Ok(())
    }

    #[test]
    fn a_record_of_a_build_without_services_is_of_a_node_that_takes_no_calls() -> Result<(), RecordError> {
        let old = proto::NodeRecord { services: Vec::new(), rpc_endpoint: String::new(), ..message() };
        let metadata = decode(old.encode_to_vec())?.metadata;
        assert_eq!((metadata.services.len(), &metadata.rpc_endpoint), (0, &None));
        Ok(())
    }

    #[test]
    fn a_lifecycle_is_read_as_it_was_written_and_an_unknown_one_as_cordoned() -> Result<(), RecordError> {
        let read = |number| {
            let bytes = proto::NodeRecord { lifecycle: number, ..message() }.encode_to_vec();
            decode(bytes).map(|record| record.metadata.lifecycle)
        };
        for known in NodeLifecycle::ALL {
            assert_eq!(read(encoded(known).into())?, known);
        }
        assert_eq!(read(3)?, NodeLifecycle::Cordoned);
        Ok(())
    }

    #[test]
    fn a_field_of_a_newer_schema_survives_in_the_bytes() -> Result<(), RecordError> {
        let mut bytes = proto::NodeRecord { schema: 2, ..message() }.encode_to_vec();
        let known = decode(bytes.clone())?;
        // Field 99, varint 7.
        bytes.extend([0x98, 0x06, 0x07]);
        let newer = decode(bytes.clone())?;
        assert_eq!(newer.metadata, known.metadata);
        assert_eq!(newer.bytes, bytes);
        Ok(())
    }

    #[test]
    fn a_missing_or_wrong_field_is_named() {
        check(|r| r.schema = 0, "record lacks required field `schema`");
        check(|r| r.role.clear(), "record lacks required field `role`");
        check(|r| r.cluster.clear(), "record lacks required field `cluster`");
        check(|r| r.region.clear(), "record lacks required field `region`");
        check(|r| r.mesh_version.clear(), "record lacks required field `mesh_version`");
        check(|r| r.endpoint.clear(), "record lacks required field `endpoint`");
        check(|r| r.region = "eu/1".to_owned(), "record field `region` is not valid");
        check(|r| r.endpoint = "nowhere".to_owned(), "record field `endpoint` is not valid");
        check(|r| r.mesh_version = "9".repeat(33), "record field `mesh_version`, `labels` or `services` is not valid");
        check(|r| r.rpc_endpoint = "nowhere".to_owned(), "record field `rpc_endpoint` is not valid");
        check(|r| r.services = vec!["a/b".to_owned()], "record field `services` is not valid");
        let too_many = |r: &mut proto::NodeRecord| r.services = vec!["same".to_owned(); 65];
        check(too_many, "record field `mesh_version`, `labels` or `services` is not valid");
        check(|r| r.labels = [("k".to_owned(), "v".repeat(9_000))].into(), "record is 9109 bytes long, more than 8192");
    }
}
