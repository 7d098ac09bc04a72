//! Documents between what is asked, what is stored and what is answered: what is secret is sealed, and bound to its item.

use std::collections::BTreeSet;

use bursar_db::DbError;
use bursar_document::Document;
use bursar_id::ItemId;
use bursar_rpc::{Problem, Violations};
use serde_json::{Map, Value};

use super::super::Organization;
use super::{Content, Item};
use crate::Error;
use crate::domain::item;
use crate::domain::kind::Kind;
use crate::store::items::ItemRow;

/// How many violations of a schema are looked for: as many as are told, and one more.
const VIOLATIONS: usize = 9;

impl Organization {
    /// An item as it is answered. What the deployment calls secret by now is not shown, even if it was not when it was
    /// written.
    pub(in crate::usecase) fn shown(&self, row: ItemRow) -> Result<Item, Error> {
        let mut document = object(&row.document)?;
        let mut secrets_set: BTreeSet<String> = names(&row.secrets_set).map(str::to_owned).collect();
        if let Some(kind) = self.0.kinds.get(&row.kind) {
            secrets_set.extend(kind.secret_fields.iter().filter(|field| document.remove(*field).is_some()).cloned());
        }
        let content = match (row.sha256, row.size, row.media_type) {
            (Some(sha256), Some(size), Some(media_type)) => Some(Content { size, media_type, sha256 }),
            _ => None,
        };
        Ok(Item {
            id: row.id,
            owner: row.owner,
            kind: row.kind,
            name: row.name,
            document,
            parent: row.parent,
            project: row.project,
            content,
            secrets_set: secrets_set.into_iter().collect(),
            created_by: row.created_by,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }

    /// Puts a document into a row, with what the row has of secrets already; refused when the kind's schema is broken by the
    /// two together.
    pub(super) fn fill(&self, row: &mut ItemRow, kind: &Kind, document: Document) -> Result<(), Error> {
        let sealed = self.opened(row)?;
        let mut secrets = self.secrets(row)?;
        let (shown, given) = document.split(&kind.secret_fields);
        secrets.extend(given);
        secrets.retain(|_, value| !value.is_null());
        check(kind, &shown, &secrets)?;
        row.document = Value::Object(shown).to_string();
        row.secrets_set = secrets.keys().map(String::as_str).collect::<Vec<_>>().join(",");
        // What is the same stays sealed as it is: sealed anew it would be another change.
        if secrets != sealed {
            row.secrets = (!secrets.is_empty()).then(|| {
                let clear = Value::Object(secrets).to_string();
                self.0.sealer.seal(&self.0.entropy, clear.as_bytes(), &bound_to(row.id))
            });
        }
        row.bytes = item::bytes(row.document.len(), row.secrets.as_ref().map_or(0, Vec::len));
        Ok(())
    }

    /// Takes everything secret out of a row, for a copy.
    pub(super) fn strip(&self, row: &mut ItemRow) -> Result<(), Error> {
        let mut document = object(&row.document)?;
        if let Some(kind) = self.0.kinds.get(&row.kind) {
            document.retain(|name, _| !kind.secret_fields.contains(name));
        }
        row.document = Value::Object(document).to_string();
        (row.secrets, row.secrets_set) = (None, String::new());
        row.bytes = item::bytes(row.document.len(), 0);
        Ok(())
    }

    /// What is secret in a row, what has become so since it was written included.
    pub(super) fn secrets(&self, row: &ItemRow) -> Result<Map<String, Value>, Error> {
        let mut secrets = self.opened(row)?;
        if let Some(kind) = self.0.kinds.get(&row.kind) {
            let document = object(&row.document)?;
            secrets.extend(document.into_iter().filter(|(name, _)| kind.secret_fields.contains(name)));
        }
        Ok(secrets)
    }

    /// What is sealed in a row.
    fn opened(&self, row: &ItemRow) -> Result<Map<String, Value>, Error> {
        let Some(sealed) = &row.secrets else { return Ok(Map::new()) };
        let clear = self.0.sealer.open(sealed, &bound_to(row.id));
        let clear = clear.map_err(|_| Error::Internal("an item's secrets do not open with the master key"))?;
        serde_json::from_slice(clear.expose()).map_err(|_| Error::Internal("an item's secrets are no JSON"))
    }
}

/// What sealed secrets are bound to: moved into another row they do not open.
fn bound_to(id: ItemId) -> Vec<u8> {
    format!("items {id}").into_bytes()
}

/// The object in a stored document; an empty text is an empty one.
fn object(text: &str) -> Result<Map<String, Value>, Error> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|_| Error::Store(DbError::corrupt("an item's document is no JSON object")))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|name| !name.is_empty())
}

/// Holds a document with its secrets against the kind's schema.
fn check(kind: &Kind, shown: &Map<String, Value>, secrets: &Map<String, Value>) -> Result<(), Problem> {
    let Some(schema) = &kind.schema else { return Ok(()) };
    let whole = shown.iter().chain(secrets).map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut violations = Violations::new();
    for (path, what) in schema.violations(&Value::Object(whole), VIOLATIONS) {
        violations.add(&format!("document{}", path.replace('/', ".")), what);
    }
    violations.finish()
}
