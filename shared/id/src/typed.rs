//! [`Id`]: a UUID that knows what it names.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::error::IdError;
use crate::kind::{Kind, kinds};
use crate::text::{self, IdText};

/// The id of a thing of kind `K`.
///
/// Equality, order and hash are those of the UUID. The order of ids, of their texts and of a TEXT
/// column under the `C` collation are the same, so locks can be taken in one order everywhere.
pub struct Id<K> {
    uuid: Uuid,
    // `fn() -> K` keeps the id `Send + Sync` and makes no claim to own a `K`.
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// An id made at `unix_millis` (its low 48 bits, good until the year 10889) with 74 of the 80 random
    /// bits: a `UUIDv7` (RFC 9562). Ids made in different milliseconds sort by time.
    pub const fn from_parts(unix_millis: u64, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = unix_millis.to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
        let version = 0x70 | (r0 & 0x0f);
        let variant = 0x80 | (r2 & 0x3f);
        Self::from_uuid(Uuid::from_bytes([t0, t1, t2, t3, t4, t5, version, r1, variant, r3, r4, r5, r6, r7, r8, r9]))
    }

    /// An id made at `unix_millis` whose other 74 bits carry meaning of their own (the low 74 bits of
    /// `custom`): a `UUIDv8` (RFC 9562, section 5.8). It sorts by time as [`Id::from_parts`]'s do.
    pub const fn from_custom(unix_millis: u64, custom: u128) -> Self {
        let high = ((custom >> 62) & 0xfff) as u16;
        let low = (custom & 0x3fff_ffff_ffff_ffff) as u64;
        let [_, _, t0, t1, t2, t3, t4, t5] = unix_millis.to_be_bytes();
        let [h0, h1] = (0x8000 | high).to_be_bytes();
        let [l0, l1, l2, l3, l4, l5, l6, l7] = (0x8000_0000_0000_0000 | low).to_be_bytes();
        Self::from_uuid(Uuid::from_bytes([t0, t1, t2, t3, t4, t5, h0, h1, l0, l1, l2, l3, l4, l5, l6, l7]))
    }

    /// The 74 bits given to [`Id::from_custom`]; `None` if the id is no `UUIDv8`.
    pub const fn custom(&self) -> Option<u128> {
        let bytes = self.uuid.as_u128();
        let (version, variant) = ((bytes >> 76) & 0xf, (bytes >> 62) & 0b11);
        if version != 8 || variant != 0b10 {
            return None;
        }
        Some((((bytes >> 64) & 0xfff) << 62) | (bytes & 0x3fff_ffff_ffff_ffff))
    }

    /// The id with this UUID, of whatever version it is.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// The UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.uuid
    }

    /// When the id was made, in milliseconds since 1970; meaningless if it is not a `UUIDv7`.
    pub const fn timestamp_millis(&self) -> u64 {
        let [t0, t1, t2, t3, t4, t5, ..] = *self.uuid.as_bytes();
        u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5])
    }
}

impl<K: Kind> Id<K> {
    /// The three letters before the underscore, for example `usr`.
    pub const PREFIX: &'static str = K::PREFIX;

    /// The text on the stack; `id.text().as_str()` costs no allocation.
    pub fn text(&self) -> IdText {
        IdText::new(K::HEAD, self.uuid.as_u128())
    }

    /// Reads the text form; the same as [`FromStr`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text::read(K::HEAD, text) {
            Ok(value) => Ok(Self::from_uuid(Uuid::from_u128(value))),
            Err(problem) => Err(IdError { expected_prefix: K::HEAD, problem }),
        }
    }
}

/// Bursar's own service accounts: fixed, so that every database and every token names them alike.
impl Id<kinds::ServiceAccount> {
    /// Whoever operates the deployment.
    pub const OPERATOR: Self = Self::from_parts(0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    /// The identity service.
    pub const IDENTITY: Self = Self::from_parts(0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    /// The organization service.
    pub const ORGANIZATION: Self = Self::from_parts(0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    /// The billing service.
    pub const BILLING: Self = Self::from_parts(0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
}

// Written by hand: derives would ask the same traits of the marker `K`.
impl<K> Copy for Id<K> {}
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text().as_str())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<K: Kind> From<Id<K>> for String {
    fn from(id: Id<K>) -> Self {
        id.text().as_str().to_owned()
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expects: K::HEAD, parse: Self::parse })
    }
}

/// Reads a string of any ownership with a parser; shared by the types of this crate.
pub(crate) struct TextVisitor<T, E> {
    /// What the text should look like, for serde's own messages.
    pub(crate) expects: &'static str,
    /// The parser.
    pub(crate) parse: fn(&str) -> Result<T, E>,
}

impl<T, E: fmt::Display> de::Visitor<'_> for TextVisitor<T, E> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string: {}", self.expects)
    }
    fn visit_str<F: de::Error>(self, text: &str) -> Result<T, F> {
        (self.parse)(text).map_err(F::custom)
    }
}
