//! How a user was authenticated, as far as a token can say it: by what means, when, and by whom or what it is used.
//!
//! What follows from it (a second factor is demanded, an API key may do less) is decided where requests are served.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::ApiKeyId;
use bursar_proto::access::v1::Permission;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A means by which somebody proves who they are; the words of the claim `amr` (RFC 8176).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthMethod {
    /// A password, `pwd`.
    Password,
    /// A one-time password of an app, or a recovery code in its stead, `otp`.
    OneTimePassword,
    /// A passkey, `hwk`.
    Passkey,
    /// The word of another provider that the person signed in with, `fed`.
    Provider,
}

impl AuthMethod {
    /// Every means.
    pub const ALL: [Self; 4] = [Self::Password, Self::OneTimePassword, Self::Passkey, Self::Provider];

    /// The word in tokens and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::Passkey => "hwk",
            Self::Provider => "fed",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The means that were used together. Words of a later version are left out when it is read: what nobody here knows
/// proves nothing here.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AuthMethods(u8);

impl AuthMethods {
    /// A password alone.
    pub const PASSWORD: Self = Self(AuthMethod::Password.bit());

    /// These means as well.
    #[must_use]
    pub const fn and(self, method: AuthMethod) -> Self {
        Self(self.0 | method.bit())
    }

    /// Whether this means was used.
    pub const fn contains(self, method: AuthMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// Those that were used.
    pub fn iter(self) -> impl Iterator<Item = AuthMethod> {
        AuthMethod::ALL.into_iter().filter(move |method| self.contains(*method))
    }

    /// Whether they are proof of more than knowing a password: a one-time password or a passkey is among them.
    pub const fn has_second_factor(self) -> bool {
        self.contains(AuthMethod::OneTimePassword) || self.contains(AuthMethod::Passkey)
    }

    /// The words, separated by spaces, as a store keeps them; read back with [`AuthMethods::of_words`].
    pub fn to_words(self) -> String {
        self.iter().map(AuthMethod::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Reads words that are separated by spaces.
    pub fn of_words(words: &str) -> Self {
        words.split_whitespace().collect()
    }
}

impl<'a> FromIterator<&'a str> for AuthMethods {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        let known = words.into_iter().filter_map(|word| AuthMethod::ALL.into_iter().find(|m| m.as_str() == word));
        known.fold(Self::default(), Self::and)
    }
}

impl fmt::Debug for AuthMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for AuthMethods {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(AuthMethod::as_str))
    }
}

impl<'de> Deserialize<'de> for AuthMethods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Ok(words.iter().map(String::as_str).collect())
    }
}

/// The branch of a session to which a token belongs: one chain of rotations of a refresh token. Two tabs of one session
/// may be two branches, each with a context of its own. Text form: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch([u8; 16]);

/// A text that names no branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 hexadecimal digits")]
pub struct BranchError;

impl Branch {
    /// The branch with these bytes; a new one's are random.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a store keeps them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Branch {
    type Err = BranchError;
    fn from_str(text: &str) -> Result<Self, BranchError> {
        let value = u128::from_str_radix(text, 16).map_err(|_| BranchError)?;
        let branch = Self(value.to_be_bytes());
        // One spelling for each branch: no sign, no capitals, no shorter form.
        if branch.to_string() == text { Ok(branch) } else { Err(BranchError) }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Branch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Branch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The API key in whose name a token was issued, and what it may do: never more than its user may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrant {
    /// The key.
    pub id: ApiKeyId,
    /// What it was given; what a later version knows is left out when it is read.
    #[serde(with = "words")]
    pub permissions: Arc<[Permission]>,
}

impl KeyGrant {
    /// Whether the key was given what an RPC demands. One that demands nothing in particular demands more than any key
    /// has: it is about the user, not about the context.
    pub fn permits(&self, demanded: Permission) -> bool {
        self.permissions.contains(&demanded)
    }
}

/// Permissions as words without their common prefix: `USE_WORKSPACE`.
mod words {
    use super::{Arc, Deserialize, Deserializer, Permission, Serializer};

    const PREFIX: &str = "PERMISSION_";

    pub(super) fn serialize<S: Serializer>(permissions: &[Permission], serializer: S) -> Result<S::Ok, S::Error> {
        let word = |it: &Permission| it.as_str_name().trim_start_matches(PREFIX);
        serializer.collect_seq(permissions.iter().map(word))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Permission]>, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Ok(words.iter().filter_map(|word| Permission::from_str_name(&format!("{PREFIX}{word}"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_words_and_unknown_ones_prove_nothing() {
        let both = AuthMethods::PASSWORD.and(AuthMethod::OneTimePassword);
        assert_eq!(both.to_words(), "pwd otp");
        assert_eq!(AuthMethods::of_words("otp palm pwd"), both);
        assert_eq!(serde_json::to_string(&both).expect("writes"), r#"["pwd","otp"]"#);
        assert_eq!(serde_json::from_str::<AuthMethods>(r#"["palm"]"#).expect("reads"), AuthMethods::default());
        let cases = [("", false), ("pwd", false), ("fed", false), ("pwd otp", true), ("hwk", true)];
        for (words, expected) in cases {
            assert_eq!(AuthMethods::of_words(words).has_second_factor(), expected, "{words:?}");
        }
    }

    #[test]
    fn a_branch_has_one_spelling() {
        let branch = Branch::from_bytes([0x0a; 16]);
        assert_eq!(branch.to_string(), "0a".repeat(16));
        assert_eq!(branch.to_string().parse(), Ok(branch));
        for text in ["", "a", &"0A".repeat(16), &format!("+{}", "0a".repeat(16)), &"0a".repeat(17), &"zz".repeat(16)] {
            assert_eq!(text.parse::<Branch>(), Err(BranchError), "{text:?}");
        }
    }

    #[test]
    fn a_key_may_what_it_was_given_and_nothing_that_demands_nothing() {
        let text = r#"{"id":"key_00000000000000000000000000","permissions":["USE_WORKSPACE","FLY"]}"#;
        let key: KeyGrant = serde_json::from_str(text).expect("reads");
        assert_eq!(*key.permissions, [Permission::UseWorkspace]);
        assert!(key.permits(Permission::UseWorkspace));
        for demanded in [Permission::Unspecified, Permission::Self_, Permission::Own, Permission::ViewUsage] {
            assert!(!key.permits(demanded), "{demanded:?}");
        }
        assert!(serde_json::to_string(&key).expect("writes").contains(r#"["USE_WORKSPACE"]"#));
    }
}
