//! The control endpoint: members, metrics, health over mutual TLS.
//!
//! [`router`] answers from [`Ports`] and opens no socket; [`Server`] serves any router to clients that
//! prove who they are, over HTTP/3, HTTP/2 and HTTP/1.1 by `mesh-server`. It knows no gossip, no exporter and no key: the
//! ports bring snapshots and text, a `CredentialSource` the certificates. Plain HTTP is served on loopback only.
//!
//! | route | answer |
//! |---|---|
//! | `GET /control/peers[?status=][&role=]`, also below `/omnirelay` | members, the local one first |
//! | `GET /control/labels`, also below `/omnirelay` | labels of the local node |
//! | `POST /control/labels` of `{"nodeId":"…","labels":{"set":"value","remove":null}}` | the same, changed; for operators and the node itself |
//! | `GET`, `POST /control/lifecycle` of `{"nodeId":"…","lifecycle":"draining"}`, also below `/omnirelay` | what work the local node takes |
//! | `GET /control/upgrade`, `POST /control/upgrade/drain`, `…/resume`, also below `/omnirelay` | how far the local node is emptied |
//! | `GET`, `POST /omnirelay/control/logging` and `…/tracing` | what is logged, and which traces are kept |
//! | `GET /omnirelay/control/lease-health[?peer=][&state=][&limit=][&cursor=]` | health and leases of peers, with an `ETag` |
//! | `GET /metrics` | Prometheus text, version 0.0.4 |
//! | `GET /healthz` | 200 while the process answers at all |
//! | `GET /readyz` | 200, or 503 with the issues while it must not get work |

mod clock;
mod directives;
mod drain;
mod error;
mod known;
mod labels;
mod lease_health;
mod lifecycle;
mod limits;
mod own_node;
mod peers;
mod plain;
mod routes;
mod security;
mod server;
mod toggles;
mod upgrade;

pub use drain::{Drain, DrainHandle, Workload};
pub use labels::{ChangeLabels, LabelChanges, LabelsFuture, LabelsRefused};
pub use lifecycle::{ChangeLifecycle, LifecycleFuture, LifecycleRefused};
pub use limits::Limits;
pub use peer_health::Readiness;
pub use routes::{PeerCalls, Ports, router};
pub use security::{PeerName, Security};
pub use server::{BindError, Server};
pub use toggles::Toggle;
