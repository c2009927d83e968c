//! Every key there is, with its default.

use figment::value::Value;

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its dotted name.
    pub(crate) path: &'static str,
    /// How its value is written.
    pub(crate) shape: Shape,
    /// Its value when nobody sets it, as text; `None` leaves it unset.
    pub(crate) default: Option<&'static str>,
    /// What documentation says of it.
    pub(crate) about: About,
}

impl Key {
    /// Returns the last segment of its name.
    pub(crate) fn name(&self) -> &'static str {
        last_segment(self.path)
    }
}

/// What documentation says of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// The knob of that name among the options says it.
    Knob,
    /// What is valid, and what it is.
    Words(&'static str, &'static str),
}

/// How a value is written in a file, and how text from elsewhere becomes such a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string.
    Text,
    /// A string that is a length of time, such as `5s`.
    Duration,
    /// A string that names a file; in a configuration file, relative to that file.
    Path,
    /// A whole number.
    Number,
    /// A number from 0 to 1.
    Fraction,
    /// `true` or `false`.
    Flag,
    /// A list of strings; comma-separated as text.
    List,
    /// A table of strings, set entry by entry.
    Table,
}

impl Shape {
    /// Returns the value that `text` stands for. A text that does not fit stays text, for its reader to refuse.
    pub(crate) fn value_of(self, text: &str) -> Value {
        match self {
            Self::Number => text.parse::<i64>().map_or_else(|_not_a_number| Value::from(text), Value::from),
            Self::Fraction => text.parse::<f64>().map_or_else(|_not_a_number| Value::from(text), Value::from),
            Self::Flag => text.parse::<bool>().map_or_else(|_not_a_flag| Value::from(text), Value::from),
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::from(items.collect::<Vec<_>>())
            }
            Self::Text | Self::Duration | Self::Path | Self::Table => Value::from(text),
        }
    }
}

/// Names the keys and lists them all.
macro_rules! keys {
    ($($name:ident = $path:literal, $shape:ident, $default:expr, $about:expr;)*) => {
        $(pub(crate) const $name: &Key =
            &Key { path: $path, shape: Shape::$shape, default: $default, about: $about };)*

        /// All keys, in the order in which they are shown.
        pub(crate) const ALL: &[&Key] = &[$($name),*];
    };
}

keys! {
    GOSSIP_ENABLED = "mesh.gossip.enabled", Flag, Some("true"),
        About::Words("true, false", "false: the node runs without a mesh");
    NODE_ID = "mesh.gossip.nodeId", Text, None,
        About::Words(
            "1 to 63 of `A-Z a-z 0-9 . _ -`",
            "Name of the node; the certificate's, which it must equal if set",
        );
    CLUSTER_ID = "mesh.gossip.clusterId", Text, None,
        About::Words("as nodeId", "Cluster whose nodes it gossips with; the certificate's, which it must equal if set");
    ROLE = "mesh.gossip.role", Text, None,
        About::Words("as nodeId", "What the node is for; the certificate's, which it must equal if set");
    REGION = "mesh.gossip.region", Text, Some("local"),
        About::Words("as nodeId", "Where it runs; others may prefer peers of their own region");
    MESH_VERSION = "mesh.gossip.meshVersion", Text, Some(env!("CARGO_PKG_VERSION")),
        About::Words("1 to 32 bytes", "Version that others are told");
    HTTP3_SUPPORT = "mesh.gossip.http3Support", Flag, Some("true"),
        About::Words("true, false", "Whether others are told that it serves HTTP/3");
    LABELS = "mesh.gossip.labels", Table, None,
        About::Words(
            "32 labels, keys of 1 to 63 bytes, values up to 128",
            "What else others are told; labels named `peer.*` steer choosers",
        );
    BIND_ADDRESS = "mesh.gossip.bindAddress", Text, Some("0.0.0.0"),
        About::Words("an IP address", "Address that gossip listens on");
    PORT = "mesh.gossip.port", Number, Some("17421"),
        About::Words("0 to 65535", "UDP port that gossip listens on; 0 takes any free one");
    ADVERTISE_HOST = "mesh.gossip.advertiseHost", Text, None,
        About::Words(
            "a DNS name or an IP address",
            "Host that others are told; what is bound, or on `0.0.0.0` the address that faces the first seed. Set it behind \
             NAT, or to use a DNS name",
        );
    ADVERTISE_PORT = "mesh.gossip.advertisePort", Number, None, About::Knob;
    SEED_PEERS = "mesh.gossip.seedPeers", List, Some(""), About::Knob;
    PROFILE = "mesh.gossip.profile", Text, Some("balanced"),
        About::Words(
            "fast, balanced, wan",
            "Where the mesh runs: in one room, on one site, or on sites far apart. It gives the settings of the protocol that \
             nobody sets other defaults; those below are of `balanced`",
        );
    INTERVAL = "mesh.gossip.interval", Duration, Some("1s"), About::Knob;
    FANOUT = "mesh.gossip.fanout", Number, Some("8"), About::Knob;
    SUSPICION_INTERVAL = "mesh.gossip.suspicionInterval", Duration, Some("5s"), About::Knob;
    DEAD_AFTER = "mesh.gossip.deadAfter", Duration, None, About::Knob;
    PING_TIMEOUT = "mesh.gossip.pingTimeout", Duration, Some("2s"), About::Knob;
    RETRANSMIT_LIMIT = "mesh.gossip.retransmitLimit", Number, Some("3"), About::Knob;
    METADATA_REFRESH_PERIOD = "mesh.gossip.metadataRefreshPeriod", Duration, Some("30s"), About::Knob;
    LINK_BYTES = "mesh.gossip.linkBytesPerSecond", Number, Some("524288"), About::Knob;
    LINK_DATAGRAMS = "mesh.gossip.linkDatagramsPerSecond", Number, Some("1000"), About::Knob;
    MAX_LINKS = "mesh.gossip.maxLinks", Number, Some("72"), About::Knob;
    IDLE_TIMEOUT = "mesh.gossip.idleTimeout", Duration, Some("30s"), About::Knob;
    REHANDSHAKE_WINDOW = "mesh.gossip.rehandshakeWindow", Duration, Some("30s"), About::Knob;
    CERTIFICATE_RELOAD_INTERVAL = "mesh.gossip.certificateReloadInterval", Duration, Some("5m"), About::Knob;
    CERTIFICATE = "mesh.gossip.tls.certificate", Path, None,
        About::Words("PEM", "Certificate chain of the node; watched while it runs");
    PRIVATE_KEY = "mesh.gossip.tls.key", Path, None,
        About::Words("PEM", "Private key of the certificate; watched");
    TRUST_BUNDLE = "mesh.gossip.tls.trustBundle", Path, None,
        About::Words("PEM", "CA certificates that the node trusts, several while CAs change; watched");
    REVOCATION_LISTS = "mesh.gossip.tls.certificateRevocationList", Path, None,
        About::Words("PEM or DER", "Lists of revoked certificates of those CAs; watched, and spread to the others");
    REFUSE_OVERDUE_LISTS = "mesh.gossip.tls.refuseOverdueRevocationLists", Flag, Some("false"),
        About::Words(
            "true, false",
            "true: nobody is let in on a list whose next update is overdue. Safer, and cuts the mesh when a CA stops \
             publishing",
        );
    CONTROL_ENABLED = "control.enabled", Flag, Some("true"),
        About::Words("true, false", "false: no control endpoint, no metrics");
    CONTROL_ADDRESS = "control.address", Text, Some("127.0.0.1:17420"),
        About::Words("`ip:port`", "Address of the control endpoint, on TCP and UDP; it speaks mutual TLS");
    CONTROL_PLAINTEXT = "control.plaintext", Flag, Some("false"),
        About::Words("true, false", "true is for `omnirelay-node dev` on loopback only");
    STATE_DIRECTORY = "state.directory", Path, None,
        About::Words(
            "a directory",
            "What outlives the process is kept here, for its user alone: the secret by which clients over HTTP/3 notice a \
             restart at once instead of after 30 s. Made if it is not there; unset, nothing is kept",
        );
    RPC_ADDRESS = "rpc.address", Text, None,
        About::Words(
            "`ip:port`",
            "Address at which the node takes calls, on TCP and UDP, with mutual TLS; unset, it takes none and has no services. A node of \
             role `gateway` takes calls for any service of the mesh there, others for their own services only",
        );
    RPC_ADVERTISE_PORT = "rpc.advertisePort", Number, None,
        About::Words("1 to 65535", "Port that others call, at the host that gossip advertises; the one it listens on unless set");
    RPC_LOCAL = "rpc.local", Text, None,
        About::Words(
            "`http://127.0.0.1:port`, `unix:/path`",
            "Where applications of this machine call their node, without TLS, to reach any service of the mesh; not for role `worker`",
        );
    RPC_THREADS = "rpc.threads", Number, None,
        About::Words(
            "1 to 64",
            "Most threads that calls have, one for each core unless set. Connections are dealt out to them and stay there with their calls; each \
             thread has connections of its own to others",
        );
    RPC_CHOOSER = "rpc.chooser", Text, Some("tiered > adaptive"),
        About::Words("filters and a chooser", "Which peers get calls; docs/peers.md names them all");
    RPC_SERVICES = "rpc.services", Table, None,
        About::Words(
            "64 services, each `grpc://127.0.0.1:port` or `unix:/path`; for plain HTTP `http1://127.0.0.1:port?health=/path`",
            "Applications beside the node, by the names under which the mesh calls them; they speak gRPC there (HTTP/2 without TLS; \
             `http://` says the same) or HTTP/1.1, and are announced while they are well",
        );
    HEDGING_METHODS = "rpc.hedging.methods", List, Some(""),
        About::Words(
            "`package.Service/Method` each, or `*` alone",
            "Methods whose calls are sent to one more node when the last has not answered within `delay`; the first good answer counts. \
             Naming one says that it may be executed twice at a time; `*` says so of all",
        );
    HEDGING_MAX_ATTEMPTS = "rpc.hedging.maxAttempts", Number, Some("2"),
        About::Words("2 to 5", "Most attempts at such a call, the first included. More costs servers more when they are slow");
    HEDGING_DELAY = "rpc.hedging.delay", Duration, Some("100ms"),
        About::Words(
            "0s to 1m",
            "How long the last attempt may take before the next begins. The 95th percentile of what answers take doubles one call in \
             twenty; shorter costs servers more",
        );
    HEALTH_CHECK_ENABLED = "rpc.healthCheck.enabled", Flag, Some("false"),
        About::Words(
            "true, false",
            "true: connections over HTTP/3 that had calls lately are asked whether they work, and calls go over HTTP/2 before one has \
             to fail",
        );
    HEALTH_CHECK_INTERVAL = "rpc.healthCheck.interval", Duration, Some("5s"),
        About::Words("100ms to 1h", "How often a connection is asked. Shorter costs a call each time");
    HEALTH_CHECK_TIMEOUT = "rpc.healthCheck.timeout", Duration, Some("1s"),
        About::Words("10ms to 1m", "Longest wait for the answer. Keep it well above the slowest round trip");
    HEALTH_CHECK_FAILURES = "rpc.healthCheck.failures", Number, Some("2"),
        About::Words("1 to 100", "Failures in a row after which calls go over HTTP/2, if that answers. Fewer react sooner, also to chance");
    LOG_FORMAT = "log.format", Text, Some("text"),
        About::Words("text, json", "How log lines are written");
    LOG_FILTER = "log.filter", Text, Some("info"),
        About::Words(
            "`level`, `target=level`, with commas between",
            "Which log events are written, and which spans are sent",
        );
    TRACES_ENDPOINT = "traces.endpoint", Text, None,
        About::Words(
            "`https://host:port`; `http://` on loopback",
            "OpenTelemetry collector that spans go to (OTLP over gRPC); unset, they go nowhere",
        );
    TRACES_TRUST_BUNDLE = "traces.trustBundle", Path, None,
        About::Words("PEM", "CA certificates that may sign the collector's; `mesh.gossip.tls.trustBundle` unless set");
    TRACES_SAMPLE_RATIO = "traces.sampleRatio", Fraction, Some("1"),
        About::Words("0 to 1", "Share of the traces begun here that are kept; less costs less");
}

/// Returns the key of that exact name.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    ALL.iter().copied().find(|key| key.path == path)
}

/// Returns the key that most resembles `path`, if one does.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    let wanted = plain(path);
    let distance = |key: &Key| {
        let known = plain(key.path);
        let (wanted_last, known_last) = (last_segment(&wanted), last_segment(&known));
        let whole = strsim::damerau_levenshtein(&wanted, &known);
        // The right word at the wrong place is as good a hint as a misspelt one.
        let word = strsim::damerau_levenshtein(wanted_last, known_last) + 1;
        (word.min(whole), whole)
    };
    let (best, key) = ALL.iter().map(|key| (distance(key), *key)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= 2).then_some(key.path)
}

fn plain(path: &str) -> String {
    path.to_ascii_lowercase().replace(['_', '-'], "")
}

fn last_segment(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_or_misplaced_key_is_recognised_and_a_strange_one_is_not() {
        assert_eq!(nearest("mesh.gossip.rol"), Some("mesh.gossip.role"));
        assert_eq!(nearest("mesh.gosip.cluster_id"), Some("mesh.gossip.clusterId"));
        assert_eq!(nearest("gossip.seedPeers"), Some("mesh.gossip.seedPeers"));
        assert_eq!(nearest("mesh.gossip.port.number"), None);
        assert_eq!(nearest("colour"), None);
    }
}
