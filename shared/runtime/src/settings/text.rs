//! How single values read and print: empty text for "not set", values with a text form, secrets.

/// For `#[serde(with = "text::secret")]`: prints `[redacted]`, and empty text means "not set".
pub(crate) mod secret {
    use bursar_secret::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands it over like this")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if value.is_some() { "[redacted]" } else { "" })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    }
}

/// For `#[serde(with = "text::optional")]`: empty text means "not set", so that an empty environment
/// variable and a printed configuration both mean what they say.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer};

    #[expect(clippy::ref_option, reason = "serde hands it over like this")]
    pub(crate) fn serialize<S: Serializer, T: Serialize>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
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

/// For `#[serde(with = "text::parsed_each")]`: values that have a text form of their own, one for each service. What
/// they print must hold no secret.
pub(crate) mod parsed_each {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error};

    use crate::Each;

    pub(crate) fn serialize<S: Serializer, T: Display>(values: &Each<T>, serializer: S) -> Result<S::Ok, S::Error> {
        Each::of(|service| values[service].to_string()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
        deserializer: D,
    ) -> Result<Each<T>, D::Error> {
        Ok(Each::<Parsed<T>>::deserialize(deserializer)?.map(|Parsed(value)| value))
    }

    /// Reads within the place of the value, so that a refusal names it.
    struct Parsed<T>(T);

    impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
        }
    }
}
