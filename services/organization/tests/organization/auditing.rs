//! The audit log: what gets a row, what does not, and that rows stay.

use bursar_db::audit::{AuditRow, Outcome};
use bursar_db::{DbError, on};
use bursar_id::{OwnerId, Role};
use bursar_organization::store::MIGRATIONS;
use bursar_proto::event::v1::AuditRecorded;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{START, at, audited, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::world::{Who, World, accept, invite, remove, transfer, until};

/// A row in few words: actor, for whom, RPC, target, outcome or reason, request id.
fn told(row: &AuditRow) -> (String, Option<String>, String, Option<String>, String, Option<String>) {
    let rpc = row.method.rsplit('/').next().unwrap_or_default().to_owned();
    let outcome = row.reason.clone().unwrap_or_else(|| row.outcome.to_string());
    (row.actor.clone(), row.on_behalf_of.clone(), rpc, row.target.clone(), outcome, row.request_id.clone())
}

fn line(
    actor: &Who,
    rpc: &str,
    target: &impl ToString,
    outcome: &str,
) -> (String, Option<String>, String, Option<String>, String, Option<String>) {
    (actor.user.to_string(), None, rpc.to_owned(), Some(target.to_string()), outcome.to_owned(), None)
}

async fn rename(who: &Who, organization: &str, name: &str, request_id: &str) -> Result<(), tonic::Status> {
    let request = proto::UpdateOrganizationRequest {
        organization_id: organization.to_owned(),
        name: name.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    who.client.organizations().update_organization(request).await.map(drop)
}

bursar_testkit::engines! {
    async fn what_is_done_and_what_only_few_may_do_gets_a_row(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        world.advance(Span::SECOND);
        let before = audited(&world.store).await;
        // Rows of one instant have no order.
        let mut rpcs: Vec<_> = before.iter().map(|row| told(row).2).collect();
        rpcs.sort();
        assert_eq!(rpcs, ["AcceptInvitation", "CreateInvitation", "CreateOrganization"]);
        let owner: OwnerId = acme.parse().expect("an owner");
        assert!(before.iter().all(|row| row.owner == Some(owner)), "{before:?}");
        let full = "bursar.organization.v1.OrganizationService/CreateOrganization";
        assert!(before.iter().any(|row| row.method == full), "{before:?}");

        // Strangers, bad tokens and what every member may do leave nothing when refused.
        refused(rename(&eve, &acme, "Stolen", "r0").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(remove(&eve, &acme, ben.user).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(accept(&eve, "no token").await, Code::NotFound, "NOT_FOUND");
        let leave = proto::LeaveOrganizationRequest { organization_id: acme.clone(), request_id: String::new() };
        refused(ada.client.members().leave_organization(leave).await, Code::FailedPrecondition, "OWNER_MUST_TRANSFER");
        assert_eq!(audited(&world.store).await, before);

        // Members are heard, for whatever reason they are refused; a replay is no second call.
        refused(rename(&ben, &acme, "Mine", "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        world.advance(Span::SECOND);
        refused(rename(&ada, &acme, "\n", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        world.advance(Span::SECOND);
        rename(&ada, &acme, "Acme & Co", "r1").await.expect("renamed");
        rename(&ada, &acme, "Acme & Co", "r1").await.expect("replayed");
        world.advance(Span::SECOND);
        refused(rename(&ada, &acme, "Another", "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.advance(Span::SECOND);
        refused(transfer(&ada, &acme, eve.user).await, Code::NotFound, "NOT_FOUND");
        world.advance(Span::SECOND);
        remove(&ada, &acme, ben.user).await.expect("removed");
        let after: Vec<_> = audited(&world.store).await.iter().skip(before.len()).map(told).collect();
        let mut expected = vec![
            line(&ben, "UpdateOrganization", &acme, "ROLE_NOT_ALLOWED"),
            line(&ada, "UpdateOrganization", &acme, "INVALID_FIELDS"),
            line(&ada, "UpdateOrganization", &acme, "DONE"),
            line(&ada, "UpdateOrganization", &acme, "REQUEST_ID_REUSED"),
            line(&ada, "TransferOwnership", &eve.user, "NOT_FOUND"),
            line(&ada, "RemoveMember", &ben.user, "DONE"),
        ];
        for row in &mut expected[2..4] {
            row.5 = Some("r1".to_owned());
        }
        assert_eq!(after, expected);
    }

    async fn whoever_calls_all_the_time_what_is_refused_adds_a_few_rows_that_say_how_often(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        // Rows of one instant have no order.
        world.advance(Span::SECOND);
        let before = audited(&world.store).await.len();
        for n in 0..100 {
            let renamed = rename(&ben, &acme, "Mine", &format!("r{n}")).await;
            refused(renamed, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
            world.advance(Span::SECOND);
        }
        let rows = audited(&world.store).await;
        let counts = ["ROLE_NOT_ALLOWED (20)", "ROLE_NOT_ALLOWED (40)", "ROLE_NOT_ALLOWED (80)"];
        let expected: Vec<_> = std::iter::repeat_n("ROLE_NOT_ALLOWED", 10).chain(counts).collect();
        let reasons: Vec<_> = rows.iter().skip(before).filter_map(|row| row.reason.as_deref()).collect();
        assert_eq!(reasons, expected);
        assert!(rows.iter().skip(before).all(|row| told(row).3.as_ref() == Some(&acme)), "{rows:?}");
        // Others are heard, and so is what takes effect.
        rename(&ada, &acme, "Acme & Co", "").await.expect("renamed");
        refused(rename(&ada, &acme, "\n", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(audited(&world.store).await.len(), rows.len() + 2);
        world.advance(Span::HOUR);
        // With a token of then.
        refused(rename(&world.who(2), &acme, "Mine", "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        assert_eq!(audited(&world.store).await.len(), rows.len() + 3);
    }

    async fn no_row_holds_a_secret_or_an_address(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.advance(Span::SECOND);
        invite(&ada, &acme, "new@example.com", Role::Member).await.expect("invited");
        let token = world.mailbox.next_token("new@example.com").await;
        refused(accept(&ada, &token).await, Code::PermissionDenied, "INVITATION_EMAIL_MISMATCH");
        world.advance(Span::SECOND);
        let request = proto::DeclineInvitationRequest { token: token.clone() };
        world.anybody.invitations().decline_invitation(request.clone()).await.expect("declined");
        let rows = audited(&world.store).await;
        world.anybody.invitations().decline_invitation(request).await.expect("the same answer again");
        assert_eq!(audited(&world.store).await, rows, "a repetition by whoever holds the token writes no row");
        let last = rows.last().expect("a row");
        assert!(last.actor.starts_with("inv_") && last.target.as_ref() == Some(&last.actor), "whoever held it: {last:?}");
        let all = format!("{rows:?}");
        for secret in [token.as_str(), "@example.com", "Acme"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }

    async fn rows_stay_as_they_are(db: TestDb) {
        let store = db.open(&MIGRATIONS).await;
        let row = |n: u64, days: u64| AuditRow {
            id: id(n),
            at: at(START).saturating_add(Span::from_days(days)),
            owner: None,
            actor: "svc_1".to_owned(),
            on_behalf_of: None,
            method: "a.B/C".to_owned(),
            target: None,
            outcome: Outcome::Done,
            reason: None,
            request_id: None,
        };
        let mut tx = store.begin().await.expect("begins");
        for (n, days) in [(1, 0), (2, 1), (3, 2)] {
            bursar_db::audit::record(&mut tx, &row(n, days)).await.expect("recorded");
        }
        // Told again, a row is no other.
        bursar_db::audit::record(&mut tx, &AuditRow { reason: Some("X".to_owned()), ..row(1, 0) }).await.expect("ignored");
        tx.commit().await.expect("commits");
        for statement in ["UPDATE audit SET actor = 'usr_1'", "DELETE FROM audit", "DELETE FROM audit WHERE actor = 'svc_1'"] {
            let mut tx = store.begin().await.expect("begins");
            let outcome: Result<u64, DbError> =
                async { Ok(on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected())) }.await;
            assert!(outcome.is_err(), "{statement}: {outcome:?}");
        }
        assert_eq!(audited(&store).await, [row(1, 0), row(2, 1), row(3, 2)]);
        if let bursar_db::Db::Postgres(pool) = &store {
            sqlx::raw_sql("TRUNCATE audit").execute(pool.pool()).await.expect_err("nor at once");
        }
        // But for what retention may take, which goes by the newest row: whatever the clock and the setting say, a day stays.
        let ages = at(START).saturating_add(Span::from_days(4_000));
        let kept = bursar_db::audit::forget(&store, ages, Span::from_days(3_999)).await.expect("one that is old");
        let last = bursar_db::audit::forget(&store, ages, Span::DAY).await.expect("not the last one");
        assert_eq!((kept, last), (1, 1));
        assert_eq!(audited(&store).await, [row(3, 2)]);
    }

    /// More rows than one transaction takes, by the job and its setting.
    async fn rows_are_kept_as_long_as_the_setting_says(db: TestDb) {
        let world = World::start_with(db, |settings| settings.audit.retention = std::time::Duration::from_hours(48)).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let owner: OwnerId = acme.parse().expect("an owner");
        let first = audited(&world.store).await.remove(0);
        let mut tx = world.store.begin().await.expect("begins");
        for n in 0..1_100_u64 {
            let old = AuditRow {
                id: id(n),
                at: at(START).saturating_add(Span::from_secs(n)),
                owner: Some(owner),
                ..first.clone()
            };
            bursar_db::audit::record(&mut tx, &old).await.expect("recorded");
        }
        tx.commit().await.expect("commits");
        world.advance(Span::from_days(2));
        rename(&world.who(1), &acme, "Acme & Co", "r1").await.expect("renamed");
        world.advance(Span::from_hours(1));
        until("the job has taken what is old", async || audited(&world.store).await.len() == 1).await;
        let left = audited(&world.store).await;
        assert!(left[0].method.ends_with("/UpdateOrganization"), "{left:?}");
    }

    async fn the_other_services_tell_theirs(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let recorded = |n: u64, method: &str| AuditRecorded {
            id: id::<bursar_id::kinds::Audit>(n).to_string(),
            at: Some(to_timestamp(world.clock.now())),
            owner: bursar_testkit::organization(1).to_string(),
            actor: ada.user.to_string(),
            method: method.to_owned(),
            outcome: "REFUSED".to_owned(),
            reason: "ROLE_NOT_ALLOWED".to_owned(),
            request_id: "r1".to_owned(),
            ..Default::default()
        };
        world.identity_tells(Payload::AuditRecorded(recorded(1, "bursar.identity.v1.UserService/UpdateMe"))).await;
        world.billing_tells(Payload::AuditRecorded(recorded(2, "bursar.billing.v1.PurchaseService/PurchasePack"))).await;
        until("both rows are known", async || audited(&world.store).await.len() == 2).await;
        for row in audited(&world.store).await {
            let (actor, on_behalf_of, _, target, outcome, request_id) = told(&row);
            assert_eq!((actor, on_behalf_of, target), (ada.user.to_string(), None, None));
            assert_eq!((outcome.as_str(), request_id.as_deref()), ("ROLE_NOT_ALLOWED", Some("r1")));
            assert_eq!(row.owner, Some(bursar_testkit::organization(1)));
        }
    }
}
