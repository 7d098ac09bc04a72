//! Between documents of the API, which are `Struct`s, and JSON.
//!
//! Both ways follow the nesting of a message that was read from the wire or is within a document's bounds: the library that
//! reads messages takes no more than a hundred levels.

use bursar_document::{Document, DocumentError};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

/// Whole numbers up to here are the same in JSON and in the API.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A document that was sent; an absent one is empty.
pub fn document(sent: Option<&Struct>) -> Result<Document, DocumentError> {
    let Some(sent) = sent else { return Ok(Document::default()) };
    Document::new(fields(sent)?)
}

fn fields(sent: &Struct) -> Result<Map<String, Value>, DocumentError> {
    sent.fields.iter().map(|(name, field)| Ok((name.clone(), value(field)?))).collect()
}

fn value(sent: &ProtoValue) -> Result<Value, DocumentError> {
    Ok(match sent.kind.as_ref().ok_or(DocumentError::NoJson)? {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => Value::Bool(*value),
        Kind::NumberValue(value) => Value::Number(number(*value)?),
        Kind::StringValue(text) => Value::String(text.clone()),
        Kind::ListValue(list) => Value::Array(list.values.iter().map(value).collect::<Result<_, _>>()?),
        Kind::StructValue(inner) => Value::Object(fields(inner)?),
    })
}

fn number(sent: f64) -> Result<Number, DocumentError> {
    if sent.fract() == 0.0 && sent.abs() <= WHOLE {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the bounds of i64")]
        return Ok(Number::from(sent as i64));
    }
    Number::from_f64(sent).ok_or(DocumentError::NoJson)
}

/// A JSON object as the API has it.
pub fn to_struct(object: Map<String, Value>) -> Struct {
    Struct { fields: object.into_iter().map(|(name, value)| (name, to_value(value))).collect() }
}

fn to_value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(to_value).collect() }),
        Value::Object(inner) => Kind::StructValue(to_struct(inner)),
    };
    ProtoValue { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    #[test]
    fn documents_go_there_and_back() {
        let Value::Object(object) = json!({
            "null": null, "yes": true, "whole": -7, "part": 0.5, "large": 1e300, "text": "\u{0}ж", "list": [1, [], {}],
            "in": {"in": {"": "empty name"}},
        }) else {
            panic!("an object")
        };
        let (back, none) = document(Some(&to_struct(object.clone()))).expect("good").split(&BTreeSet::new());
        assert_eq!(Value::Object(back), Value::Object(object));
        assert!(none.is_empty());
    }

    #[test]
    fn what_json_has_not_is_refused() {
        for kind in [None, Some(Kind::NumberValue(f64::NAN)), Some(Kind::NumberValue(f64::INFINITY))] {
            let sent = Struct { fields: [("x".to_owned(), ProtoValue { kind })].into() };
            assert_eq!(document(Some(&sent)), Err(DocumentError::NoJson));
        }
    }
}
