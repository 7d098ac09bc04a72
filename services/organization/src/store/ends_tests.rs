//! What has an end, and when it is over, on both engines: the statements say what the rules say.

use bursar_db::Tx;
use bursar_id::{InvitationId, OrganizationId, OwnerId, Role};
use bursar_secret::TokenDigest;
use bursar_testkit::postgres::somebody_waits;
use bursar_testkit::{START, at, id};
use bursar_time::{BELIEVED_AHEAD, Span, Timestamp};

use super::invitations::{Filter, InvitationRow};
use super::organizations::OrganizationRow;
use super::projects::ProjectRow;
use super::standings::Life;
use super::{MIGRATIONS, invitations, mail_counts, nominations, organizations, projects, seats};
use crate::domain::entitlements::{PlanName, Told};
use crate::domain::invitation::{LONGEST, State};
use crate::domain::nomination::{self, Nomination};

/// By how much the clock was ahead that wrote it, and whether it counts: only what a clock may be ahead that decides. Two
/// replicas may be two hours apart, and neither ends what the other has just made.
const WRITTEN: [(u64, Span, bool); 4] = [
    (1, Span::ZERO, true),
    (2, BELIEVED_AHEAD, true),
    (3, BELIEVED_AHEAD.saturating_add(Span::SECOND), false),
    (4, Span::from_days(400), false),
];

/// An organization that nobody has committed: what it refers to is checked at the end.
async fn organization(tx: &mut Tx, now: Timestamp) -> OrganizationId {
    let row = OrganizationRow {
        id: id(1),
        name: "Acme".to_owned(),
        slug: "acme".to_owned(),
        owner_user_id: id(1),
        version: 1,
        created_at: now,
        updated_at: now,
        life: Life::ACTIVE,
    };
    organizations::insert(tx, &row).await.expect("an organization");
    row.id
}

fn invitation(n: u64, organization_id: OrganizationId, lifetime: Span, made_at: Timestamp) -> InvitationRow {
    let email = format!("n{n}@x.org");
    InvitationRow {
        id: id(n),
        organization_id,
        email: email.clone(),
        email_key: email,
        role: Role::Member,
        state: State::Pending.to_string(),
        lifetime,
        invited_by: id(1),
        accepted_by: None,
        created_at: made_at,
        expires_at: made_at.saturating_add(lifetime),
    }
}

async fn listed(tx: &mut Tx, filter: &Filter) -> Vec<InvitationId> {
    let found = invitations::list(tx, filter, None, (10, 10)).await.expect("listed");
    found.rows.into_iter().map(|row| row.id).rev().collect()
}

bursar_testkit::engines! {
    /// Kind K, of invitations: such a one is pending nowhere, takes no seat, and stands in nobody's way.
    async fn an_invitation_that_only_a_clock_far_ahead_could_make_has_expired(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let mut tx = db.begin().await.expect("a transaction");
        let organization = organization(&mut tx, now).await;
        let told = Told { plan: PlanName::stored("team"), seats: 10, features: None };
        seats::tell(&mut tx, organization, &told, 1).await.expect("told");
        for (n, ahead, _) in WRITTEN {
            let lifetime = if n == 4 { LONGEST } else { Span::HOUR };
            let row = invitation(n, organization, lifetime, now.saturating_add(ahead));
            let digest = TokenDigest::from_bytes([u8::try_from(n).expect("small"); 32]);
            invitations::insert(&mut tx, &row, &digest).await.expect("written");
        }
        let all = Filter { organization, state: None, now };
        let (pending, expired) =
            (Filter { state: Some(State::Pending), ..all }, Filter { state: Some(State::Expired), ..all });
        assert_eq!(listed(&mut tx, &pending).await, [id(1), id(2)]);
        assert_eq!(listed(&mut tx, &expired).await, [id(3), id(4)]);
        let first = now.saturating_add(Span::HOUR);
        assert_eq!(invitations::pending(&mut tx, organization, now).await.expect("counted"), (2, Some(first)));
        assert_eq!(seats::seating(&mut tx, organization, now).await.expect("counted").taken(), 2);
        for (n, _, counts) in WRITTEN {
            let found = invitations::by_id(&mut tx, id(n)).await.expect("read").expect("there");
            assert_eq!(found.state_at(now).expect("a state") == State::Pending, counts, "{n}: by the rule");
            let key = format!("n{n}@x.org");
            let pending = invitations::pending_for(&mut tx, organization, &key, now).await.expect("read");
            assert_eq!(pending.is_some(), counts, "{n}: for its address");
        }
        invitations::expire(&mut tx, organization, now).await.expect("expired");
        for (n, _, counts) in WRITTEN {
            let found = invitations::by_id(&mut tx, id(n)).await.expect("read").expect("there");
            assert_eq!(found.state, if counts { "PENDING" } else { "EXPIRED" }, "{n}: written down");
        }
    }

    async fn what_is_revoked_with_all_others_is_what_is_pending(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let mut tx = db.begin().await.expect("a transaction");
        let organization = organization(&mut tx, now).await;
        for (n, ahead, _) in WRITTEN {
            let row = invitation(n, organization, Span::HOUR, now.saturating_add(ahead));
            let digest = TokenDigest::from_bytes([u8::try_from(n).expect("small"); 32]);
            invitations::insert(&mut tx, &row, &digest).await.expect("written");
        }
        invitations::revoke_all(&mut tx, organization, now).await.expect("revoked");
        for (n, _, counts) in WRITTEN {
            let found = invitations::by_id(&mut tx, id(n)).await.expect("read").expect("there");
            let expected = if counts { State::Revoked } else { State::Expired };
            assert_eq!(found.state_at(now).expect("a state"), expected, "{n}");
            let later = now.saturating_add(Span::from_days(400));
            assert_eq!(found.state_at(later).expect("a state"), expected, "{n}: and for good, whatever clock made it");
        }
    }

    async fn a_nomination_that_only_a_clock_far_ahead_could_make_is_shown_to_nobody(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let mut tx = db.begin().await.expect("a transaction");
        let organization = organization(&mut tx, now).await;
        for (n, ahead, counts) in WRITTEN {
            let until = now.saturating_add(ahead).saturating_add(nomination::LIFETIME);
            let said = Nomination { nominee: id(2), by: id(1), until };
            nominations::set(&mut tx, organization, &said).await.expect("nominated");
            let shown = nominations::at(&mut tx, organization, now).await.expect("read");
            assert_eq!(shown.nominee_user_id, counts.then_some(id(2)), "{n}: shown");
            assert_eq!(nomination::accept(Some(said), id(2), id(1), now).is_ok(), counts, "{n}: by the rule");
        }
    }

    /// Whoever has sent one while the last of the day before was forgotten would be counted as if nothing had been sent.
    async fn what_is_counted_while_it_is_forgotten_is_kept(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let (long_ago, ahead) = (now.saturating_sub(Span::from_days(2)), now.saturating_add(Span::from_days(400)));
        for (subject, before) in [("by:ada", long_ago), ("by:bob", ahead)] {
            let mut tx = db.begin().await.expect("a transaction");
            mail_counts::sent_after(&mut tx, subject, long_ago, before).await.expect("locked");
            mail_counts::set(&mut tx, subject, &[before], before).await.expect("counted");
            tx.commit().await.expect("committed");
            let mut tx = db.begin().await.expect("a transaction");
            mail_counts::sent_after(&mut tx, subject, now, now).await.expect("locked");
            mail_counts::set(&mut tx, subject, &[now], now).await.expect("counted");
            let sent = async {
                somebody_waits(&db).await;
                tx.commit().await.expect("committed");
            };
            let (forgotten, ()) = futures::join!(mail_counts::forget(&db, now), sent);
            assert_eq!(forgotten.expect("done"), 0, "{subject}");
            let mut tx = db.begin().await.expect("a transaction");
            let kept = mail_counts::sent_after(&mut tx, subject, long_ago, now).await.expect("read");
            assert_eq!(kept, [now], "{subject}");
        }
    }

    /// Whoever leaves leaves what was theirs, and not what somebody else has just been given.
    async fn a_project_that_is_given_to_somebody_while_another_leaves_is_theirs(db: TestDb) {
        let db = db.open(&MIGRATIONS).await;
        let now = at(START);
        let (organization, [leaves, stays, owner]) = (id(1), [id(2), id(3), id(4)]);
        let row = ProjectRow {
            id: id(5),
            owner: OwnerId::Organization(organization),
            name: "Plans".to_owned(),
            description: String::new(),
            created_by: leaves,
            assigned_to: leaves,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let mut tx = db.begin().await.expect("a transaction");
        projects::insert(&mut tx, &row).await.expect("a project");
        tx.commit().await.expect("committed");
        let mut giving = db.begin().await.expect("a transaction");
        projects::update(&mut giving, &ProjectRow { assigned_to: stays, ..row.clone() }, now).await.expect("given");
        let given = async {
            somebody_waits(&db).await;
            giving.commit().await.expect("committed");
        };
        let handing = async {
            let mut tx = db.begin().await.expect("a transaction");
            let handed = projects::hand_over(&mut tx, organization, [leaves, owner], now, 10).await.expect("handed over");
            tx.commit().await.expect("committed");
            handed
        };
        let (handed, ()) = futures::join!(handing, given);
        let mut tx = db.begin().await.expect("a transaction");
        let found = projects::anywhere(&mut tx, row.id).await.expect("read").expect("it is there");
        assert_eq!((handed, found.assigned_to), (0, stays));
    }
}
