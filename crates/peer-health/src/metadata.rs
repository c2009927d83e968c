//! What is written beside a peer: keys that ignore case, and keep the spelling they were given.

use std::fmt;
use std::mem;
use std::sync::OnceLock;

use crate::json::Json;

/// The keys that dashboards and scripts know.
pub mod keys {
    /// What kind of thing the peer's lease is for.
    pub const RESOURCE_TYPE: &str = "resource.type";
    /// Which one.
    pub const RESOURCE_ID: &str = "resource.id";
    /// How much work waits for it.
    pub const PENDING_COUNT: &str = "pending.count";
    /// Why the peer was last disconnected.
    pub const DISCONNECT_REASON: &str = "disconnect.reason";
    /// What the node is for.
    pub const MESH_ROLE: &str = "mesh.role";
    /// Its cluster.
    pub const MESH_CLUSTER: &str = "mesh.cluster";
    /// Where it runs.
    pub const MESH_REGION: &str = "mesh.region";
    /// Version of OmniRelay it runs.
    pub const MESH_VERSION: &str = "mesh.version";
    /// Whether it serves HTTP/3: `true` or `false`.
    pub const MESH_HTTP3: &str = "mesh.http3";
    /// Before the name of an operator's label.
    pub const LABEL_PREFIX: &str = "label.";
    /// Before the name of a leadership scope; the value is `leader` or `follower`.
    pub const LEADER_SCOPE_PREFIX: &str = "mesh.leader.scope.";
}

/// Keys and values in the order in which they first came.
///
/// Two keys that differ in case only are one: its value changes, its place and first spelling stay.
#[derive(Clone, Default)]
pub struct Metadata {
    /// Keys and values, one behind the other: each peer has some, and a block of memory a text would be several times as much.
    text: String,
    /// Where each ends: a key, its value, the next key, and so on.
    ends: Vec<u32>,
    /// How documents show it, once one has: it is shown far more often than it changes.
    json: OnceLock<Box<[u8]>>,
}

impl Metadata {
    /// Longest key, in bytes.
    pub const MAX_KEY_BYTES: usize = 128;
    /// Longest value, in bytes.
    pub const MAX_VALUE_BYTES: usize = 512;

    /// Returns the value of `key`, in whatever case it is written.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| same_key(known, key)).map(|(_, value)| value)
    }

    /// Sets `key`, and returns whether anything is different now.
    pub fn set(&mut self, key: &str, value: &str) -> bool {
        let known = self.iter().position(|(known, _)| same_key(known, key));
        match known {
            Some(place) if self.part(2 * place + 1) == value => false,
            Some(place) => {
                let old = mem::take(self);
                for (index, (spelling, other)) in old.iter().enumerate() {
                    self.push(spelling, if index == place { value } else { other });
                }
                true
            }
            None => {
                self.push(key, value);
                true
            }
        }
    }

    /// Keeps the entries whose key passes, and returns whether any had to go.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> bool {
        let old = mem::take(self);
        for (key, value) in old.iter().filter(|(key, _)| keep(key)) {
            self.push(key, value);
        }
        self.len() != old.len()
    }

    /// Returns the entries in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|place| (self.part(2 * place), self.part(2 * place + 1)))
    }

    /// Gives back the memory that more entries would have gone into.
    pub(crate) fn settle(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn push(&mut self, key: &str, value: &str) {
        self.json.take();
        for part in [key, value] {
            self.text.push_str(part);
            // Far from there: a tracker keeps keys and values to their bounds, and their number.
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }

    /// Returns a key, if the place is even, or a value.
    fn part(&self, place: usize) -> &str {
        let end = |of: usize| self.ends.get(of).map_or(0, |end| *end as usize);
        let start = place.checked_sub(1).map_or(0, end);
        self.text.get(start..end(place)).unwrap_or_default()
    }

    /// Returns the entries as a JSON object.
    pub(crate) fn json(&self) -> &[u8] {
        self.json.get_or_init(|| {
            let mut json = Json::default();
            let mut before = "{";
            for (key, value) in self.iter() {
                json.raw(before);
                json.text(key);
                json.raw(":");
                json.text(value);
                before = ",";
            }
            json.raw(if self.is_empty() { "{}" } else { "}" });
            json.finish().into()
        })
    }

    /// Returns how many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Returns whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends && self.text == other.text
    }
}

impl Eq for Metadata {}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut metadata = Self::default();
        for (key, value) in entries {
            metadata.set(key.as_ref(), value.as_ref());
        }
        metadata
    }
}

pub(crate) fn same_key(a: &str, b: &str) -> bool {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && !b.is_ascii() && lower(a) == lower(b))
}

/// Returns whether `key` begins with `prefix`, in whatever case.
pub(crate) fn has_prefix(key: &str, prefix: &str) -> bool {
    key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ignore_case_and_keep_their_first_spelling_and_place() {
        let mut metadata: Metadata = [("Mesh.Role", "worker"), ("label.Größe", "7")].into_iter().collect();
        assert_eq!((metadata.get("mesh.ROLE"), metadata.get("LABEL.GRÖSSE")), (Some("worker"), None));
        assert_eq!(metadata.get("LABEL.GRÖßE"), Some("7"));
        assert!(metadata.set("MESH.role", "gateway"));
        assert!(!metadata.set("mesh.role", "gateway"));
        let entries: Vec<_> = metadata.iter().collect();
        assert_eq!(entries, [("Mesh.Role", "gateway"), ("label.Größe", "7")]);
        assert!(metadata.retain(|key| !has_prefix(key, "LABEL.")));
        assert_eq!((metadata.len(), metadata.is_empty()), (1, false));
    }

    #[test]
    fn entries_are_written_as_they_are_after_each_change() {
        let mut metadata = Metadata::default();
        assert_eq!(metadata.json(), b"{}");
        metadata.set("a", "1");
        assert_eq!(metadata.json(), br#"{"a":"1"}"#);
        metadata.set("A", "2");
        assert_eq!(metadata.json(), br#"{"a":"2"}"#);
        metadata.set("b", "\"");
        assert_eq!(metadata.json(), br#"{"a":"2","b":"\""}"#);
        metadata.retain(|key| key == "b");
        assert_eq!(metadata.clone().json(), br#"{"b":"\""}"#);
    }
}
