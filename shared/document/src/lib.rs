//! Documents: JSON objects within bounds. What items of libraries carry, and what people prefer.
//!
//! What lives here: the bounds, and taking a document apart. What must not: what a document has to say (a kind's schema is
//! organization's), how the API and the stores have it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The longest document as JSON text, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// How deep a document may be: objects and lists within one another. The wire takes hardly more.
pub const MAX_DEPTH: usize = 30;
/// The most values in a document, over all levels.
pub const MAX_VALUES: usize = 10_000;

/// A document within bounds, with what is secret in it.
#[derive(Clone, Default, PartialEq)]
pub struct Document(Map<String, Value>);

/// Never what is in it: there may be secrets.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Document").field(&self.0.len()).finish()
    }
}

/// Why a document is out of bounds; a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is too long.
    #[error("is longer than {MAX_BYTES} bytes of JSON")]
    TooLong,
    /// It is too deep.
    #[error("is deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It has too many values.
    #[error("has more than {MAX_VALUES} values")]
    TooMany,
    /// It has a value that JSON has not.
    #[error("has a value that is none, or a number that is not finite")]
    NoJson,
}

impl Document {
    /// A document, if it is within bounds.
    pub fn new(fields: Map<String, Value>) -> Result<Self, DocumentError> {
        let whole = Value::Object(fields);
        if depth(&whole) > MAX_DEPTH {
            return Err(DocumentError::TooDeep);
        }
        if count(&whole) > MAX_VALUES {
            return Err(DocumentError::TooMany);
        }
        if whole.to_string().len() > MAX_BYTES {
            return Err(DocumentError::TooLong);
        }
        match whole {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(DocumentError::NoJson),
        }
    }

    /// Its fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Its fields, for whoever keeps them.
    pub fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// What is shown of it, and what is secret.
    pub fn split(self, secret: &BTreeSet<String>) -> (Map<String, Value>, Map<String, Value>) {
        self.0.into_iter().partition(|(name, _)| !secret.contains(name))
    }
}

/// As JSON: what is stored of it.
impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| std::fmt::Error)?;
        f.write_str(&text)
    }
}

/// How many objects and lists stand within one another.
pub fn depth(value: &Value) -> usize {
    let inside = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + inside.unwrap_or_default()
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Result<Document, DocumentError> {
        let Value::Object(fields) = value else { panic!("an object") };
        Document::new(fields)
    }

    #[test]
    fn documents_are_bounded_in_every_way() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "in": inner }));
        for (document, expected) in [
            (json!({}), None),
            (nested(MAX_DEPTH), None),
            (nested(MAX_DEPTH + 1), Some(DocumentError::TooDeep)),
            (json!({ "list": vec![0; MAX_VALUES - 2] }), None),
            (json!({ "list": vec![0; MAX_VALUES - 1] }), Some(DocumentError::TooMany)),
            (json!({ "text": "x".repeat(MAX_BYTES - 11) }), None),
            (json!({ "text": "x".repeat(MAX_BYTES - 10) }), Some(DocumentError::TooLong)),
            (json!({ "text": "\u{1}".repeat(MAX_BYTES / 6) }), Some(DocumentError::TooLong)),
        ] {
            assert_eq!(of(document).err(), expected);
        }
    }

    #[test]
    fn what_is_secret_is_split_off_and_never_shown() {
        let document = of(json!({"url": "x", "token": "s3cret", "in": {"token": "shown"}})).expect("good");
        assert!(!format!("{document:?}").contains("s3cret"));
        let (shown, secret) = document.split(&["token".to_owned(), "none".to_owned()].into());
        assert_eq!(Value::Object(shown), json!({"url": "x", "in": {"token": "shown"}}));
        assert_eq!(Value::Object(secret), json!({"token": "s3cret"}));
    }
}
