//! `ListAuditEvents`: who may, the filters, and pages that lose and double nothing.

use bursar_db::audit::{self, AuditRow, Outcome};
use bursar_db::{Db, on};
use bursar_id::{AuditId, OwnerId, Role};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Client, START, at, audited, id, organization, refused};
use bursar_time::{Span, Timestamp};
use sqlx::AssertSqlSafe;
use tonic::{Code, Status};

use crate::world::{World, invite};

type Wanted = proto::ListAuditEventsRequest;

fn of(organization: &str) -> Wanted {
    Wanted { organization_id: organization.to_owned(), page_size: 1_000, ..Default::default() }
}

async fn list(client: &Client, wanted: Wanted) -> Result<proto::ListAuditEventsResponse, Status> {
    client.audit().list_audit_events(wanted).await.map(tonic::Response::into_inner)
}

/// The names of the RPCs of a page, as they come.
fn rpcs(page: &proto::ListAuditEventsResponse) -> Vec<&str> {
    page.events.iter().map(|event| event.method.rsplit('/').next().unwrap_or_default()).collect()
}

/// The ids of every row, page by page, and how many rows each page had.
async fn all(client: &Client, wanted: Wanted) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut pages, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = list(client, Wanted { page_token, ..wanted.clone() }).await.expect("a page");
        pages.push(page.events.len());
        ids.extend(page.events.into_iter().map(|event| event.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (ids, pages);
        }
        assert!(pages.len() < 1_000, "it never ends");
    }
}

fn row(n: u64, time: Timestamp, owner: OwnerId) -> AuditRow {
    let [.., high, low] = n.to_be_bytes();
    AuditRow {
        id: AuditId::from_parts(time.as_millis(), [0, 0, 0, 0, 0, 0, 0, 0, high, low]),
        at: time,
        owner: Some(owner),
        actor: id::<bursar_id::kinds::User>(1).to_string(),
        on_behalf_of: None,
        method: "bursar.billing.v1.PurchaseService/PurchasePack".to_owned(),
        target: None,
        outcome: Outcome::Done,
        reason: None,
        request_id: None,
    }
}

async fn write(db: &Db, rows: impl IntoIterator<Item = AuditRow>) {
    let mut tx = db.begin().await.expect("a transaction");
    for row in rows {
        audit::record(&mut tx, &row).await.expect("recorded");
    }
    tx.commit().await.expect("committed");
}

bursar_testkit::engines! {
    async fn owner_admin_and_operators_see_it_and_nobody_else(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let umbra = world.create(&eve, "Umbra").await.id;
        let seen = list(&ada.client, of(&acme)).await.expect("the Owner's");
        assert_eq!(seen.events.len(), 5);
        assert!(seen.events.iter().all(|event| event.outcome() == proto::AuditOutcome::Done), "{seen:?}");
        assert_eq!(list(&ben.client, of(&acme)).await.expect("an Admin's"), seen);
        let operator = world.service(ServiceRole::Operator);
        assert_eq!(list(&operator, of(&acme)).await.expect("an operator's"), seen);
        assert_eq!(list(&operator, of(&umbra)).await.expect("of any organization").events.len(), 1);
        let nowhere = organization(77).to_string();
        refused(list(&operator, of(&nowhere)).await, Code::NotFound, "NOT_FOUND");
        // For a user an operator sees what that user does.
        let token = world.issuer.user(cem.user).at(world.clock.now());
        refused(list(&operator.for_user(&token), of(&acme)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        for who in [&world.service(ServiceRole::Product), &world.service(ServiceRole::Billing)] {
            refused(list(who, of(&acme)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        for organization in [&acme, &nowhere] {
            refused(list(&eve.client, of(organization)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        let unsigned = list(&world.anybody, of(&acme)).await.expect_err("nobody");
        assert_eq!(unsigned.code(), Code::Unauthenticated);
        // A member is refused, and that stands in it: the operator's attempt under both names.
        refused(list(&cem.client, of(&acme)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        world.advance(Span::SECOND);
        let invitations = proto::ListInvitationsRequest { organization_id: acme.clone(), ..Default::default() };
        let refusal = cem.client.invitations().list_invitations(invitations).await;
        refused(refusal, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let rows = audited(&world.store).await;
        let mut told: Vec<_> = rows.iter().filter(|row| row.reason.is_some()).map(|row| {
            let rpc = row.method.rsplit('/').next().unwrap_or_default();
            (rpc, row.actor.clone(), row.on_behalf_of.clone(), row.reason.as_deref())
        }).collect();
        told.sort();
        let (cem, svc) = (cem.user.to_string(), bursar_id::ServiceAccountId::OPERATOR.to_string());
        let reason = Some("ROLE_NOT_ALLOWED");
        let mut expected = [
            ("ListAuditEvents", cem.clone(), None, reason),
            ("ListAuditEvents", svc, Some(cem.clone()), reason),
            ("ListInvitations", cem, None, reason),
        ];
        expected.sort();
        assert_eq!(told, expected);
    }

    async fn a_former_admin_sees_nothing(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        list(&ben.client, of(&acme)).await.expect("an Admin's");
        crate::world::remove(&ada, &acme, ben.user).await.expect("removed");
        refused(list(&ben.client, of(&acme)).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    async fn filters_find_what_they_name(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        world.advance(Span::SECOND);
        let since = world.clock.now();
        let invited = invite(&ben, &acme, "new@example.com", Role::Member).await.expect("invited");
        world.advance(Span::SECOND);
        let until = world.clock.now();
        let rename = proto::UpdateOrganizationRequest { organization_id: acme.clone(), name: "\n".to_owned(), ..Default::default() };
        refused(ben.client.organizations().update_organization(rename).await, Code::InvalidArgument, "INVALID_FIELDS");
        let owner = OwnerId::Organization(acme.parse().expect("an id"));
        let key: bursar_id::ApiKeyId = id(4);
        let by_key = AuditRow {
            actor: key.to_string(),
            on_behalf_of: Some(ben.user.to_string()),
            ..row(4, world.clock.now().saturating_add(Span::SECOND), owner)
        };
        write(&world.store, [by_key]).await;

        let sees = async |wanted: Wanted| {
            let page = list(&ada.client, Wanted { organization_id: acme.clone(), ..wanted }).await.expect("listed");
            let mut names: Vec<_> = rpcs(&page).into_iter().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        let everything = "AcceptInvitation CreateInvitation CreateInvitation CreateOrganization PurchasePack UpdateOrganization";
        assert_eq!(sees(Wanted::default()).await, everything);
        let (from, to) = (Some(to_timestamp(since)), Some(to_timestamp(until)));
        assert_eq!(sees(Wanted { from, ..Default::default() }).await, "CreateInvitation PurchasePack UpdateOrganization");
        assert_eq!(sees(Wanted { from, to, ..Default::default() }).await, "CreateInvitation", "half-open");
        assert_eq!(sees(Wanted { from, to: from, ..Default::default() }).await, "");
        let actor = |actor: &dyn ToString| Wanted { actor: actor.to_string(), ..Default::default() };
        assert_eq!(sees(actor(&ben.user)).await, "AcceptInvitation CreateInvitation PurchasePack UpdateOrganization");
        assert_eq!(sees(actor(&key)).await, "PurchasePack");
        let method = |method: &str| Wanted { method: method.to_owned(), ..Default::default() };
        assert_eq!(sees(method("bursar.organization.v1.InvitationService")).await, "AcceptInvitation CreateInvitation CreateInvitation");
        assert_eq!(sees(method("bursar.organization.v1.InvitationService/AcceptInvitation")).await, "AcceptInvitation");
        assert_eq!(sees(method("bursar.organization.v1.Invitation")).await, "", "no part of a name");
        let target = Wanted { target: invited.id.clone(), ..Default::default() };
        assert_eq!(sees(target).await, "CreateInvitation");
        let outcome = |outcome: proto::AuditOutcome| Wanted { outcome: outcome.into(), ..Default::default() };
        assert_eq!(sees(outcome(proto::AuditOutcome::Refused)).await, "UpdateOrganization");
        let both = Wanted { from, ..outcome(proto::AuditOutcome::Done) };
        assert_eq!(sees(both).await, "CreateInvitation PurchasePack");
    }

    async fn bad_arguments_are_all_named(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let [early, late] = [at(START), at(START).saturating_add(Span::SECOND)].map(|time| Some(to_timestamp(time)));
        let bad = Wanted {
            from: late,
            to: early,
            actor: "ada@example.com".to_owned(),
            method: "a\u{202e}b".to_owned(),
            target: "acme".to_owned(),
            outcome: 99,
            ..of(&acme)
        };
        let status = list(&ada.client, bad).await.expect_err("refused");
        let refusal = bursar_testkit::Refusal::of(&status);
        assert_eq!(refusal.reason, "INVALID_FIELDS");
        for field in ["to", "actor", "method", "target", "outcome"] {
            assert!(format!("{refusal:?}").contains(&format!("\"{field}\"")), "{field} in {refusal:?}");
        }
        refused(list(&ada.client, Wanted { page_size: -1, ..of(&acme) }).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(list(&ada.client, of("acme")).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn a_token_fits_the_list_that_gave_it_only(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        for organization in [&acme, &umbra] {
            let owner = OwnerId::Organization(organization.parse().expect("an id"));
            write(&world.store, (1..4).map(|n| row(n, at(START), owner))).await;
        }
        let wanted = Wanted { page_size: 2, outcome: proto::AuditOutcome::Done.into(), ..of(&acme) };
        let first = list(&ada.client, wanted.clone()).await.expect("a page");
        let wanted = Wanted { page_token: first.next_page_token, ..wanted };
        assert!(!wanted.page_token.is_empty());
        list(&ada.client, Wanted { page_size: 1, ..wanted.clone() }).await.expect("a smaller page");
        let other = |change: &dyn Fn(&mut Wanted)| {
            let mut wanted = wanted.clone();
            change(&mut wanted);
            wanted
        };
        let user = ada.user.to_string();
        let others = [
            other(&|it| it.organization_id.clone_from(&umbra)),
            other(&|it| it.from = Some(to_timestamp(Timestamp::EPOCH))),
            other(&|it| it.to = Some(to_timestamp(at(START).saturating_add(Span::DAY)))),
            other(&|it| it.actor.clone_from(&user)),
            other(&|it| "bursar.billing.v1.PurchaseService".clone_into(&mut it.method)),
            other(&|it| it.target.clone_from(&acme)),
            other(&|it| it.outcome = 0),
            other(&|it| it.page_token.truncate(30)),
            other(&|it| it.page_token.push('A')),
        ];
        for other in others {
            refused(list(&ada.client, other).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        }
    }

    /// Rows of one instant, rows that are written while somebody pages (newer ones, and older ones that come late from
    /// another service), and rows of others: what stood when it began is told once.
    async fn pages_lose_and_double_nothing_while_rows_are_written(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let owner = OwnerId::Organization(acme.parse().expect("an id"));
        let others = organization(5);
        let time = |n: u64| at(START).saturating_sub(Span::from_secs(n / 7));
        write(&world.store, (0..200).flat_map(|n| [row(n, time(n), owner), row(1_000 + n, time(n), others)])).await;
        let mut stood: Vec<String> = audited(&world.store).await.iter().filter(|row| row.owner == Some(owner))
            .map(|row| row.id.to_string()).collect();
        stood.sort();
        let (mut seen, mut page_token, mut late) = (Vec::new(), String::new(), 2_000);
        loop {
            let wanted = Wanted { page_size: 9, page_token, ..of(&acme) };
            let page = list(&ada.client, wanted).await.expect("a page");
            assert!(page.events.is_sorted_by_key(|event| std::cmp::Reverse((event.at.unwrap().seconds, event.at.unwrap().nanos, event.id.clone()))));
            seen.extend(page.events.into_iter().map(|event| event.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            late += 2;
            write(&world.store, [row(late, world.clock.now(), owner), row(late + 1, time(late % 200), owner)]).await;
            world.advance(Span::SECOND);
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "none is told twice");
        let lost: Vec<_> = stood.iter().filter(|id| !seen.contains(id)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }

    /// A filter that matches one row in twelve thousand: no page looks at more than 5,000, and together they find it.
    async fn a_filtered_page_is_short_rather_than_long(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let owner = OwnerId::Organization(acme.parse().expect("an id"));
        fill(&world.store, owner, 12_000).await;
        let target = id::<bursar_id::kinds::Purchase>(3).to_string();
        let oldest = AuditRow { target: Some(target.clone()), ..row(1, at(START).saturating_sub(Span::HOUR), owner) };
        write(&world.store, [oldest]).await;
        let wanted = Wanted { target, ..of(&acme) };
        let (ids, pages) = all(&ada.client, wanted.clone()).await;
        assert_eq!((ids.len(), pages), (1, vec![0, 0, 1]));
        // Where nothing is filtered pages are full.
        let (ids, pages) = all(&ada.client, of(&acme)).await;
        assert_eq!(ids.len(), 12_002);
        assert!(pages[..12].iter().all(|rows| *rows == 1_000), "{pages:?}");
        // As many matches as fit, then the next.
        let (ids, _) = all(&ada.client, Wanted { actor: ada.user.to_string(), page_size: 700, ..of(&acme) }).await;
        assert_eq!(ids.len(), 12_002);
    }
}

/// Writes many rows of an owner, a millisecond apart.
async fn fill(db: &Db, owner: OwnerId, rows: i64) {
    let (first, actor) = (at(START).as_micros() - rows * 1_000, id::<bursar_id::kinds::User>(1));
    let statement = format!(
        "INSERT INTO audit (id, at, owner, actor, method, outcome) \
         WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) \
         SELECT 'aud_0000000000000' || CAST(1000000000000 + n AS TEXT), {first} + n * 1000, '{owner}', '{actor}', 'a.B/C', \
         'DONE' FROM c"
    );
    let mut tx = db.begin().await.expect("a transaction");
    on!(&mut tx, c => sqlx::query(AssertSqlSafe(statement)).execute(c).await.expect("filled").rows_affected());
    tx.commit().await.expect("committed");
}
