//! Short spellings of values for tests. Each panics where its text is malformed.

use bursar_id::{Id, OwnerId};
use bursar_money::Credits;
use bursar_time::{Clock, Timestamp};

/// The noon at which [`clock`] starts: 2026-01-15.
pub const START: &str = "2026-01-15T12:00:00Z";

/// The `n`-th id of a kind: always the same one, and different for each `n`.
///
/// ```
/// # use bursar_id::UserId;
/// # use bursar_testkit::id;
/// let ana: UserId = id(1);
/// assert_eq!(ana, id(1));
/// assert_ne!(ana, id(2));
/// ```
pub fn id<K>(n: u64) -> Id<K> {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    Id::from_parts(at(START).as_millis(), random)
}

/// The personal context of the `n`-th user.
pub fn personal(n: u64) -> OwnerId {
    OwnerId::User(id(n))
}

/// The context of the `n`-th organization.
pub fn organization(n: u64) -> OwnerId {
    OwnerId::Organization(id(n))
}

/// A time from its RFC 3339 text, for example `2026-01-31T00:00:00Z`.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("`{text}` is no time: {error}"))
}

/// Credits from their decimal text, for example `12.5`.
pub fn credits(text: &str) -> Credits {
    text.parse().unwrap_or_else(|error| panic!("`{text}` are no credits: {error}"))
}

/// A test clock that shows [`START`].
pub fn clock() -> Clock {
    Clock::test(at(START))
}
