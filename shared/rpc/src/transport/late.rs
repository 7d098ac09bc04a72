//! Routes that are set after somebody already holds the way to them.
//!
//! In one process the services know one another, so none can be finished first. Each gets a
//! [`super::Transport`] to the others at once; what it leads to is set when all are up.

use std::sync::{Arc, PoisonError, RwLock};

use tonic::service::Routes;

/// Where the routes of a [`super::Transport::late`] are set, once.
#[derive(Clone, Debug, Default)]
pub struct LateRoutes(Arc<RwLock<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    Set(Routes),
    Closed,
}

impl LateRoutes {
    /// Sets the routes; from now on calls arrive. Before, they answer `UNAVAILABLE`. `false` if they
    /// were set or closed already, in which case nothing changes.
    pub fn set(&self, routes: Routes) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let waiting = matches!(*state, State::Waiting);
        if waiting {
            *state = State::Set(routes.prepare());
        }
        waiting
    }

    /// Lets go of the routes for good; calls answer `UNAVAILABLE` again. Services that know one another
    /// keep one another alive, and whatever ends with its last user never would: this opens the ring.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }

    pub(super) fn get(&self) -> Option<Routes> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            State::Set(routes) => Some(routes.clone()),
            State::Waiting | State::Closed => None,
        }
    }
}
