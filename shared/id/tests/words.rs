//! Roles and request ids.

use bursar_id::{RequestId, RequestIdError, Role, RoleError};
use proptest::prelude::*;

#[test]
fn roles_are_ordered_and_named() {
    assert!(Role::Owner > Role::Admin && Role::Admin > Role::Member);
    assert_eq!(Role::ALL, [Role::Owner, Role::Admin, Role::Member]);
    for (role, name) in Role::ALL.into_iter().zip(["OWNER", "ADMIN", "MEMBER"]) {
        assert_eq!(role.to_string(), name);
        assert_eq!(name.parse(), Ok(role));
        assert_eq!(serde_json::to_value(role).unwrap(), name);
        assert_eq!(serde_json::from_value::<Role>(name.into()).unwrap(), role);
    }
    for wrong in ["", "owner", "Owner", "OWNER ", "ROLE_OWNER", "GUEST"] {
        assert_eq!(wrong.parse::<Role>(), Err(RoleError), "{wrong:?}");
    }
}

#[test]
fn request_ids_are_short_and_printable() {
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let wide = "\u{e9}".repeat(65); // 130 bytes in 65 characters
    let cases = [
        ("a", Ok(())),
        ("01890a5d-ac96-774b-bcce-b302099a8057", Ok(())),
        ("order 17 / Gr\u{fc}\u{df}e \u{1f44b}", Ok(())),
        (&longest, Ok(())),
        ("", Err(RequestIdError::Empty)),
        (&too_long, Err(RequestIdError::TooLong)),
        (&wide, Err(RequestIdError::TooLong)),
        ("a\nb", Err(RequestIdError::ControlCharacter)),
        ("a\0", Err(RequestIdError::ControlCharacter)),
        ("\u{7f}", Err(RequestIdError::ControlCharacter)),
        ("\u{85}", Err(RequestIdError::ControlCharacter)),
    ];
    for (text, expected) in cases {
        assert_eq!(RequestId::parse(text).map(|_| ()), expected, "{text:?}");
        assert_eq!(serde_json::from_value::<RequestId>(text.into()).is_ok(), expected.is_ok(), "{text:?}");
    }
}

proptest! {
    /// Compared byte by byte: nothing is trimmed, folded or normalized.
    #[test]
    fn request_ids_keep_their_text(text in ".{0,140}") {
        if let Ok(id) = RequestId::parse(text.as_str()) {
            prop_assert_eq!(id.as_str(), text.as_str());
            prop_assert_eq!(id.to_string(), text.as_str());
            prop_assert_eq!(String::from(id), text);
        }
    }
}
