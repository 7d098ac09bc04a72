//! What a purge erases, what it leaves, and that it goes on wherever it was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::Poll;

use bursar_db::audit::Outcome;
use bursar_db::{DbError, on};
use bursar_id::{OrganizationId, OwnerId, Role, ServiceAccountId, UserId};
use bursar_members::DeletionGrace;
use bursar_organization::store::projects::{self, ProjectRow};
use bursar_organization::usecase::purging::Purge;
use bursar_proto::event::v1::SubscriptionChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState::{Active, Deleted};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{answers_with, audited, columns_with, id, refused};
use bursar_time::{Span, Timestamp};
use tonic::Code;

use crate::by_services::{WRITTEN, keep_whole, write_as_services};
use crate::contents::{collected, download, files, start, upload};
use crate::library::{create, document, item};
use crate::refusals::PIXEL;
use crate::world::{Who, World, delete, get, invite, leave, remove, set_policy, transfer, undelete, until};

/// The grace of a deletion.
pub(crate) const GRACE: Span = Span::from_days(7);

/// Writes projects of an organization, more than a portion.
async fn many_projects(world: &World, organization: OrganizationId, by: UserId) {
    let mut tx = world.store.begin().await.expect("a transaction");
    for n in 0..250 {
        let row = ProjectRow {
            id: id::<bursar_id::kinds::Project>(10_000 + n),
            owner: OwnerId::Organization(organization),
            name: "P".to_owned(),
            description: "what nobody else should read".to_owned(),
            created_by: by,
            assigned_to: by,
            version: 1,
            created_at: world.clock.now(),
            updated_at: world.clock.now(),
        };
        projects::insert(&mut tx, &row).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
}

/// How many rows there are of what an organization had.
pub(crate) async fn rows_left(world: &World, organization: &str) -> BTreeMap<&'static str, i64> {
    const POLICIES: &str = "SELECT COUNT(*) FROM policies WHERE owner = $1";
    const COUNTS: [(&str, &str); 13] = [
        ("projects", "SELECT COUNT(*) FROM projects WHERE owner = $1"),
        ("items", "SELECT COUNT(*) FROM items WHERE owner = $1"),
        ("contents", "SELECT COUNT(*) FROM contents WHERE owner = $1"),
        ("contents of items", "SELECT COUNT(*) FROM item_contents WHERE owner = $1"),
        ("invitations", "SELECT COUNT(*) FROM invitations WHERE organization_id = $1"),
        ("mails", "SELECT COUNT(*) FROM invitation_mails WHERE organization_id = $1"),
        ("avatars", "SELECT COUNT(*) FROM avatars WHERE organization_id = $1"),
        (
            "addresses",
            "SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND (email <> '' OR email_key <> '')",
        ),
        ("preferences", "SELECT COUNT(*) FROM preferences WHERE organization_id = $1"),
        ("answers", "SELECT COUNT(*) FROM requests WHERE scope LIKE '%/' || $1"),
        ("nominations", "SELECT COUNT(*) FROM nominations WHERE organization_id = $1"),
        ("seats", "SELECT COUNT(*) FROM organization_seats WHERE organization_id = $1"),
        ("words", "SELECT COUNT(*) FROM organizations WHERE id = $1 AND (name <> '' OR suspension_reason <> '')"),
    ];
    let mut left = BTreeMap::new();
    let mut tx = world.store.read().await.expect("a snapshot");
    for (what, count) in COUNTS {
        let counted = async {
            Ok::<_, DbError>(on!(&mut tx, c => sqlx::query_scalar(count).bind(organization).fetch_one(c).await?))
        };
        left.insert(what, counted.await.expect("counted"));
    }
    let owner = OwnerId::Organization(organization.parse().expect("an organization")).to_bytes();
    let counted = async {
        Ok::<_, DbError>(on!(&mut tx, c => sqlx::query_scalar(POLICIES).bind(owner.as_slice()).fetch_one(c).await?))
    };
    left.insert("policies", counted.await.expect("counted"));
    left
}

/// An organization that has something of everything, its owner, a member, and somebody who has left.
async fn furnished(world: &World) -> (proto::Organization, Who, Who, Who) {
    let ada = world.who(1);
    let acme = world.create(&ada, "Acme").await;
    let ben = world.join(&ada, &acme.id, 2, Role::Admin).await;
    let cem = world.join(&ada, &acme.id, 3, Role::Member).await;
    remove(&ada, &acme.id, cem.user).await.expect("removed");
    invite(&ada, &acme.id, "dan@example.com", Role::Member).await.expect("invited");
    many_projects(world, acme.id.parse().expect("an id"), ben.user).await;
    let acting = world.acting(&ada, &acme.id);
    let agent = create(&acting.client, item(&acme.id, "agent", "Agent")).await.expect("made");
    let under = proto::CreateItemRequest { parent: agent.id, ..item(&acme.id, "persona", "Persona") };
    create(&acting.client, under).await.expect("made");
    let asset = create(&acting.client, item(&acme.id, "brand_asset", "Logo")).await.expect("made");
    upload(&acting.client, start(&asset.id, b"bytes"), b"bytes").await.expect("uploaded");
    let other = create(&acting.client, item(&acme.id, "brand_asset", "Other")).await.expect("made");
    upload(&acting.client, start(&other.id, b"others"), b"others").await.expect("uploaded");
    let picture = proto::SetAvatarRequest {
        organization_id: acme.id.clone(),
        content: PIXEL.to_vec(),
        request_id: "picture".to_owned(),
    };
    ada.client.organizations().set_avatar(picture).await.expect("set");
    prefers(&ben, &acme.id).await;
    write_as_services(world, &acme.id, &ben).await;
    let nominee_accepts = proto::Policy { transfer: proto::Transfer::NomineeAccepts.into(), ..Default::default() };
    set_policy(&ada, &acme.id, "transfer", nominee_accepts).await.expect("set");
    transfer(&ada, &acme.id, ben.user).await.expect("nominated");
    world.tells_seats(&acme.id, 1_000).await;
    // The same bytes as somebody else's: nothing of an organization's.
    let copy = proto::CopyItemRequest { item_id: asset.id, to_owner: ada.user.to_string(), ..Default::default() };
    acting.client.libraries().copy_item(copy).await.expect("copied");
    (acme, ada, ben, cem)
}

/// A member keeps preferences.
pub(crate) async fn prefers(who: &Who, organization: &str) {
    let request = proto::UpdatePreferencesRequest {
        organization_id: organization.to_owned(),
        preferences: Some(document(&[("theme", Some("dark"))])),
        ..Default::default()
    };
    who.client.members().update_preferences(request).await.expect("preferred");
}

/// Whose memberships were told to have ended, how often.
async fn ends(world: &World, who: &Who) -> usize {
    world.told_of(who.user).await.iter().filter(|it| it.role() == proto::Role::Unspecified).count()
}

async fn everything_is_gone(world: &World, acme: &proto::Organization, [ada, ben, cem]: [&Who; 3]) {
    let left = rows_left(world, &acme.id).await;
    assert!(left.values().all(|rows| *rows == 0), "{left:?}");
    let written = columns_with(&world.store, WRITTEN).await;
    assert!(written.is_empty(), "what services wrote is still in {written:?}");
    assert_eq!(world.standings_of(&acme.id).await, [(Deleted, false, 1), (Deleted, true, 2)]);
    for who in [ada, ben, cem] {
        assert_eq!(ends(world, who).await, 1, "{} is told to be no member once", who.email);
    }
    let told = world.told_of_projects().await;
    let gone = told.iter().filter(|it| it.deleted && it.owner == acme.id).map(|it| it.id.as_str());
    let each: BTreeSet<&str> = gone.clone().collect();
    assert_eq!((each.len(), gone.count()), (250, 250), "that each project is gone is told once");
    // Told last: whoever hears of it knows of everything before.
    let events = world.events().await;
    let last = events.iter().rev().find(|event| event.owner() == acme.id);
    assert!(matches!(last, Some(Payload::OrganizationStandingChanged(it)) if it.purged), "{last:?}");
    let tombstones: Vec<_> =
        audited(&world.store).await.into_iter().filter(|row| row.method == "organization purge").collect();
    let [tombstone] = tombstones.as_slice() else { panic!("{tombstones:?}") };
    assert_eq!(
        (tombstone.actor.clone(), tombstone.outcome, tombstone.target.clone()),
        (ServiceAccountId::ORGANIZATION.to_string(), Outcome::Done, Some(acme.id.clone()))
    );
    assert_eq!(tombstone.owner.map(|owner| owner.to_string()), Some(acme.id.clone()));
}

/// Lets a future run until it has waited so often, and drops it then, as a process that dies does.
pub(crate) async fn killed_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// The purge of an organization that was deleted once.
pub(crate) fn purge_of(acme: &proto::Organization) -> Purge {
    Purge { organization: acme.id.parse().expect("an id"), standing: 1 }
}

/// The end of the grace of a deletion at this moment.
pub(crate) fn due(world: &World) -> Timestamp {
    world.clock.now().saturating_add(GRACE)
}

bursar_testkit::engines! {
    async fn when_the_grace_is_over_everything_is_erased(db: TestDb) {
        let world = World::start(db).await;
        let (acme, ada, ben, cem) = furnished(&world).await;
        delete(&ada, &acme).await.expect("deleted");
        let left = rows_left(&world, &acme.id).await;
        assert!(left.values().all(|rows| *rows > 0), "nothing is erased before: {left:?}");
        world.advance(GRACE.saturating_sub(Span::SECOND));
        assert_eq!(get(&world.who(1), &acme.id).await.expect("still there").state(), Deleted);
        world.advance(Span::SECOND);
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        everything_is_gone(&world, &acme, [&ada, &ben, &cem]).await;
        // Its content goes with the next collection, and what others have of it stays.
        collected(&world, 1).await;
        let ada = world.who(1);
        let listed = proto::ListItemsRequest { owner: ada.user.to_string(), ..Default::default() };
        let own = ada.client.libraries().list_items(listed).await.expect("listed").into_inner().items;
        assert_eq!(download(&ada.client, &own[0].id, 0).await.expect("downloaded").1, b"bytes");
    }

    /// Billing ends the plan because the organization was deleted, and may tell so when nothing is left of that.
    async fn what_billing_tells_of_a_purged_organization_leaves_nothing(db: TestDb) {
        let world = World::start(db).await;
        let other = world.create(&world.who(9), "Other").await.id;
        let (acme, ada, ..) = furnished(&world).await;
        delete(&ada, &acme).await.expect("deleted");
        world.advance(GRACE);
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        let (owner, plan_id, state) = (acme.id.clone(), "free".to_owned(), "ENDED".to_owned());
        let ended = SubscriptionChanged { owner, plan_id, seats: 1, state, features: None };
        world.billing_tells(Payload::SubscriptionChanged(ended)).await;
        // What is told later is known now.
        world.tells_seats(&other, 7).await;
        let left = rows_left(&world, &acme.id).await;
        assert!(left.values().all(|rows| *rows == 0), "{left:?}");
    }

    async fn a_purge_that_is_killed_anywhere_goes_on(db: TestDb) {
        let world = World::start(db).await;
        let (acme, ada, ben, cem) = furnished(&world).await;
        delete(&ada, &acme).await.expect("deleted");
        let (organization, now) = (world.at_rest().await, due(&world));
        let (mut kills, mut found) = (0, BTreeSet::new());
        loop {
            match killed_after(kills, Box::pin(organization.purge(purge_of(&acme), now))).await {
                Some(Ok(false)) => break,
                // A connection that was in the middle of something may be missed for a moment.
                Some(Ok(true) | Err(_)) | None => kills += 1,
            }
            found.insert(rows_left(&world, &acme.id).await.values().sum::<i64>());
            assert!(kills < 2_000, "it gets nowhere");
        }
        assert!(found.len() > 3, "it was killed with everything, some and nothing left: {found:?}");
        everything_is_gone(&world, &acme, [&ada, &ben, &cem]).await;
        assert!(matches!(organization.purge(purge_of(&acme), now).await, Ok(false)), "once more is nothing more");
        everything_is_gone(&world, &acme, [&ada, &ben, &cem]).await;
        assert_eq!(files(&world), 2, "content is collected by another job");
        world.advance(GRACE);
        collected(&world, 1).await;
    }

    async fn without_a_grace_everything_is_erased_at_once(db: TestDb) {
        let world = World::start_with(db, |settings| settings.policies.deletion_grace = DeletionGrace::NONE).await;
        let (acme, ada, ben, cem) = furnished(&world).await;
        let deleted = delete(&ada, &acme).await.expect("deleted");
        assert_eq!(deleted.purge_at, Some(to_timestamp(world.clock.now())));
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        everything_is_gone(&world, &acme, [&ada, &ben, &cem]).await;
        refused(undelete(&ada, &acme.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&ada, &acme.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    /// What its creator was answered is in no context that ends with it, and is kept for longer than the grace lasts.
    async fn what_is_kept_for_its_creator_does_not_say_what_it_was_called(db: TestDb) {
        let world = World::start_with(db, |settings| settings.policies.deletion_grace = DeletionGrace::NONE).await;
        let ada = world.who(1);
        let asked = proto::CreateOrganizationRequest {
            name: "Quibblefix".to_owned(),
            request_id: "founded".to_owned(),
            ..Default::default()
        };
        let founded = async || {
            let created = ada.client.organizations().create_organization(asked.clone()).await.expect("created");
            created.into_inner().organization.expect("an organization")
        };
        let made = founded().await;
        assert!(made.name == "Quibblefix" && made.slug.contains("quibblefix"), "{made:?}");
        assert_eq!(founded().await, made, "the first answer, as nothing has changed");
        assert_eq!(answers_with(&world.store, &made.id).await, 1, "it is kept");
        for text in ["Quibblefix", "quibblefix"] {
            assert_eq!(answers_with(&world.store, text).await, 0, "{text}");
        }
        let rename = proto::UpdateOrganizationRequest {
            organization_id: made.id.clone(),
            name: "Other".to_owned(),
            ..Default::default()
        };
        ada.client.organizations().update_organization(rename).await.expect("renamed");
        assert_eq!(founded().await, proto::Organization { name: "Other".to_owned(), ..made.clone() }, "as it is then");
        // Whoever is no member is told no more of it by a repetition than otherwise, also where a program of before has kept
        // all of it.
        keep_whole(&world, "founded", &made).await;
        let ben = world.join(&ada, &made.id, 2, Role::Admin).await;
        transfer(&ada, &made.id, ben.user).await.expect("transferred");
        leave(&ada, &made.id).await.expect("left");
        let bare = proto::Organization { name: String::new(), slug: String::new(), ..made.clone() };
        assert_eq!(founded().await, bare);
        delete(&ben, &made).await.expect("deleted");
        until("it is purged", async || world.standings_of(&made.id).await.len() == 2).await;
        assert_eq!(founded().await, bare, "it is kept for longer");
    }

    /// Kind K: it is kept for a whole grace from then on, and not for 400 days more.
    async fn what_a_clock_far_ahead_deleted_is_erased_when_a_grace_is_over(db: TestDb) {
        const PUT_OFF: &str = "UPDATE organizations SET deleted_at = deleted_at + $1, purge_at = purge_at + $1 \
            WHERE state = 'DELETED'";
        let world = World::start(db).await;
        let (acme, ada, ben, cem) = furnished(&world).await;
        delete(&ada, &acme).await.expect("deleted");
        let written = async {
            let mut tx = world.store.begin().await?;
            let far = Span::from_days(400).as_micros();
            let done = on!(&mut tx, c => sqlx::query(PUT_OFF).bind(far).execute(c).await?.rows_affected());
            tx.commit().await?;
            Ok::<_, DbError>(done)
        };
        assert_eq!(written.await.expect("written"), 1);
        let (organization, purge, before) = (world.at_rest().await, purge_of(&acme), rows_left(&world, &acme.id).await);
        for now in [world.clock.now(), due(&world).saturating_sub(Span::SECOND)] {
            assert!(matches!(organization.purge(purge, now).await, Ok(false)));
            let shown = get(&ada, &acme.id).await.expect("it is there");
            assert_eq!((shown.state(), shown.purge_at), (Deleted, Some(to_timestamp(due(&world)))));
        }
        assert_eq!(rows_left(&world, &acme.id).await, before, "nothing is erased before");
        while organization.purge(purge, due(&world)).await.expect("erased") {}
        everything_is_gone(&world, &acme, [&ada, &ben, &cem]).await;
    }

    async fn a_purge_of_what_was_taken_back_or_is_not_due_erases_nothing(db: TestDb) {
        let world = World::start(db).await;
        let (acme, ada, ..) = furnished(&world).await;
        let before = rows_left(&world, &acme.id).await;
        let (organization, purge) = (world.at_rest().await, purge_of(&acme));
        let never = Purge { organization: id(77), standing: 1 };
        for purge in [never, purge] {
            assert!(matches!(organization.purge(purge, due(&world)).await, Ok(false)));
        }
        delete(&ada, &acme).await.expect("deleted");
        let early = due(&world).saturating_sub(Span::SECOND);
        assert!(matches!(organization.purge(purge, early).await, Ok(false)));
        undelete(&ada, &acme.id).await.expect("undeleted");
        assert!(matches!(organization.purge(purge, due(&world)).await, Ok(false)));
        // Deleted again: this purge is of the deletion before.
        delete(&ada, &acme).await.expect("deleted");
        assert!(matches!(organization.purge(purge, due(&world)).await, Ok(false)));
        undelete(&ada, &acme.id).await.expect("undeleted");
        assert_eq!(get(&ada, &acme.id).await.expect("it").state(), Active);
        assert_eq!(rows_left(&world, &acme.id).await, before);
        let project = id::<bursar_id::kinds::Project>(10_000).to_string();
        let acting = world.acting(&ada, &acme.id);
        acting.client.projects().get_project(proto::GetProjectRequest { project_id: project }).await.expect("it");
    }
}
