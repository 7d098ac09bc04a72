//! Routes that are set after somebody already holds the way to them.
//!
//! In one process the services know one another, so none can be finished first. Each gets a
//! [`super::Transport`] to the others at once; what it leads to is set when all are up.

use std::sync::{Arc, OnceLock};

use tonic::service::Routes;

/// Where the routes of a [`super::Transport::late`] are set, once.
#[derive(Clone, Debug, Default)]
pub struct LateRoutes(pub(super) Arc<OnceLock<Routes>>);

impl LateRoutes {
    /// Sets the routes; from now on calls arrive. Before, they answer `UNAVAILABLE`. `false` if they
    /// were set already, in which case nothing changes.
    pub fn set(&self, routes: Routes) -> bool {
        self.0.set(routes.prepare()).is_ok()
    }

    /// Whether the routes are set.
    pub fn is_set(&self) -> bool {
        self.0.get().is_some()
    }
}
