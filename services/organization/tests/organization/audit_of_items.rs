//! The rows of what needs streams or two contexts: copying items and uploading content.

use std::collections::BTreeSet;

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{Role, ServiceAccountId};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, audited, auditing, id};

use crate::contents::{start, upload};
use crate::copying::{copy, to};
use crate::library::{create, item};
use crate::world::{Who, World};

/// Demands that a call by `actor` left these rows and no others: each in the log of an owner, about an item.
#[track_caller]
fn are(rows: &[AuditRow], actor: &str, rpc: &str, expected: &[(&str, &str)]) {
    let place = |row: &AuditRow| (row.owner.map(|owner| owner.to_string()), row.target.clone());
    let found: BTreeSet<_> = rows.iter().map(place).collect();
    let expected: BTreeSet<_> =
        expected.iter().map(|(owner, item)| (Some((*owner).to_owned()), Some((*item).to_owned()))).collect();
    assert_eq!((found, rows.len()), (expected.clone(), expected.len()), "{rpc}");
    for row in rows {
        assert_eq!(row.method, format!("bursar.organization.v1.LibraryService/{rpc}"));
        let told = (row.actor.as_str(), row.on_behalf_of.as_deref(), row.outcome, row.reason.as_deref());
        assert_eq!(told, (actor, None, Outcome::Done, None), "{rpc}");
    }
}

/// The targets that an organization's log tells of copies.
async fn told(who: &Who, organization: &str) -> BTreeSet<String> {
    let wanted = proto::ListAuditEventsRequest {
        organization_id: organization.to_owned(),
        method: "bursar.organization.v1.LibraryService/CopyItem".to_owned(),
        ..Default::default()
    };
    let page = who.client.audit().list_audit_events(wanted).await.expect("listed").into_inner();
    page.events.into_iter().map(|event| event.target).collect()
}

bursar_testkit::engines! {
    async fn a_copy_leaves_a_row_where_it_was_taken_and_one_where_it_went(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let own = ada.user.to_string();
        let mine = create(&ada.client, item(&own, "agent", "Mine")).await.expect("made");
        let request = proto::CopyItemRequest { request_id: "r1".to_owned(), ..to(&mine, &acme) };
        let (copied, rows) = auditing(&world.store, copy(&ada.client, request.clone())).await;
        let theirs = copied.expect("copied");
        are(&rows, &own, "CopyItem", &[(&own, &mine.id), (&acme, &theirs.id)]);
        assert!(rows.iter().all(|row| row.request_id.as_deref() == Some("r1")), "{rows:?}");
        let (again, rows) = auditing(&world.store, copy(&ada.client, request)).await;
        assert_eq!((again.expect("replayed"), rows), (theirs.clone(), Vec::new()), "a repetition is no second call");
        // Within one context there is one log.
        let at_work = world.acting(&ada, &acme).client;
        let (copied, rows) = auditing(&world.store, copy(&at_work, to(&theirs, &acme))).await;
        copied.expect("copied");
        are(&rows, &own, "CopyItem", &[(&acme, &theirs.id)]);
        // Between two organizations each learns of it, and whoever takes something home is known where it was.
        let (copied, rows) = auditing(&world.store, copy(&at_work, to(&theirs, &umbra))).await;
        let there = copied.expect("copied");
        are(&rows, &own, "CopyItem", &[(&acme, &theirs.id), (&umbra, &there.id)]);
        let (copied, rows) = auditing(&world.store, copy(&at_work, to(&theirs, &own))).await;
        let home = copied.expect("copied");
        are(&rows, &own, "CopyItem", &[(&acme, &theirs.id), (&own, &home.id)]);
        // A service by its own name, whomever it does it for.
        let product = world.service(ServiceRole::Product);
        let for_ada = proto::CopyItemRequest { member: own.clone(), ..to(&theirs, &umbra) };
        let (copied, rows) = auditing(&world.store, copy(&product, for_ada)).await;
        let service: ServiceAccountId = id(1);
        let once_more = copied.expect("copied");
        are(&rows, &service.to_string(), "CopyItem", &[(&acme, &theirs.id), (&umbra, &once_more.id)]);
        // Whoever manages an organization reads it there.
        assert_eq!(told(&ada, &acme).await, BTreeSet::from([theirs.id]));
        assert_eq!(told(&ada, &umbra).await, BTreeSet::from([there.id, once_more.id]));
    }

    async fn an_upload_leaves_one_row_whoever_sends_it(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let at_work = world.acting(&ben, &acme).client;
        let asset = create(&at_work, item(&acme, "brand_asset", "Logo")).await.expect("made").id;
        let (uploaded, rows) = auditing(&world.store, upload(&at_work, start(&asset, b"one"), b"one")).await;
        uploaded.expect("uploaded");
        are(&rows, &ben.user.to_string(), "UploadContent", &[(&acme, &asset)]);
        let product = world.service(ServiceRole::Product);
        let for_ben = proto::UploadContentRequest { member: ben.user.to_string(), ..start(&asset, b"two") };
        let (uploaded, rows) = auditing(&world.store, upload(&product, for_ben, b"two")).await;
        uploaded.expect("uploaded");
        let service: ServiceAccountId = id(1);
        are(&rows, &service.to_string(), "UploadContent", &[(&acme, &asset)]);
        let all = format!("{:?}", audited(&world.store).await);
        assert!(!all.contains("Logo") && !all.contains("@example.com"), "{all}");
    }

    /// Every member may do either, so that nobody is refused what only few may do.
    async fn what_is_refused_of_either_leaves_no_row(db: TestDb) {
        let world = World::start_with(db, |settings| settings.library.quota_bytes = 10_000).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let umbra = world.create(&eve, "Umbra").await.id;
        let (at_work, stranger) = (world.acting(&ben, &acme).client, world.acting(&eve, &acme).client);
        let agent = create(&at_work, item(&acme, "agent", "Agent")).await.expect("made");
        let asset = create(&at_work, item(&acme, "brand_asset", "Logo")).await.expect("made").id;
        let large = vec![b'x'; 10_001];
        let before = audited(&world.store).await;
        let outcomes = [
            ("NOT_A_MEMBER", copy(&at_work, to(&agent, &umbra)).await),
            ("NOT_A_MEMBER", copy(&stranger, to(&agent, &umbra)).await),
            ("NOT_FOUND", copy(&eve.client, to(&agent, &umbra)).await),
            ("INVALID_FIELDS", copy(&at_work, to(&agent, "x")).await),
            ("KIND_HAS_NO_CONTENT", upload(&at_work, start(&agent.id, b"one"), b"one").await),
            ("CONTENT_HASH_MISMATCH", upload(&at_work, start(&asset, b"one"), b"two").await),
            ("LIBRARY_QUOTA_REACHED", upload(&at_work, start(&asset, &large), &large).await),
            ("NOT_A_MEMBER", upload(&stranger, start(&asset, b"one"), b"one").await),
            ("NOT_FOUND", upload(&eve.client, start(&asset, b"one"), b"one").await),
        ];
        for (expected, outcome) in outcomes {
            let reason = Refusal::of(&outcome.expect_err("refused")).reason;
            assert_eq!(reason, expected);
        }
        assert_eq!(audited(&world.store).await, before);
    }
}
