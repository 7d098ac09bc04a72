//! The audit log: what gets a row, what does not, and that organization is told.

use bursar_db::audit::AuditRow;
use bursar_id::ServiceAccountId;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{AuditRecorded, SnapshotRequest, WatchRequest};
use bursar_proto::event_type::AUDIT_RECORDED;
use bursar_proto::identity::v1 as proto;
use bursar_testkit::{Client, PASSWORD, Person, START, at, audited, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::world::{World, becomes};

/// A row in few words.
fn told(row: &AuditRow) -> String {
    let rpc = row.method.rsplit('/').next().unwrap_or_default();
    let owner = row.owner.map_or_else(|| "the deployment".to_owned(), |owner| owner.to_string());
    let outcome = row.reason.clone().unwrap_or_else(|| row.outcome.to_string());
    format!("{} {rpc} {} in {owner}: {outcome}", row.actor, row.target.clone().unwrap_or_default())
}

/// The first `count` rows that organization is told of.
async fn events(service: &Client, count: usize) -> Vec<AuditRecorded> {
    let request = WatchRequest { types: vec![AUDIT_RECORDED.to_owned()], ..Default::default() };
    let mut stream = service.identity_events().watch(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.len() < count {
        if let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item
            && let Some(Payload::AuditRecorded(recorded)) = event.payload
        {
            seen.push(recorded);
        }
    }
    seen
}

/// What is older than `retention` goes, by the job, more than one transaction takes of it; what is younger stays.
async fn keeps(world: World, retention: Span) {
    let ada = world.join("Ada").await;
    let first = audited(&world.db).await.remove(0);
    let mut tx = world.db.begin().await.unwrap();
    // The last of them two hours later.
    let ages = (0..1_100_u64).map(Span::from_secs).chain([Span::from_hours(2)]);
    for (n, age) in (0..).zip(ages) {
        let row = AuditRow { id: id(n), at: at(START).saturating_add(age), ..first.clone() };
        bursar_db::audit::record(&mut tx, &row).await.unwrap();
    }
    tx.commit().await.unwrap();
    world.clock.advance(retention).unwrap();
    Person::sign_in(&world.anybody, &ada.email).await;
    world.pass(3_600);
    becomes(2, async || audited(&world.db).await.len()).await;
    let left = audited(&world.db).await;
    assert_eq!((left[0].at, left[0].id), (at(START).saturating_add(Span::from_hours(2)), id(1_100)), "{left:?}");
    assert!(left[1].method.ends_with("/SignIn"), "{left:?}");
    world.pass(7_200);
    becomes(1, async || audited(&world.db).await.len()).await;
}

bursar_testkit::engines! {
    async fn rows_are_kept_for_four_hundred_days(db: TestDb) {
        keeps(World::start(&db).await, Span::from_days(400)).await;
    }

    async fn rows_are_kept_as_long_as_the_setting_says(db: TestDb) {
        let two_days = std::time::Duration::from_hours(48);
        let world = World::start_with(&db, |settings| settings.audit.retention = two_days).await;
        keeps(world, Span::from_days(2)).await;
    }

    async fn what_people_and_operators_do_gets_a_row_and_is_told(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let rename = proto::UpdateMeRequest { display_name: "Countess".to_owned(), ..Default::default() };
        ada.client().users().update_me(rename).await.unwrap();
        let (me, session) = (&ada.user, &ada.tokens.session_id);
        let personal = [
            format!("{me} SignIn {session} in {me}: DONE"),
            format!("{me} SignUp {me} in {me}: DONE"),
            format!("{me} UpdateMe {me} in {me}: DONE"),
            format!("{me} VerifyEmail {me} in {me}: DONE"),
        ];
        let before = audited(&world.db).await;
        // Rows of one instant have no order.
        let mut lines: Vec<_> = before.iter().map(told).collect();
        lines.sort();
        assert_eq!(lines, personal);

        // Strangers leave nothing, and neither does what only concerns oneself.
        refused(world.sign_in(&ada.email, "wrong").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        let bad = proto::VerifyEmailRequest { token: "A".repeat(43) };
        refused(world.anybody.users().verify_email(bad).await, Code::FailedPrecondition, "VERIFICATION_TOKEN_INVALID");
        let other = id::<bursar_id::kinds::Session>(9).to_string();
        let revoke = proto::RevokeSessionRequest { session_id: other, ..Default::default() };
        refused(ada.client().sessions().revoke_session(revoke).await, Code::NotFound, "NOT_FOUND");
        assert_eq!(audited(&world.db).await.len(), before.len());

        // Operators are heard when they are refused, too.
        let operator = world.operator().await;
        let nobody: ServiceAccountId = id(5);
        let rotate = proto::RotateServiceAccountSecretRequest { service_account_id: nobody.to_string(), ..Default::default() };
        refused(operator.service_accounts().rotate_service_account_secret(rotate).await, Code::NotFound, "NOT_FOUND");
        let after = audited(&world.db).await;
        let last: Vec<_> = after.iter().filter(|row| row.owner.is_none()).map(told).collect();
        let expected = format!("{} RotateServiceAccountSecret {nobody} in the deployment: NOT_FOUND", ServiceAccountId::OPERATOR);
        assert_eq!(last, [expected]);

        let mut ids: Vec<_> = after.iter().map(|row| row.id.to_string()).collect();
        let mut told: Vec<_> = events(&operator, 5).await.into_iter().map(|event| event.id).collect();
        ids.sort();
        told.sort();
        assert_eq!(told, ids);

        // Whoever comes too late for the events gets the rows from a snapshot.
        let mut answers = operator.identity_events()
            .snapshot(SnapshotRequest { types: vec![AUDIT_RECORDED.to_owned()] }).await.unwrap().into_inner();
        let mut late = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            late.extend(answer.events.into_iter().filter_map(|event| match event.payload {
                Some(Payload::AuditRecorded(row)) => Some(row.id),
                _ => None,
            }));
        }
        assert_eq!(late, ids);
    }

    async fn no_row_holds_a_secret_an_address_or_a_name(db: TestDb) {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let token = world.mailbox.next_token("ada@example.com").await;
        let verify = proto::VerifyEmailRequest { token: token.clone() };
        world.anybody.users().verify_email(verify).await.unwrap();
        let tokens = world.sign_in("ada@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        let operator = world.operator().await;
        let create = proto::CreateServiceAccountRequest { display_name: "Farm".to_owned(), role: "product".to_owned(), ..Default::default() };
        let made = operator.service_accounts().create_service_account(create).await.unwrap().into_inner();
        let rows = audited(&world.db).await;
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| row.request_id.is_none()), "the key of a single-use token is not told: {rows:?}");
        let all = format!("{rows:?} {:?}", events(&operator, 4).await);
        for secret in [token.as_str(), "@example.com", "Somebody", "Farm", PASSWORD, &tokens.refresh_token, &made.client_secret] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
}
