//! When what one store says and what another knows of it differ: pure. Each gives what was expected and what is found, or
//! nothing where all is well.

use bursar_events::inspection::Progress;
use bursar_id::Role;
use bursar_members::{OwnPolicy, Policy, Standing, Word};
use serde::Serialize;

/// What was expected, and what is found instead.
pub(crate) type Unlike = (String, String);

/// What is said of something that is not there.
const NOTHING: &str = "nothing";

/// A membership, as organization has it in this incarnation of its store, and the last word that another service heard.
/// Whoever is no member may be unknown, and of one that ended nothing counts but that it did.
pub(crate) fn membership(
    incarnation: u64,
    decided: Option<(Option<Role>, u64)>,
    known: Option<Word>,
) -> Option<Unlike> {
    let role = decided.and_then(|(role, _)| role);
    let same = match (decided, known) {
        (Some((Some(role), version)), Some(word)) => word == Word { role: Some(role), incarnation, version },
        (_, known) => role == known.and_then(|word| word.role),
    };
    let decided = decided.map(|(role, version)| Word { role, incarnation, version });
    (!same).then(|| (word(decided), word(known)))
}

fn word(word: Option<Word>) -> String {
    let Some(Word { role, incarnation, version }) = word else { return NOTHING.to_owned() };
    let role = role.map_or("no member", Role::as_str);
    format!("{role} (incarnation {incarnation}, version {version})")
}

/// What an organization has set itself, with the version under which it was told, and what another service knows of it. What
/// sets nothing may be unknown.
pub(crate) fn policy(decided: Option<(OwnPolicy, u64)>, known: Option<(OwnPolicy, u64)>) -> Option<Unlike> {
    let same = match (decided, known) {
        (Some(decided), Some(known)) => decided == known,
        (Some((own, _)), None) | (None, Some((own, _))) => own == OwnPolicy::default(),
        (None, None) => true,
    };
    (!same).then(|| (told(decided.as_ref()), told(known.as_ref())))
}

/// What the deployment has, with the version under which it was told, and what another service knows of it.
pub(crate) fn deployment(decided: Option<(Policy, u64)>, known: Option<(Policy, u64)>) -> Option<Unlike> {
    (decided != known).then(|| (told(decided.as_ref()), told(known.as_ref())))
}

fn told<T: Serialize>(told: Option<&(T, u64)>) -> String {
    let Some((value, version)) = told else { return NOTHING.to_owned() };
    let value = serde_json::to_string(value).unwrap_or_else(|_| "what has no text".to_owned());
    format!("{value} (version {version})")
}

/// How an organization stands, with the version under which that is told, and what another service knows of it. What is used,
/// or not yet, may be unknown.
pub(crate) fn standing(decided: Option<(Standing, u64)>, known: Option<(Standing, u64)>) -> Option<Unlike> {
    let same = match (decided, known) {
        (Some(decided), Some(known)) => decided == known,
        (Some((Standing::Active | Standing::Pending, _)) | None, None) | (None, Some((Standing::Active, _))) => true,
        _ => false,
    };
    let said = |it: Option<(Standing, u64)>| match it {
        Some((standing, version)) => format!("{} (version {version})", standing.as_str()),
        None => NOTHING.to_owned(),
    };
    (!same).then(|| (said(decided), said(known)))
}

/// The seats of a plan that holds, and those that organization heard of last.
pub(crate) fn seats(plan: u32, known: Option<u32>) -> Option<Unlike> {
    (known != Some(plan))
        .then(|| (plan.to_string(), known.map_or_else(|| NOTHING.to_owned(), |seats| seats.to_string())))
}

/// How far a service has followed another one's events.
pub(crate) fn progress(progress: &Progress) -> Option<Unlike> {
    let (expected, found) = match progress {
        Progress::Follows | Progress::NothingToFollow => return None,
        Progress::Nowhere => ("a cursor", NOTHING.to_owned()),
        Progress::Late(cursor) => ("a cursor whose successors are kept", cursor.clone()),
        Progress::Unknown(cursor) => ("a cursor whose event is there", cursor.clone()),
        Progress::Unreadable(cursor) => ("a cursor", format!("{cursor:?}")),
    };
    Some((expected.to_owned(), found))
}

#[cfg(test)]
mod tests {
    use bursar_members::UsageVisibility;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "compared with what may be nothing")]
    fn unlike(expected: &str, found: &str) -> Option<Unlike> {
        Some((expected.to_owned(), found.to_owned()))
    }

    #[test]
    fn memberships_differ_by_role_version_and_incarnation() {
        let (admin, member) = (Some(Role::Admin), Some(Role::Member));
        let heard = |role, incarnation, version| Some(Word { role, incarnation, version });
        let as_decided = "MEMBER (incarnation 2, version 3)";
        let cases = [
            ("nobody", None, None, None),
            ("the same", Some((member, 3)), heard(member, 2, 3), None),
            (
                "another role",
                Some((member, 3)),
                heard(admin, 2, 3),
                unlike(as_decided, "ADMIN (incarnation 2, version 3)"),
            ),
            (
                "an older version",
                Some((member, 3)),
                heard(member, 2, 1),
                unlike(as_decided, "MEMBER (incarnation 2, version 1)"),
            ),
            (
                "a newer one",
                Some((member, 3)),
                heard(member, 2, 9),
                unlike(as_decided, "MEMBER (incarnation 2, version 9)"),
            ),
            (
                "an earlier life",
                Some((member, 3)),
                heard(member, 1, 3),
                unlike(as_decided, "MEMBER (incarnation 1, version 3)"),
            ),
            ("never heard of", Some((member, 3)), None, unlike(as_decided, "nothing")),
            (
                "ended there",
                Some((member, 3)),
                heard(None, 2, 4),
                unlike(as_decided, "no member (incarnation 2, version 4)"),
            ),
            ("ended, and unknown", Some((None, 4)), None, None),
            ("ended, by whatever word", Some((None, 4)), heard(None, 3, 9), None),
            (
                "ended here alone",
                Some((None, 4)),
                heard(member, 2, 3),
                unlike("no member (incarnation 2, version 4)", as_decided),
            ),
            ("never was one", None, heard(member, 2, 3), unlike("nothing", as_decided)),
            ("never was one, and is none", None, heard(None, 2, 3), None),
        ];
        for (case, decided, known, expected) in cases {
            assert_eq!(membership(2, decided, known), expected, "{case}");
        }
    }

    #[test]
    fn policies_differ_by_what_they_say_and_by_version() {
        let own = OwnPolicy { usage_visibility: Some(UsageVisibility::Nobody), ..OwnPolicy::default() };
        let none = OwnPolicy::default();
        let text = r#"{"usage_visibility":"NOBODY"}"#;
        let cases = [
            ("none at all", None, None, None),
            ("the same", Some((own, 2)), Some((own, 2)), None),
            ("nothing set, unknown", Some((none, 2)), None, None),
            ("nothing set, unknown here", None, Some((none, 2)), None),
            (
                "another version",
                Some((own, 2)),
                Some((own, 1)),
                unlike(&format!("{text} (version 2)"), &format!("{text} (version 1)")),
            ),
            (
                "something else",
                Some((none, 2)),
                Some((own, 2)),
                unlike("{} (version 2)", &format!("{text} (version 2)")),
            ),
            ("unknown", Some((own, 2)), None, unlike(&format!("{text} (version 2)"), "nothing")),
            ("never set", None, Some((own, 2)), unlike("nothing", &format!("{text} (version 2)"))),
        ];
        for (case, decided, known, expected) in cases {
            assert_eq!(policy(decided, known), expected, "{case}");
        }
        let (all, text) = (Policy::default(), told(Some(&(Policy::default(), 2))));
        assert_eq!(deployment(Some((all, 2)), Some((all, 2))), None);
        assert_eq!(deployment(Some((all, 2)), Some((all, 1))), Some((text.clone(), text.replace('2', "1"))));
        assert_eq!(deployment(Some((all, 2)), None), Some((text, NOTHING.to_owned())));
    }

    #[test]
    fn standings_differ_unless_the_organization_is_used() {
        use Standing::{Active, Deleted, Pending, Suspended};
        let cases = [
            (None, None, None),
            (Some((Active, 0)), None, None),
            (Some((Pending, 1)), None, None),
            (Some((Active, 2)), Some((Active, 2)), None),
            (Some((Suspended, 1)), Some((Suspended, 1)), None),
            (Some((Active, 2)), Some((Suspended, 1)), unlike("ACTIVE (version 2)", "SUSPENDED (version 1)")),
            (Some((Deleted, 1)), None, unlike("DELETED (version 1)", "nothing")),
            (Some((Suspended, 3)), Some((Suspended, 1)), unlike("SUSPENDED (version 3)", "SUSPENDED (version 1)")),
            (None, Some((Suspended, 1)), unlike("nothing", "SUSPENDED (version 1)")),
        ];
        for (decided, known, expected) in cases {
            assert_eq!(standing(decided, known), expected, "{decided:?} {known:?}");
        }
    }

    #[test]
    fn seats_differ_unless_they_are_those_of_the_plan() {
        let cases = [(10, Some(10), None), (10, Some(3), unlike("10", "3")), (10, None, unlike("10", "nothing"))];
        for (plan, known, expected) in cases {
            assert_eq!(seats(plan, known), expected, "{plan} {known:?}");
        }
    }

    #[test]
    fn whoever_follows_stands_where_the_source_can_go_on() {
        let at = || "billing-1-7".to_owned();
        let cases = [
            (Progress::Follows, None),
            (Progress::NothingToFollow, None),
            (Progress::Nowhere, unlike("a cursor", "nothing")),
            (Progress::Late(at()), unlike("a cursor whose successors are kept", "billing-1-7")),
            (Progress::Unknown(at()), unlike("a cursor whose event is there", "billing-1-7")),
            (Progress::Unreadable("x y".to_owned()), unlike("a cursor", "\"x y\"")),
        ];
        for (case, expected) in cases {
            assert_eq!(progress(&case), expected, "{case:?}");
        }
    }
}
