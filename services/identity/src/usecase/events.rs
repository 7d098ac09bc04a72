//! The events that tell of users.

use bursar_id::UserId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{UserDeleted, UserUpdated};

/// A user is called this.
pub(super) fn updated(id: UserId, display_name: String) -> Payload {
    Payload::UserUpdated(UserUpdated { user_id: id.to_string(), display_name })
}

/// A user deleted the account.
pub(super) fn deleted(id: UserId) -> Payload {
    Payload::UserDeleted(UserDeleted { user_id: id.to_string() })
}
