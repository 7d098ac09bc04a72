//! Pictures of organizations, between the API's messages and what the use cases work with.

use bursar_proto::organization::v1::{GetAvatarResponse, SetAvatarRequest};
use bursar_rpc::{Problem, Violations};

use crate::store::avatars::AvatarRow;
use crate::usecase::{AvatarChange, Upload};

/// What is to become of the picture: nothing that is sent removes it.
pub(super) fn change(message: &SetAvatarRequest, violations: &mut Violations) -> Option<AvatarChange> {
    if message.content.is_empty() {
        return Some(AvatarChange::Remove);
    }
    violations.check("content", Upload::parse(&message.content)).map(AvatarChange::Draw)
}

/// How many pixels are asked for; `None` leaves it to us.
pub(super) fn size(pixels: i32) -> Result<Option<u32>, Problem> {
    match u32::try_from(pixels) {
        Ok(0) => Ok(None),
        Ok(pixels) => Ok(Some(pixels)),
        Err(_) => Err(Problem::invalid_field("size", "must not be negative")),
    }
}

/// The picture.
pub(super) fn picture(row: AvatarRow) -> GetAvatarResponse {
    GetAvatarResponse {
        not_modified: row.content.is_none(),
        content: row.content.unwrap_or_default(),
        media_type: row.media_type,
        etag: row.etag,
    }
}
