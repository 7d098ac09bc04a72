//! [`OwnerId`]: to whom something belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{IdError, IdProblem};
use crate::kind::{Kind, kinds};
use crate::text::IdText;
use crate::typed::TextVisitor;
use crate::{OrganizationId, UserId};

/// The id of a context: a person, or an organization. Projects, library items, accounts and API keys
/// each belong to one for life.
///
/// The variants stand in the order of their texts (`org_` before `usr_`), so that the derived order is
/// the one of a TEXT column under the `C` collation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerId {
    /// An organization, `org_…`.
    Organization(OrganizationId),
    /// A person's own context, `usr_…`.
    User(UserId),
}

impl OwnerId {
    const EXPECTED: &'static str = "usr_ or org_";

    /// The person, if it is one's own context.
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Organization(_) => None,
        }
    }

    /// The organization, if it is one.
    pub const fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Organization(organization) => Some(organization),
            Self::User(_) => None,
        }
    }

    /// The text on the stack; costs no allocation.
    pub fn text(&self) -> IdText {
        match self {
            Self::User(user) => user.text(),
            Self::Organization(organization) => organization.text(),
        }
    }

    /// How many bytes [`OwnerId::to_bytes`] gives.
    pub const BYTES: usize = 17;

    /// The compact form for tables with a row for each charge: a byte for the kind (0 an organization, 1 a
    /// person) and the UUID. Its order is the order of owners.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let (kind, uuid) = match self {
            Self::Organization(id) => (0, *id.as_uuid().as_bytes()),
            Self::User(id) => (1, *id.as_uuid().as_bytes()),
        };
        let mut bytes = [kind; Self::BYTES];
        let (_, rest) = bytes.split_at_mut(1);
        rest.copy_from_slice(&uuid);
        bytes
    }

    /// Reads the compact form; `None` for anything [`OwnerId::to_bytes`] cannot have given.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, uuid) = bytes.split_first()?;
        let uuid = uuid::Uuid::from_slice(uuid).ok()?;
        match kind {
            0 => Some(Self::Organization(OrganizationId::from_uuid(uuid))),
            1 => Some(Self::User(UserId::from_uuid(uuid))),
            _ => None,
        }
    }

    /// Reads the text form; the same as [`FromStr`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let parsed = if text.starts_with(kinds::User::HEAD) {
            UserId::parse(text).map(Self::User)
        } else if text.starts_with(kinds::Organization::HEAD) {
            OrganizationId::parse(text).map(Self::Organization)
        } else {
            Err(IdError { expected_prefix: Self::EXPECTED, problem: IdProblem::WrongPrefix })
        };
        parsed.map_err(|error| IdError { expected_prefix: Self::EXPECTED, ..error })
    }
}

impl From<UserId> for OwnerId {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<OrganizationId> for OwnerId {
    fn from(organization: OrganizationId) -> Self {
        Self::Organization(organization)
    }
}

impl From<OwnerId> for String {
    fn from(owner: OwnerId) -> Self {
        owner.text().as_str().to_owned()
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text().as_str())
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl FromStr for OwnerId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl Serialize for OwnerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

impl<'de> Deserialize<'de> for OwnerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor { expects: Self::EXPECTED, parse: Self::parse })
    }
}
