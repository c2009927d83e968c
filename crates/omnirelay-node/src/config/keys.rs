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
}

/// How a value is written in a file, and how text from elsewhere becomes such a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string.
    Text,
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
            Self::Text | Self::Path | Self::Table => Value::from(text),
        }
    }
}

/// Names the keys and lists them all.
macro_rules! keys {
    ($($name:ident = $path:literal, $shape:ident, $default:expr;)*) => {
        $(pub(crate) const $name: &Key = &Key { path: $path, shape: Shape::$shape, default: $default };)*

        /// All keys, in the order in which they are shown.
        pub(crate) const ALL: &[&Key] = &[$($name),*];
    };
}

keys! {
    GOSSIP_ENABLED = "mesh.gossip.enabled", Flag, Some("true");
    NODE_ID = "mesh.gossip.nodeId", Text, None;
    CLUSTER_ID = "mesh.gossip.clusterId", Text, None;
    ROLE = "mesh.gossip.role", Text, None;
    REGION = "mesh.gossip.region", Text, Some("local");
    MESH_VERSION = "mesh.gossip.meshVersion", Text, Some(env!("CARGO_PKG_VERSION"));
    HTTP3_SUPPORT = "mesh.gossip.http3Support", Flag, Some("true");
    LABELS = "mesh.gossip.labels", Table, None;
    BIND_ADDRESS = "mesh.gossip.bindAddress", Text, Some("0.0.0.0");
    PORT = "mesh.gossip.port", Number, Some("17421");
    ADVERTISE_HOST = "mesh.gossip.advertiseHost", Text, None;
    ADVERTISE_PORT = "mesh.gossip.advertisePort", Number, None;
    SEED_PEERS = "mesh.gossip.seedPeers", List, Some("");
    INTERVAL = "mesh.gossip.interval", Text, Some("1s");
    FANOUT = "mesh.gossip.fanout", Number, Some("8");
    SUSPICION_INTERVAL = "mesh.gossip.suspicionInterval", Text, Some("5s");
    DEAD_AFTER = "mesh.gossip.deadAfter", Text, None;
    PING_TIMEOUT = "mesh.gossip.pingTimeout", Text, Some("2s");
    RETRANSMIT_LIMIT = "mesh.gossip.retransmitLimit", Number, Some("3");
    METADATA_REFRESH_PERIOD = "mesh.gossip.metadataRefreshPeriod", Text, Some("30s");
    MAX_LINKS = "mesh.gossip.maxLinks", Number, Some("72");
    IDLE_TIMEOUT = "mesh.gossip.idleTimeout", Text, Some("30s");
    REHANDSHAKE_WINDOW = "mesh.gossip.rehandshakeWindow", Text, Some("30s");
    CERTIFICATE_RELOAD_INTERVAL = "mesh.gossip.certificateReloadInterval", Text, Some("5m");
    CERTIFICATE = "mesh.gossip.tls.certificate", Path, None;
    PRIVATE_KEY = "mesh.gossip.tls.key", Path, None;
    TRUST_BUNDLE = "mesh.gossip.tls.trustBundle", Path, None;
    REVOCATION_LISTS = "mesh.gossip.tls.certificateRevocationList", Path, None;
    REFUSE_OVERDUE_LISTS = "mesh.gossip.tls.refuseOverdueRevocationLists", Flag, Some("false");
    CONTROL_ENABLED = "control.enabled", Flag, Some("true");
    CONTROL_ADDRESS = "control.address", Text, Some("127.0.0.1:17420");
    CONTROL_PLAINTEXT = "control.plaintext", Flag, Some("false");
    LOG_FORMAT = "log.format", Text, Some("text");
    LOG_FILTER = "log.filter", Text, Some("info");
    TRACES_ENDPOINT = "traces.endpoint", Text, None;
    TRACES_TRUST_BUNDLE = "traces.trustBundle", Path, None;
    TRACES_SAMPLE_RATIO = "traces.sampleRatio", Fraction, Some("1");
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
