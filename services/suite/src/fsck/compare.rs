//! When what one store says and what another knows of it differ: pure. Each gives what was expected and what is found, or
//! nothing where all is well.

use bursar_billing::inspection::Allowed;
use bursar_events::inspection::Progress;
use bursar_id::Role;
use bursar_members::{OwnPolicy, Policy, Standing, Word};
use bursar_organization::usecase::inspection::{KnownPlan, Way};
use bursar_time::{Span, Timestamp};
use serde::Serialize;

use super::pages::Account;

/// What was expected, and what is found instead.
pub(crate) type Unlike = (String, String);

/// How long an organization may wait for its creator's plan: billing is asked again each hour at the latest, and does answer.
const FOUNDING: Span = Span::from_hours(2);
/// How long a purge may take once it is due. Its job goes on trying for a month; but a day is a reason to look.
const PURGE: Span = Span::DAY;

/// What is said of something that is not there.
const NOTHING: &str = "nothing";

/// A membership, as organization would tell of it now, and the last word that another service heard. Whoever is no member
/// may be unknown, and of one that ended nothing counts but that it did.
pub(crate) fn membership(decided: Option<Word>, known: Option<Word>) -> Option<Unlike> {
    let role = |word: Option<Word>| word.and_then(|word| word.role);
    let same = if role(decided).is_some() && known.is_some() { decided == known } else { role(decided) == role(known) };
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

/// An organization that has waited too long for its creator's plan. What it should be is billing's to say, by whether the
/// organization has one.
pub(crate) fn founding(way: Way, plan: Option<&str>, now: Timestamp) -> Option<Unlike> {
    let Way::Pending(since) = way else { return None };
    let expected = plan.map_or_else(|| "to be removed without a plan".to_owned(), |plan| format!("ACTIVE with {plan}"));
    (since.saturating_add(FOUNDING) < now).then(|| (expected, format!("PENDING since {since}")))
}

/// A purge that should have come to its end.
pub(crate) fn purge(way: Way, now: Timestamp) -> Option<Unlike> {
    let (due, found) = match way {
        Way::Deleted(due) => (due, "DELETED"),
        Way::Purging(due) => (due, "PURGING"),
        Way::Pending(_) | Way::Purged => return None,
    };
    let end = due.saturating_add(PURGE);
    (end < now).then(|| (format!("to have ended by {end}"), found.to_owned()))
}

/// How billing was told that an owner stands, and how the owner's account does, by which billing decides. Who is used may be
/// unknown, and without an account.
pub(crate) fn account(told: Option<Standing>, account: Option<Standing>) -> Option<Unlike> {
    let [told, account] = [told, account].map(Option::unwrap_or_default);
    (told != account).then(|| (told.as_str().to_owned(), account.as_str().to_owned()))
}

/// The seats of the plan that holds, and those that organization heard of last, which may be none where no plan holds. Then
/// they are those of the free plan, in any catalog that was ever used: the last first.
pub(crate) fn seats(plan: Option<u32>, free: &[u32], known: Option<u32>) -> Option<Unlike> {
    let same = match (plan, known) {
        (Some(plan), known) => known == Some(plan),
        (None, Some(known)) => free.contains(&known),
        (None, None) => true,
    };
    let expected = plan.or(free.first().copied());
    let said = |seats: Option<u32>| seats.map_or_else(|| NOTHING.to_owned(), |seats| seats.to_string());
    (!same).then(|| (said(expected), said(known)))
}

/// Whether there is a project, and whether billing knows it.
pub(crate) fn project(is_there: bool, is_known: bool) -> Option<Unlike> {
    let said = |it: bool| if it { "a project" } else { NOTHING }.to_owned();
    (is_there != is_known).then(|| (said(is_there), said(is_known)))
}

/// What the plan that holds is and allows, as it was sold (where an earlier program has not kept that, and of the free one, what
/// any catalog says that was ever used: the last first), and what organization heard of last. It may have heard nothing where
/// no plan holds; then it is the free one. Where it has not even heard of seats, [`seats`] says so.
pub(crate) fn plan(holds: Option<&[Allowed]>, free: &[Allowed], known: Option<&KnownPlan>) -> Option<Unlike> {
    let heard = known?.allows.as_ref();
    let told = holds.unwrap_or(free);
    let same = match heard {
        Some((plan, features)) => told.iter().any(|it| (&it.plan, &it.features) == (plan, features)),
        None => holds.is_none(),
    };
    let said = |it: Option<(&String, &Vec<String>)>| match it {
        Some((plan, features)) if features.is_empty() => plan.clone(),
        Some((plan, features)) => format!("{plan} with {}", features.join(", ")),
        None => NOTHING.to_owned(),
    };
    let expected = told.first().map(|it| (&it.plan, &it.features));
    (!same).then(|| (said(expected), said(heard.map(|it| (&it.0, &it.1)))))
}

/// Whether somebody has deleted the account, and what another service knows of it. It may know it of whom identity does not
/// know at all: identity was restored.
pub(crate) fn departure(gone: bool, known: Option<Account>) -> Option<Unlike> {
    let unlike = |expected: &str, found: &str| Some((expected.to_owned(), found.to_owned()));
    match (gone, known) {
        (true, None | Some(Account { gone: false, .. })) => unlike("known", "unknown"),
        (false, Some(Account { gone: true, lives: true })) => unlike("none: there is one", "known"),
        _ => None,
    }
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
        let is = heard(member, 2, 3);
        let ended = heard(None, 2, 4);
        let cases = [
            ("nobody", None, None, None),
            ("the same", is, is, None),
            ("another role", is, heard(admin, 2, 3), unlike(as_decided, "ADMIN (incarnation 2, version 3)")),
            ("an older version", is, heard(member, 2, 1), unlike(as_decided, "MEMBER (incarnation 2, version 1)")),
            ("a newer one", is, heard(member, 2, 9), unlike(as_decided, "MEMBER (incarnation 2, version 9)")),
            ("an earlier life", is, heard(member, 1, 3), unlike(as_decided, "MEMBER (incarnation 1, version 3)")),
            ("never heard of", is, None, unlike(as_decided, "nothing")),
            ("ended there", is, ended, unlike(as_decided, "no member (incarnation 2, version 4)")),
            ("ended, and unknown", ended, None, None),
            ("ended, by whatever word", ended, heard(None, 3, 9), None),
            ("ended here alone", ended, is, unlike("no member (incarnation 2, version 4)", as_decided)),
            ("never was one", None, is, unlike("nothing", as_decided)),
            ("never was one, and is none", None, heard(None, 2, 3), None),
        ];
        for (case, decided, known, expected) in cases {
            assert_eq!(membership(decided, known), expected, "{case}");
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
    fn what_begins_or_ends_comes_to_it_in_time() {
        let now = Timestamp::EPOCH.saturating_add(Span::from_days(9));
        let ago = |span| now.saturating_sub(span);
        let moment = Span::SECOND;
        let (waiting, late) = (Way::Pending(ago(FOUNDING)), Way::Pending(ago(FOUNDING.saturating_add(moment))));
        let since = "PENDING since 1970-01-09T21:59:59Z";
        let foundings = [
            (waiting, None, None),
            (waiting, Some("business"), None),
            (late, None, unlike("to be removed without a plan", since)),
            (late, Some("business"), unlike("ACTIVE with business", since)),
            (Way::Deleted(Timestamp::EPOCH), Some("business"), None),
            (Way::Purged, None, None),
        ];
        for (way, plan, expected) in foundings {
            assert_eq!(founding(way, plan, now), expected, "{way:?} {plan:?}");
        }
        let over = ago(PURGE.saturating_add(moment));
        let end = "to have ended by 1970-01-09T23:59:59Z";
        let purges = [
            (Way::Deleted(now.saturating_add(PURGE)), None),
            (Way::Deleted(ago(PURGE)), None),
            (Way::Deleted(over), unlike(end, "DELETED")),
            (Way::Purging(ago(PURGE)), None),
            (Way::Purging(over), unlike(end, "PURGING")),
            (Way::Purged, None),
            (late, None),
        ];
        for (way, expected) in purges {
            assert_eq!(purge(way, now), expected, "{way:?}");
        }
    }

    #[test]
    fn accounts_stand_as_billing_was_told() {
        use Standing::{Active, Deleted, Suspended};
        let cases = [
            (None, None, None),
            (Some(Active), None, None),
            (None, Some(Active), None),
            (Some(Suspended), Some(Suspended), None),
            (Some(Suspended), None, unlike("SUSPENDED", "ACTIVE")),
            (None, Some(Deleted), unlike("ACTIVE", "DELETED")),
            (Some(Deleted), Some(Suspended), unlike("DELETED", "SUSPENDED")),
        ];
        for (told, stands, expected) in cases {
            assert_eq!(account(told, stands), expected, "{told:?} {stands:?}");
        }
    }

    #[test]
    fn seats_differ_unless_they_are_those_of_the_plan_or_of_the_free_one() {
        let free = [5, 3];
        let cases = [
            (Some(10), Some(10), None),
            (Some(10), Some(5), unlike("10", "5")),
            (Some(10), None, unlike("10", "nothing")),
            (None, None, None),
            (None, Some(5), None),
            (None, Some(3), None),
            (None, Some(10), unlike("5", "10")),
        ];
        for (plan, known, expected) in cases {
            assert_eq!(seats(plan, &free, known), expected, "{plan:?} {known:?}");
        }
        assert_eq!(seats(None, &[], Some(10)), unlike("nothing", "10"));
    }

    #[test]
    fn a_project_is_known_where_there_is_one() {
        assert_eq!(
            [(true, true), (false, false)].map(|(is_there, is_known)| project(is_there, is_known)),
            [None, None]
        );
        assert_eq!(project(true, false), Some(("a project".to_owned(), NOTHING.to_owned())));
        assert_eq!(project(false, true), Some((NOTHING.to_owned(), "a project".to_owned())));
    }

    #[test]
    fn plans_differ_by_name_and_by_what_they_allow_in_every_catalog() {
        let names = |features: &[&str]| features.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let allowed =
            |plan: &str, features: &[&str]| Allowed { plan: plan.to_owned(), seats: 5, features: names(features) };
        let heard = |plan: &str, features: &[&str]| {
            Some(KnownPlan { seats: 5, allows: Some((plan.to_owned(), names(features))) })
        };
        let (sso, both) = (["SINGLE_SIGN_ON"], ["ORGANIZATIONS", "SINGLE_SIGN_ON"]);
        let business = [allowed("business", &both), allowed("business", &sso)];
        let free = [allowed("free", &[])];
        let unknown = Some(KnownPlan { seats: 5, allows: None });
        let as_sold = "business with ORGANIZATIONS, SINGLE_SIGN_ON";
        let cases = [
            ("as it is sold", Some(&business[..]), heard("business", &both), None),
            ("as it was sold", Some(&business[..]), heard("business", &sso), None),
            ("allows less", Some(&business[..]), heard("business", &[]), unlike(as_sold, "business")),
            (
                "another plan",
                Some(&business[..]),
                heard("pro", &both),
                unlike(as_sold, &as_sold.replace("business", "pro")),
            ),
            ("only its seats are known", Some(&business[..]), unknown.clone(), unlike(as_sold, "nothing")),
            ("not even its seats are known", Some(&business[..]), None, None),
            ("none holds, and the free one is known", None, heard("free", &[]), None),
            ("none holds, and nothing is known", None, unknown, None),
            ("it has ended", None, heard("business", &sso), unlike("free", "business with SINGLE_SIGN_ON")),
        ];
        for (case, holds, known, expected) in cases {
            assert_eq!(plan(holds, &free, known.as_ref()), expected, "{case}");
        }
    }

    #[test]
    fn a_deletion_is_known_everywhere_and_of_nobody_who_is_there() {
        let account = |gone, lives| Some(Account { gone, lives });
        let cases = [
            (true, account(true, false), None),
            (true, None, unlike("known", "unknown")),
            (true, account(false, false), unlike("known", "unknown")),
            (false, None, None),
            (false, account(false, true), None),
            (false, account(true, false), None),
            (false, account(true, true), unlike("none: there is one", "known")),
        ];
        for (gone, known, expected) in cases {
            assert_eq!(departure(gone, known), expected, "{gone} {known:?}");
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
