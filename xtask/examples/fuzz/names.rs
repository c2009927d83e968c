//! Names and addresses as text: what is read is written back the same.

use std::fmt::Display;
use std::str::FromStr;

use identity::{SpiffeId, TrustDomain};
use mesh_types::{ClusterId, Endpoint, NodeId, NodeLifecycle, Region, Role};

/// Returns what to start from, all of which is accepted.
pub(crate) fn corpus() -> Vec<Vec<u8>> {
    let texts = [
        "spiffe://mesh.example/cluster/alpha/role/worker/node/node-a",
        "mesh.example",
        "10.0.0.2:17421",
        "[2001:db8::1]:17421",
        "node-a.mesh:17421",
        "node-a",
        "draining",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Reads `data` as all that comes as text, and says what became of it.
pub(crate) fn take(data: &[u8]) -> &'static str {
    let Ok(text) = str::from_utf8(data) else { return "no text" };
    let is_read = [
        reads::<SpiffeId>(text),
        reads::<TrustDomain>(text),
        reads::<Endpoint>(text),
        reads::<NodeId>(text),
        reads::<ClusterId>(text),
        reads::<Region>(text),
        reads::<Role>(text),
        NodeLifecycle::from_str(text).is_ok_and(|lifecycle| lifecycle.as_str() == text),
    ];
    if is_read.contains(&true) { "accepted" } else { "refused" }
}

fn reads<T: FromStr + Display + PartialEq>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    let again = value.to_string().parse::<T>();
    assert!(again.is_ok_and(|again| again == value), "what is read of {text:?} is not read again: {value}");
    true
}
