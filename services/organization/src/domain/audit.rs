//! By what the audit log is filtered: ids of closed sets of kinds, and names of RPCs.

use std::fmt::Display;
use std::str::FromStr;

use bursar_id::{ApiKeyId, InvitationId, ServiceAccountId, UserId};

/// The most characters of a method's name.
const METHOD_MAX: usize = 200;
/// Characters of an id: three letters, an underscore and 26 of base32.
const ID_LENGTH: usize = 30;

/// A text by which the audit log cannot be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(&'static str);

/// Somebody who acts: a user, a key, a service or whoever holds an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl FromStr for Actor {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let known =
            is::<UserId>(text) || is::<ApiKeyId>(text) || is::<ServiceAccountId>(text) || is::<InvitationId>(text);
        let error = FilterError("must be an id that begins with usr_, key_, svc_ or inv_");
        known.then(|| Self(text.to_owned())).ok_or(error)
    }
}

/// Something that is acted on: an id of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl FromStr for Target {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let parts = text.split_once('_').filter(|_| text.len() == ID_LENGTH);
        let known = parts.is_some_and(|(kind, rest)| {
            kind.len() == 3
                && kind.bytes().all(|byte| byte.is_ascii_lowercase())
                && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        known.then(|| Self(text.to_owned())).ok_or(FilterError("must be an id"))
    }
}

/// An RPC, or a service with all of its RPCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(String);

impl Method {
    /// What the names of a service's RPCs lie between, if this names a service: from here, and before the other.
    pub fn range(&self) -> (String, String) {
        // The character after the slash.
        (format!("{}/", self.0), format!("{}0", self.0))
    }
}

impl FromStr for Method {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let fits = text.len() <= METHOD_MAX && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let error = FilterError("must be the name of an RPC or of a service: at most 200 printable ASCII characters");
        fits.then(|| Self(text.to_owned())).ok_or(error)
    }
}

macro_rules! texts {
    ($($name:ident),+) => {$(
        impl $name {
            /// The text as it stands in the log.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}

texts!(Actor, Target, Method);

fn is<T: FromStr<Err: Display>>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

#[cfg(test)]
mod tests {
    use bursar_id::{AuditId, Id, Kind, ProjectId, kinds};
    use bursar_testkit::id;

    use super::*;

    fn some<K: Kind>() -> String {
        id::<K>(1).to_string()
    }

    #[test]
    fn actors_are_of_the_kinds_that_act() {
        for text in [some::<kinds::User>(), some::<kinds::ApiKey>(), some::<kinds::ServiceAccount>()] {
            assert_eq!(text.parse::<Actor>().map(|actor| actor.as_str().to_owned()), Ok(text));
        }
        assert!(some::<kinds::Invitation>().parse::<Actor>().is_ok());
        for text in ["", "me", "usr_1", &some::<kinds::Project>(), &format!("{} ", some::<kinds::User>())] {
            assert!(text.parse::<Actor>().is_err(), "{text}");
        }
    }

    #[test]
    fn targets_are_ids() {
        let (row, project): (AuditId, ProjectId) = (id(1), Id::from_parts(7, [9; 10]));
        for text in [row.to_string(), project.to_string()] {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
        for text in ["", "acme", "usr_", "usr_1' OR 1=1 --xxxxxxxxxxxxxxx", &project.to_string().to_uppercase()] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_service_s_methods_lie_between_its_bounds() {
        let method: Method = "a.v1.MemberService".parse().expect("a name");
        let (from, before) = method.range();
        for (name, inside) in [
            ("a.v1.MemberService/RemoveMember", true),
            ("a.v1.MemberService/~", true),
            ("a.v1.MemberService", false),
            ("a.v1.MemberServices/RemoveMember", false),
            ("a.v1.MemberService2/RemoveMember", false),
            ("a.v1.Member", false),
        ] {
            assert_eq!((from.as_str()..before.as_str()).contains(&name), inside, "{name}");
        }
        assert!("x".repeat(201).parse::<Method>().is_err());
        assert!("a\u{202e}b".parse::<Method>().is_err());
        assert!("a\nb".parse::<Method>().is_err());
        assert!("ownerless mend".parse::<Method>().is_ok());
    }
}
