//! Looking at what only few of an owner's may see. Whoever belongs there and is refused it by role is known afterwards: the audit
//! log hears of it, of many such looks in an hour once ([`Mutations::refused_look`]).

use bursar_events::Outbox;
use bursar_id::OwnerId;
use bursar_rpc::{Call, Mutations};

use super::access::{Access, Allowed};
use crate::error::Error;

/// Lets in who may look.
#[derive(Clone)]
pub(crate) struct Viewing {
    access: Access,
    mutations: Mutations<Outbox>,
}

impl Viewing {
    /// By what is known of memberships and policies; refusals are told by these mutations.
    pub(crate) fn new(access: Access, mutations: Mutations<Outbox>) -> Self {
        Self { access, mutations }
    }

    /// May the caller look at what the RPC shows of `owner`'s account?
    pub(crate) async fn to(&self, call: &Call, owner: OwnerId) -> Result<Allowed, Error> {
        self.told(call, owner, self.access.to(call.caller(), owner).await).await
    }

    /// Has the audit log hear of a look that the role did not allow. Nobody is told so who does not belong to `owner`.
    pub(crate) async fn told<T>(&self, call: &Call, owner: OwnerId, looked: Result<T, Error>) -> Result<T, Error> {
        match looked {
            Err(error @ Error::RoleNotAllowed) => Err(self.mutations.refused_look(call, owner, error).await),
            looked => looked,
        }
    }
}
