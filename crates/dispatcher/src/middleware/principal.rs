//! Who calls, by its certificate.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::SpiffeId;
use mesh_server::PeerIdentity;
use mesh_types::Role;
use tonic::Code;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::middleware::Around;
use crate::status::Status;

/// Who calls, as its certificate says. Handlers find it among the extensions of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub SpiffeId);

/// Finds out who calls, and lets in only those who may. Headers say nothing about that: only certificates do.
///
/// Calls of this node's own applications come by a local listener and have no certificate: they are nobody's.
#[derive(Debug, Clone)]
pub struct Principals {
    allowed: Allowed,
}

#[derive(Debug, Clone)]
enum Allowed {
    Anybody,
    Certified,
    Roles(Arc<BTreeSet<Role>>),
}

impl Principals {
    /// Lets everybody in, and tells handlers who it is if that is known.
    #[must_use]
    pub const fn known() -> Self {
        Self { allowed: Allowed::Anybody }
    }

    /// Lets in whoever has shown a certificate; others are `unauthenticated`.
    #[must_use]
    pub const fn certified() -> Self {
        Self { allowed: Allowed::Certified }
    }

    /// Lets in nodes of these roles; others are refused as `permission-denied`.
    #[must_use]
    pub fn of_roles(roles: impl IntoIterator<Item = Role>) -> Self {
        Self { allowed: Allowed::Roles(Arc::new(roles.into_iter().collect())) }
    }

    fn admit(&self, principal: Option<&Principal>) -> Result<(), Status> {
        let Some(Principal(id)) = principal else {
            return match self.allowed {
                Allowed::Anybody => Ok(()),
                Allowed::Certified | Allowed::Roles(_) => {
                    Err(Status::new(Code::Unauthenticated, "the caller has shown no certificate"))
                }
            };
        };
        match &self.allowed {
            Allowed::Roles(roles) if !roles.contains(id.role()) => {
                let text = format!("role `{}` may not call this procedure", id.role());
                Err(Status::new(Code::PermissionDenied, text))
            }
            Allowed::Anybody | Allowed::Certified | Allowed::Roles(_) => Ok(()),
        }
    }
}

impl Around for Principals {
    async fn around(self, mut call: Call, next: Handler) -> Result<Reply, Status> {
        let principal = call.extensions.get::<PeerIdentity>().map(|peer| Principal(peer.spiffe_id().clone()));
        self.admit(principal.as_ref())?;
        if let Some(principal) = principal {
            call.extensions.insert(principal);
        }
        next.oneshot(call).await
    }
}
