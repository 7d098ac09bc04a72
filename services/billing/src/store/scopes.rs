//! What the credits of a pack may pay for, as it is stored with its payment.

use std::collections::BTreeSet;

use bursar_db::DbError;
use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::domain::{ModelName, ProjectName, Scope};

/// What a scope is stored as.
#[derive(Default, Serialize, Deserialize)]
struct StoredScope {
    #[serde(default)]
    models: BTreeSet<String>,
    #[serde(default)]
    projects: BTreeSet<String>,
}

/// What is stored of a scope; nothing of one that is everything.
pub(super) fn write_scope(scope: &Scope) -> Result<Option<String>, DbError> {
    if scope.is_any() {
        return Ok(None);
    }
    let stored = StoredScope {
        models: scope.models().iter().map(|it| it.as_str().to_owned()).collect(),
        projects: scope.projects().iter().map(|it| it.as_str().to_owned()).collect(),
    };
    serde_json::to_string(&stored).map(Some).map_err(unreadable)
}

/// The same from what is stored.
pub(super) fn read_scope(text: Option<&str>) -> Result<Scope, DbError> {
    let Some(text) = text else { return Ok(Scope::default()) };
    let stored: StoredScope = serde_json::from_str(text).map_err(unreadable)?;
    let models: Result<Vec<_>, _> = stored.models.iter().map(|it| ModelName::parse(it)).collect();
    let projects: Result<Vec<_>, _> = stored.projects.iter().map(|it| ProjectName::parse(it)).collect();
    Scope::new(models.map_err(unreadable)?, projects.map_err(unreadable)?).map_err(unreadable)
}
