//! JSON that cannot be read in two ways. What names a member twice is one thing to whoever takes the first and another to whoever
//! takes the last (RFC 7515, 4; RFC 7519, 4), and what is there and has no value (`null`) is easily taken for what is not there.

use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What the object says that these bytes are; `None` where they are none, or one that can be read in two ways.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let Once(value) = serde_json::from_slice(bytes).ok()?;
    value.is_object().then(|| serde_json::from_value(value).ok()).flatten()
}

/// A value whose objects name nothing twice, and in which nothing is `null`.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strictly).map(Self)
    }
}

struct Strictly;

/// What is not named here is refused: `null`.
impl<'de> Visitor<'de> for Strictly {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without null")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Once(value))) = members.next_entry::<String, Once>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name that is there twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let table = [
            (r#"{"a": 1, "b": [true, {"a": "x"}], "c": -1.5}"#, true),
            ("{}", true),
            (r#"{"a": 1, "a": 1}"#, false),
            (r#"{"a": 1, "\u0061": 2}"#, false),
            (r#"{"a": {"b": 1, "b": 2}}"#, false),
            (r#"{"a": [{"b": 1, "b": 2}]}"#, false),
            (r#"{"a": null}"#, false),
            (r#"{"a": [1, null]}"#, false),
            ("null", false),
            ("[]", false),
            ("{} {}", false),
            ("", false),
        ];
        for (text, expected) in table {
            assert_eq!(object::<Value>(text.as_bytes()).is_some(), expected, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(object::<Value>(format!(r#"{{"a": {deep}"#).as_bytes()).is_none(), "however deep it goes");
    }
}
