//! Every statement is understood by both engines.

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_testkit::{START, at};
use bursar_time::{CLOCKS_APART, Span};
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use super::objects::NewObject;
use super::{
    MIGRATIONS, audit, avatars, contents, erasures, foundings, invitations, items, libraries, mail_counts, memberships,
    nominations, objects, organizations, preferences, projects, seats, slugs, standings, users,
};

/// Statements that both engines run.
pub(super) const BOTH: &[(&str, &str)] = bursar_testkit::statements![
    audit::EDGE,
    audit::LIST,
    avatars::FIND,
    avatars::PUT,
    avatars::REMOVE,
    invitations::BY_ID,
    invitations::BY_TOKEN,
    invitations::COUNT_MAILS,
    invitations::COUNT_PENDING,
    invitations::EDGE,
    invitations::PENDING_FOR,
    invitations::ERASE,
    invitations::ERASE_MAILS,
    invitations::EXPIRE,
    invitations::FORGET_ADDRESS,
    invitations::FORGET_MAILS,
    invitations::FORGET_PERSON,
    invitations::INSERT,
    invitations::LIST,
    invitations::NAMING,
    invitations::NAMING_ADDRESS,
    invitations::NOTE_MAIL,
    invitations::RENEW,
    invitations::REVOKE_ALL,
    invitations::SETTLE,
    contents::ATTACH,
    contents::COUNT,
    contents::COUNT_KEPT,
    contents::DELETE,
    contents::FEWER,
    contents::INSERT,
    contents::ITEMS_BEFORE,
    contents::MORE,
    contents::OF_ITEM,
    erasures::ANY,
    erasures::FIND,
    erasures::FORGET,
    erasures::INSERT,
    objects::ABANDON,
    objects::ADOPT,
    objects::FORGET,
    objects::INSERT,
    objects::LOOSE,
    objects::POSTPONE,
    objects::RELEASE,
    objects::RENEW,
    objects::RESERVED,
    objects::SHARE,
    objects::SHORTEN,
    items::ANYWHERE,
    items::BY_ID,
    items::INSERT,
    items::KEY,
    items::KEYS,
    items::KEYS_OF_KIND,
    items::KEYS_OF_PARENT,
    items::KEYS_OF_PROJECT,
    items::LEAVES,
    items::UPDATE,
    libraries::LOCK,
    libraries::SET,
    mail_counts::ERASE,
    mail_counts::FORGET,
    mail_counts::FORGET_AHEAD,
    mail_counts::LOCK,
    mail_counts::SET,
    memberships::COUNT,
    memberships::COUNT_EMAIL,
    memberships::COUNT_OWNED,
    memberships::END,
    memberships::END_OWNERS,
    memberships::END_SOME,
    memberships::ADDRESSES,
    memberships::FORGET_ADDRESSES,
    memberships::FORGET_ANSWERS,
    memberships::FORGET_SOME,
    memberships::JOIN,
    memberships::LIST,
    memberships::LIST_OF_ROLE,
    memberships::MEMBER,
    memberships::OF_USER,
    memberships::OWNED,
    memberships::PLACE,
    memberships::PLACE_NOW,
    memberships::AFTER,
    organizations::AFTER,
    memberships::SET_ROLE,
    nominations::AT,
    nominations::FORGET,
    nominations::FORGET_NOMINEE,
    nominations::OF,
    nominations::SET,
    organizations::BY_ID,
    organizations::CLOSED_AFTER,
    organizations::FOUND_BY_ID,
    organizations::FOUND_BY_NAME,
    organizations::FOUND_BY_OWNER,
    organizations::INSERT,
    organizations::OF_USER,
    organizations::OWNERLESS,
    organizations::PASSING_AFTER,
    organizations::SET_OWNER,
    organizations::TOLD_AFTER,
    organizations::UPDATE,
    preferences::ERASE,
    preferences::ERASE_SOME,
    preferences::LIST,
    preferences::OF,
    preferences::SET,
    projects::AFTER,
    projects::ANYWHERE,
    projects::ASSIGNED_IN,
    projects::BY_ID,
    projects::DELETE,
    projects::ERASE,
    projects::HAND_OVER,
    projects::INSERT,
    projects::LIST,
    projects::TELL,
    projects::UPDATE,
    seats::FORGET,
    seats::DOUBT,
    seats::FORGET_BEFORE,
    seats::KNOWN,
    seats::KNOWN_AFTER,
    seats::NOTE,
    seats::SEATING,
    seats::TELL,
    seats::UNTOLD,
    slugs::FIND,
    slugs::FORMER,
    slugs::FREE,
    slugs::FREE_OTHERS,
    slugs::KEPT,
    slugs::NAME_BY_ID,
    slugs::RETIRE,
    slugs::TAKE,
    slugs::TAKE_ID,
    standings::BEGIN_PURGE,
    standings::ERASE_NAME,
    standings::FIND,
    standings::MOVE,
    standings::OPEN,
    standings::REDATE,
    foundings::FIND,
    foundings::INSERT,
    foundings::TAKE,
    foundings::ERASE[0],
    foundings::ERASE[1],
    foundings::ERASE[2],
    standings::SET_REASON,
    users::DELETE,
    users::ENSURE,
    users::GONE_AFTER,
    users::PERSON,
    users::RENAME,
    users::SET_DEPARTURE,
    users::STAY_BEFORE,
];

/// Statements with locks, which SQLite neither has nor needs, and with lists.
pub(super) const POSTGRES: &[(&str, &str)] = bursar_testkit::statements![
    contents::DETACH_POSTGRES,
    erasures::AMONG_POSTGRES,
    erasures::FORGET_ITEMS_POSTGRES,
    erasures::UNDER_POSTGRES,
    items::ALL_CHILDREN_POSTGRES,
    items::BY_IDS_POSTGRES,
    items::CHILDREN_POSTGRES,
    items::KEYS_OF_POSTGRES,
    items::DELETE_POSTGRES,
    organizations::BY_ID_LOCKED,
    projects::BY_ID_LOCKED,
    standings::HOLD,
    users::PERSON_LOCKED,
];

/// Statements with lists, which SQLite takes as JSON.
pub(super) const SQLITE: &[(&str, &str)] = bursar_testkit::statements![
    contents::DETACH_SQLITE,
    erasures::AMONG_SQLITE,
    erasures::FORGET_ITEMS_SQLITE,
    erasures::UNDER_SQLITE,
    items::ALL_CHILDREN_SQLITE,
    items::BY_IDS_SQLITE,
    items::CHILDREN_SQLITE,
    items::DELETE_SQLITE,
    items::KEYS_OF_SQLITE,
];

#[test]
fn no_statement_is_forgotten() {
    // Where lists begin: no id is greater.
    let others = ["invitations::LAST", "items::LAST", "projects::LAST"];
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store");
    bursar_testkit::plans::none_is_forgotten(store, &[BOTH, POSTGRES, SQLITE], &others);
}

/// How SQLite goes about a statement, whatever is bound.
async fn plan(tx: &mut Tx, statement: &str) -> Option<String> {
    let Tx::Sqlite(t) = tx else { return None };
    let explained = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
    let steps: Vec<(i64, i64, i64, String)> = explained.fetch_all(&mut **t).await.expect("explained");
    Some(steps.into_iter().map(|(.., step)| step).collect::<Vec<_>>().join("; "))
}

bursar_testkit::engines! {
    /// Of what was purged there is ever more, and it has no name; nearly everything is active, and nearly every plan told.
    async fn neither_what_is_erased_nor_what_is_active_is_walked_through(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = db.begin().await.expect("a transaction");
        for (statement, expected) in [
            (organizations::FOUND_BY_NAME, "USING INDEX organizations_name (<expr>>? AND <expr><?)"),
            (organizations::CLOSED_AFTER, "USING INDEX organizations_state (id>?)"),
            (organizations::PASSING_AFTER, "USING INDEX organizations_state (id>?)"),
            (invitations::NAMING, "USING INDEX invitations_accepted (accepted_by=?)"),
            (invitations::NAMING, "USING INDEX invitations_email (email_key=?)"),
            (invitations::NAMING_ADDRESS, "USING INDEX invitations_email (email_key=?)"),
            (seats::UNTOLD, "USING INDEX organization_seats_untold (organization_id>?)"),
        ] {
            if let Some(plan) = plan(&mut tx, statement).await {
                assert!(plan.contains(expected), "{plan}");
            }
        }
        let (from, to) = organizations::named("");
        assert!("" < from.as_str() && from.as_str() < "a" && "zz" < to.as_str());
    }

    /// Kind K: nobody is refused for 400 days because a clock was ahead for seconds.
    async fn what_a_clock_that_was_ahead_counted_is_ignored_and_forgotten(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let (since, near) = (now.saturating_sub(Span::DAY), now.saturating_add(CLOCKS_APART));
        let (just, far) = (near.saturating_add(Span::SECOND), now.saturating_add(Span::from_days(400)));
        let mut tx = db.begin().await.expect("a transaction");
        for (subject, last) in [("by:near", near), ("by:just", just), ("by:far", far)] {
            mail_counts::sent_after(&mut tx, subject, since, last).await.expect("locked");
            mail_counts::set(&mut tx, subject, &[now, last], last).await.expect("counted");
        }
        for (subject, expected) in [("by:near", vec![now, near]), ("by:just", vec![now]), ("by:far", vec![now])] {
            let sent = mail_counts::sent_after(&mut tx, subject, since, now).await.expect("read");
            assert_eq!(sent, expected, "{subject}");
        }
        tx.commit().await.expect("committed");
        assert_eq!(mail_counts::forget(&db, now).await.expect("forgotten"), 2, "all but the near one");
        assert_eq!(mail_counts::forget(&db, now).await.expect("forgotten"), 0, "nothing is left to forget");
    }

    /// However many leases a clock that was ahead wrote.
    async fn leases_are_shortened_some_at_a_time(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let (due, far) = (now.saturating_add(Span::HOUR), now.saturating_add(Span::from_days(400)));
        let mut tx = db.begin().await.expect("a transaction");
        for (id, lease_until) in [("a", far), ("b", far), ("c", far), ("d", now)] {
            let uploader = OwnerId::User(bursar_testkit::id(1));
            let object = NewObject { id, uploader, size: 5, segment: 5, lease_until };
            objects::insert(&mut tx, &object).await.expect("noted");
        }
        for expected in [2, 1, 0] {
            let shortened = objects::shorten(&mut tx, due, due, 2).await.expect("shortened");
            assert_eq!(shortened, expected);
        }
        let mut loose = objects::loose(&mut tx, far, 10).await.expect("read");
        loose.sort();
        assert_eq!(loose, ["a", "b", "c", "d"], "none lapses as late as they were to");
    }

    async fn every_statement_can_be_prepared(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let mut tx = db.begin().await.expect("a transaction");
        for (_, statement) in BOTH {
            let prepared = match &mut tx {
                Tx::Sqlite(t) => t.prepare(statement.into_sql_str()).await.map(|_| ()),
                Tx::Postgres(t) => t.prepare(statement.into_sql_str()).await.map(|_| ()),
            };
            prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        if let Tx::Sqlite(t) = &mut tx {
            for (_, statement) in SQLITE {
                let prepared = t.prepare(statement.into_sql_str()).await.map(|_| ());
                prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        if let Tx::Postgres(t) = &mut tx {
            for (_, statement) in POSTGRES {
                let prepared = t.prepare(statement.into_sql_str()).await.map(|_| ());
                prepared.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
    }
}
