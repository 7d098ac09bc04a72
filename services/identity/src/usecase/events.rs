//! The events that tell of users.

use bursar_id::UserId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{UserDeleted, UserStandingChanged, UserStaying, UserUpdated};

/// A user is called this.
pub(super) fn updated(id: UserId, display_name: String) -> Payload {
    Payload::UserUpdated(UserUpdated { user_id: id.to_string(), display_name })
}

/// A user deleted the account.
pub(super) fn deleted(id: UserId) -> Payload {
    Payload::UserDeleted(UserDeleted { user_id: id.to_string() })
}

/// A user is suspended, or not any more.
pub(super) fn standing(id: UserId, suspended: bool, version: i64) -> Payload {
    let version = version.unsigned_abs();
    Payload::UserStandingChanged(UserStandingChanged { user_id: id.to_string(), suspended, version })
}

/// A user who was about to delete the account stays; this departure is over.
pub(super) fn staying(id: UserId, number: i64) -> Payload {
    Payload::UserStaying(UserStaying { user_id: id.to_string(), number: number.unsigned_abs() })
}
