//! What the credits of a pack may pay for, as it is stored with its payment.

use bursar_db::DbError;

use super::unreadable;
use crate::domain::Scope;

/// What is stored of a scope; nothing of one that is everything.
pub(super) fn write_scope(scope: &Scope) -> Result<Option<String>, DbError> {
    (!scope.is_any()).then(|| serde_json::to_string(scope)).transpose().map_err(unreadable)
}

/// The same from what is stored.
pub(super) fn read_scope(text: Option<&str>) -> Result<Scope, DbError> {
    text.map_or_else(|| Ok(Scope::default()), |text| serde_json::from_str(text).map_err(unreadable))
}
