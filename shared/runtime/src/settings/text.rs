//! How single values read and print: empty text for "not set", values with a text form, secrets.

use std::fmt;

/// A value that is never shown: `Debug`, `Display` and serialization say `[redacted]`.
///
/// Used for whole settings that are secret, such as the mail server's URL with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// What is shown in place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

impl SecretText {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Hand it to whoever needs it; never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl serde::Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// For `#[serde(with = "text::optional")]`: empty text means "not set", so that an empty environment
/// variable and a printed configuration both mean what they say.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer};

    pub(crate) fn serialize<S: Serializer, T: Serialize>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        T::deserialize(IntoDeserializer::<D::Error>::into_deserializer(text)).map(Some)
    }
}

/// For `#[serde(with = "text::parsed")]`: values that have a text form of their own. What they print
/// must hold no secret.
pub(crate) mod parsed {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer, T: Display>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
