//! JSON Schemas of kinds: bounded, whole in themselves, and such that validating a document ends.
//!
//! Nothing is ever fetched: references lead into the schema itself. Patterns are those of an engine whose time is linear.

use std::collections::BTreeSet;

use bursar_document::depth;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// The longest schema, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How deep a schema may be.
const MAX_DEPTH: usize = 30;
/// The most memory of one compiled pattern, in bytes.
const MAX_PATTERN: usize = 1024 * 1024;
/// How much is told of one violation, in bytes.
const MAX_TOLD: usize = 200;

/// A JSON Schema.
#[derive(Clone, Debug)]
pub struct Schema {
    value: Value,
    validator: Validator,
}

/// Why a text is no schema that documents can be held to; a sentence without its subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is too long.
    #[error("is too long: {0} of at most {MAX_BYTES} bytes")]
    TooLong(usize),
    /// It is no JSON.
    #[error("is no JSON: {0}")]
    NoJson(String),
    /// It is JSON, but no object.
    #[error("must be a JSON object")]
    NoObject,
    /// It is too deep.
    #[error("is deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// It refers to something else than a part of itself.
    #[error("refers to {0:?}; references must lead into the schema itself (#/…)")]
    Remote(String),
    /// Validating would never end.
    #[error("{0:?} leads back to itself without going deeper into a document")]
    Endless(String),
    /// It is no JSON Schema.
    #[error("is no JSON Schema: {0}")]
    NoSchema(String),
}

impl Schema {
    /// Reads a schema.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_BYTES {
            return Err(SchemaError::TooLong(text.len()));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| SchemaError::NoJson(error.to_string()))?;
        if !value.is_object() {
            return Err(SchemaError::NoObject);
        }
        if depth(&value) > MAX_DEPTH {
            return Err(SchemaError::TooDeep);
        }
        let mut references = BTreeSet::new();
        collect_references(&value, &mut references)?;
        for start in std::iter::once("#").chain(references.iter().map(String::as_str)) {
            Walk { root: &value, open: BTreeSet::new(), done: BTreeSet::new() }.from(start)?;
        }
        let patterns = PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
        let validator = jsonschema::options().offline().with_pattern_options(patterns).build(&value);
        let validator = validator.map_err(|error| SchemaError::NoSchema(cut(&error.to_string())))?;
        Ok(Self { value, validator })
    }

    /// The schema.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where and how a document breaks the schema, at most `limit` times: a path (`/a/0`, empty for the document itself) and
    /// a sentence that quotes nothing from the document, in which there may be secrets.
    pub fn violations(&self, document: &Value, limit: usize) -> Vec<(String, String)> {
        let told = |error: jsonschema::ValidationError<'_>| {
            (cut(&error.instance_path().to_string()), cut(&error.masked().to_string()))
        };
        self.validator.iter_errors(document).take(limit).map(told).collect()
    }
}

fn cut(text: &str) -> String {
    let end = (0..=MAX_TOLD.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// Notes every reference, wherever it stands; refuses what leads out of the schema.
fn collect_references(value: &Value, found: &mut BTreeSet<String>) -> Result<(), SchemaError> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| collect_references(item, found)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let text = field.as_str();
            match (name.as_str(), text) {
                // One spelling of each place, without percent signs, so that the walk finds what the compiler finds.
                ("$ref", Some(text)) if text == "#" || text.starts_with("#/") && !text.contains('%') => {
                    found.insert(text.to_owned());
                    Ok(())
                }
                // Whatever moves what references mean.
                ("$ref" | "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor", Some(text)) => {
                    Err(SchemaError::Remote(cut(text)))
                }
                _ => collect_references(field, found),
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A walk along everything that is held against one and the same value: references and what combines schemas. If it comes
/// back to where it was, validating never ends.
struct Walk<'a> {
    root: &'a Value,
    open: BTreeSet<String>,
    done: BTreeSet<String>,
}

impl Walk<'_> {
    fn from(&mut self, reference: &str) -> Result<(), SchemaError> {
        if self.done.contains(reference) {
            return Ok(());
        }
        if !self.open.insert(reference.to_owned()) {
            return Err(SchemaError::Endless(cut(reference)));
        }
        // What leads nowhere is refused by the compiler.
        let pointer = reference.trim_start_matches('#');
        if let Some(target) = self.root.pointer(pointer) {
            self.through(target)?;
        }
        self.open.remove(reference);
        self.done.insert(reference.to_owned());
        Ok(())
    }

    fn through(&mut self, schema: &Value) -> Result<(), SchemaError> {
        let Some(fields) = schema.as_object() else { return Ok(()) };
        for (name, field) in fields {
            match (name.as_str(), field) {
                ("$ref", Value::String(reference)) => self.from(reference)?,
                ("not" | "if" | "then" | "else", inner) => self.through(inner)?,
                ("allOf" | "anyOf" | "oneOf", Value::Array(inner)) => {
                    inner.iter().try_for_each(|it| self.through(it))?;
                }
                ("dependentSchemas" | "dependencies", Value::Object(inner)) => {
                    inner.values().try_for_each(|it| self.through(it))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Expected = fn(&SchemaError) -> bool;

    #[test]
    fn only_schemas_that_are_whole_and_end_are_read() {
        let deep = format!("{}{}{}", r#"{"not":"#.repeat(40), "{}", "}".repeat(40));
        let good = [
            "{}",
            r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}"#,
            r##"{"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}"##,
            r#"{"properties": {"$ref": {"type": "string"}}}"#,
        ];
        for text in good {
            assert!(Schema::parse(text).is_ok(), "{text}: {:?}", Schema::parse(text).err());
        }
        let bad: [(&str, Expected); 11] = [
            ("", |e| matches!(e, SchemaError::NoJson(_))),
            ("[]", |e| matches!(e, SchemaError::NoObject)),
            ("true", |e| matches!(e, SchemaError::NoObject)),
            (&deep, |e| matches!(e, SchemaError::TooDeep)),
            (&" ".repeat(70_000), |e| matches!(e, SchemaError::TooLong(_))),
            (r#"{"$ref": "https://example.com/x"}"#, |e| matches!(e, SchemaError::Remote(_))),
            (r#"{"items": {"$ref": "file:///etc/passwd"}}"#, |e| matches!(e, SchemaError::Remote(_))),
            (r#"{"$id": "https://example.com/x"}"#, |e| matches!(e, SchemaError::Remote(_))),
            (r##"{"$ref": "#"}"##, |e| matches!(e, SchemaError::Endless(_))),
            (r##"{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}"##, |e| {
                matches!(e, SchemaError::Endless(_))
            }),
            (r#"{"type": "colour"}"#, |e| matches!(e, SchemaError::NoSchema(_))),
        ];
        for (text, expected) in bad {
            let error = Schema::parse(text).expect_err(text);
            assert!(expected(&error), "{text}: {error}");
        }
    }

    #[test]
    fn violations_name_paths_and_quote_nothing() {
        let text = r#"{"required": ["model"], "properties": {"model": {"enum": ["a"]}, "tags": {"items": {"type": "string"}}}}"#;
        let schema = Schema::parse(text).expect("good");
        assert_eq!(schema.violations(&json!({"model": "a", "tags": ["x"]}), 8), []);
        let found = schema.violations(&json!({"model": "s3cret", "tags": ["x", 7, 8, 9]}), 3);
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/model", "/tags/1", "/tags/2"], "no more than asked for");
        assert!(found.iter().all(|(_, what)| !what.contains("s3cret") && !what.contains('7')), "{found:?}");
        assert_eq!(schema.violations(&json!({}), 8)[0].0, "", "the document itself");
    }

    /// Whatever an operator writes is refused, or holds documents to something and comes to an end.
    #[test]
    fn fuzz_schemas() {
        let documents = [json!({}), json!({"name": "Ada", "in": {"list": [1, "x", null, 2.5]}})];
        let samples = [
            r##"{"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"},
                "in": {"$ref": "#/$defs/part"}}, "$defs": {"part": {"properties": {"list": {"uniqueItems": true}}}}}"##,
            r##"{"anyOf": [{"not": {"const": 1}}, {"properties": {"in": {"$ref": "#"}}}], "maxProperties": 3,
                "additionalProperties": {"items": {"type": ["number", "null"], "multipleOf": 0.5, "maximum": 9}}}"##,
        ];
        assert!(samples.iter().all(|sample| Schema::parse(sample).is_ok()));
        bursar_fuzz::fuzz("schemas", &samples, |bytes| {
            let Ok(schema) = Schema::parse(&String::from_utf8_lossy(bytes)) else { return };
            for document in &documents {
                let told = schema.violations(document, 3);
                let is_short = |(path, why): &(String, String)| path.len() <= MAX_TOLD && why.len() <= MAX_TOLD;
                assert!(told.len() <= 3 && told.iter().all(is_short), "{told:?}");
            }
        });
    }
}
