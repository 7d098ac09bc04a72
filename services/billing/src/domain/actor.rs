//! Actors: who made an entry, as opposed to the member for whom it was made.
//!
//! Authority follows the actor, never the member: power over holds and refunds belongs to the product's services,
//! and a user's own token reaches only what that user's tokens placed.

use bursar_id::{ApiKeyId, ServiceAccountId, SessionId, UserId};

use super::codec::{Malformed, Reader, Writer};

/// Who acts. Stored with every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A user, by an access token of the user's own.
    User {
        /// The user.
        user: UserId,
        /// The session the token belongs to.
        session: SessionId,
    },
    /// A service of the product, for itself. It names the member.
    Service {
        /// The service account.
        service: ServiceAccountId,
    },
    /// A service that hands on a user's token: the user's context and membership must hold, but the power is the
    /// service's.
    ServiceOnBehalf {
        /// The service account.
        service: ServiceAccountId,
        /// The user it acts for.
        user: UserId,
        /// The session of the user's token.
        session: SessionId,
    },
    /// An API key, which has its maker's context and at most its maker's power.
    ApiKey {
        /// The key.
        key: ApiKeyId,
        /// Its maker.
        user: UserId,
    },
    /// An operator with a token issued to act as a user (`act`): the user's power and both names.
    OperatorOnBehalf {
        /// The operator's service account.
        operator: ServiceAccountId,
        /// The user it acts as.
        user: UserId,
        /// The session of the token.
        session: SessionId,
    },
    /// The program itself: what falls due, renewals, departures.
    Job,
}

/// The stored numbers of the kinds; never renumbered.
mod tag {
    pub(super) const USER: u8 = 1;
    pub(super) const SERVICE: u8 = 2;
    pub(super) const SERVICE_ON_BEHALF: u8 = 3;
    pub(super) const API_KEY: u8 = 4;
    pub(super) const OPERATOR_ON_BEHALF: u8 = 5;
    pub(super) const JOB: u8 = 6;
}

impl Actor {
    /// The user by whose own authority it is done: by a token or a key of the user's, or by an operator in the
    /// user's place. `None` for services, whose authority is their own, and for the program.
    pub fn as_user(&self) -> Option<UserId> {
        match self {
            Self::User { user, .. } | Self::ApiKey { user, .. } | Self::OperatorOnBehalf { user, .. } => Some(*user),
            Self::Service { .. } | Self::ServiceOnBehalf { .. } | Self::Job => None,
        }
    }

    /// Whether it may settle a hold that `placer` placed: services and the program any, a user those that this
    /// user's own tokens placed.
    pub fn may_settle(&self, placer: &Self) -> bool {
        self.as_user().is_none_or(|user| placer.as_user() == Some(user))
    }

    /// The API key it acts with.
    pub fn key(&self) -> Option<ApiKeyId> {
        match self {
            Self::ApiKey { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// Whose request ids these are: the service account, with or without a user, else the user.
    pub(super) fn write_scope(&self, out: &mut Writer) {
        match self {
            Self::User { user, .. } | Self::ApiKey { user, .. } => {
                out.byte(tag::USER);
                out.id(*user);
            }
            Self::Service { service: account }
            | Self::ServiceOnBehalf { service: account, .. }
            | Self::OperatorOnBehalf { operator: account, .. } => {
                out.byte(tag::SERVICE);
                out.id(*account);
            }
            Self::Job => out.byte(tag::JOB),
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        match *self {
            Self::User { user, session } => {
                out.byte(tag::USER);
                out.id(user);
                out.id(session);
            }
            Self::Service { service } => {
                out.byte(tag::SERVICE);
                out.id(service);
            }
            Self::ServiceOnBehalf { service, user, session } => {
                out.byte(tag::SERVICE_ON_BEHALF);
                out.id(service);
                out.id(user);
                out.id(session);
            }
            Self::ApiKey { key, user } => {
                out.byte(tag::API_KEY);
                out.id(key);
                out.id(user);
            }
            Self::OperatorOnBehalf { operator, user, session } => {
                out.byte(tag::OPERATOR_ON_BEHALF);
                out.id(operator);
                out.id(user);
                out.id(session);
            }
            Self::Job => out.byte(tag::JOB),
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        const FIELD: &str = "actor";
        Ok(match input.byte(FIELD)? {
            tag::USER => Self::User { user: input.id(FIELD)?, session: input.id(FIELD)? },
            tag::SERVICE => Self::Service { service: input.id(FIELD)? },
            tag::SERVICE_ON_BEHALF => {
                Self::ServiceOnBehalf { service: input.id(FIELD)?, user: input.id(FIELD)?, session: input.id(FIELD)? }
            }
            tag::API_KEY => Self::ApiKey { key: input.id(FIELD)?, user: input.id(FIELD)? },
            tag::OPERATOR_ON_BEHALF => {
                Self::OperatorOnBehalf { operator: input.id(FIELD)?, user: input.id(FIELD)?, session: input.id(FIELD)? }
            }
            tag::JOB => Self::Job,
            _ => return Err(Malformed(FIELD)),
        })
    }
}
