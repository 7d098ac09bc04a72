//! How long a slug stays taken that nobody uses any more.

use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_testkit::{Refusal, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::deleting::standings_now;
use crate::world::{Who, World, delete, until};

async fn rename(who: &Who, organization: &str, slug: &str) -> Result<proto::Organization, Status> {
    let request = proto::UpdateOrganizationRequest {
        organization_id: organization.to_owned(),
        slug: slug.to_owned(),
        ..Default::default()
    };
    let renamed = who.client.organizations().update_organization(request).await?;
    Ok(renamed.into_inner().organization.expect("an organization"))
}

async fn create(who: &Who, slug: &str) -> Result<proto::Organization, Status> {
    let request =
        proto::CreateOrganizationRequest { name: "Other".to_owned(), slug: slug.to_owned(), ..Default::default() };
    Ok(who.client.organizations().create_organization(request).await?.into_inner().organization.expect("it"))
}

/// Where a slug leads somebody: the id, and whether it is a former one.
async fn leads(who: &Who, slug: &str) -> Result<(String, bool), Status> {
    let request = proto::GetOrganizationRequest { key: Some(Key::Slug(slug.to_owned())) };
    let found = who.client.organizations().get_organization(request).await?.into_inner();
    Ok((found.organization.expect("it").id, found.moved))
}

fn slug(n: u64) -> String {
    format!("slug-{n}")
}

bursar_testkit::engines! {
    async fn the_eleventh_former_slug_frees_the_oldest_after_ninety_days(db: TestDb) {
        let world = World::start(db).await;
        let acme = create(&world.who(1), &slug(0)).await.expect("created");
        // One a day: slug-0 is a former one since the first, slug-9 since the tenth.
        for n in 1..=10 {
            world.advance(Span::DAY);
            rename(&world.who(1), &acme.id, &slug(n)).await.expect("renamed");
        }
        let (ada, eve) = (world.who(1), world.who(2));
        for n in 0..10 {
            assert_eq!(leads(&ada, &slug(n)).await.expect("kept"), (acme.id.clone(), true));
        }
        let early = rename(&ada, &acme.id, &slug(11)).await;
        let early = refused(early, Code::ResourceExhausted, "TOO_MANY_FORMER_SLUGS");
        assert!(early.metadata["limit"] == "10" && early.retryable, "{early:?}");
        assert_eq!(leads(&ada, &slug(10)).await.expect("the present one"), (acme.id.clone(), false));
        refused(create(&eve, &slug(0)).await, Code::AlreadyExists, "SLUG_TAKEN");
        create(&eve, &slug(11)).await.expect("a refusal took nothing");
        // Back to one of its own, which is no former one then: the others are ten again, and none is freed.
        rename(&ada, &acme.id, &slug(5)).await.expect("back");
        rename(&ada, &acme.id, &slug(10)).await.expect("and forth");
        assert_eq!(leads(&ada, &slug(5)).await.expect("kept"), (acme.id.clone(), true));

        world.advance(Span::from_days(81).saturating_sub(Span::SECOND));
        refused(rename(&world.who(1), &acme.id, &slug(12)).await, Code::ResourceExhausted, "TOO_MANY_FORMER_SLUGS");
        world.advance(Span::SECOND);
        let (ada, eve) = (world.who(1), world.who(2));
        rename(&ada, &acme.id, &slug(12)).await.expect("old enough");
        refused(leads(&ada, &slug(0)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(leads(&ada, &slug(1)).await.expect("kept"), (acme.id.clone(), true));
        let other = create(&eve, &slug(0)).await.expect("free");
        assert_eq!(leads(&eve, &slug(0)).await.expect("it"), (other.id, false));
    }

    async fn slugs_of_the_deleted_are_free_after_ninety_days(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(2));
        let acme = create(&ada, "acme").await.expect("created");
        let acme = rename(&ada, &acme.id, "acme-two").await.expect("renamed");
        delete(&ada, &acme).await.expect("deleted");
        for taken in ["acme", "acme-two"] {
            refused(create(&eve, taken).await, Code::AlreadyExists, "SLUG_TAKEN");
        }
        world.advance(Span::from_days(7));
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        world.advance(Span::from_days(82));
        world.at_rest().await.free_slugs(world.clock.now()).await.expect("looked");
        for taken in ["acme", "acme-two"] {
            refused(create(&world.who(2), taken).await, Code::AlreadyExists, "SLUG_TAKEN");
        }
        world.advance(Span::DAY);
        for free in ["acme", "acme-two"] {
            until("it is free", async || match create(&world.who(2), free).await {
                Ok(_) => true,
                Err(status) => { assert_eq!(Refusal::of(&status).reason, "SLUG_TAKEN"); false }
            }).await;
        }
        // The tombstone stays.
        assert_eq!(standings_now(&world).await, [(acme.id, proto::OrganizationState::Deleted, true, 2)]);
    }

    /// A word that was free when it was chosen.
    async fn a_slug_that_is_reserved_by_now_stays_whose_it_is(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = create(&ada, "acme").await.expect("created");
        let mut tx = world.store.begin().await.expect("a transaction");
        for table in ["UPDATE slugs SET slug = 'grafana'", "UPDATE organizations SET slug = 'grafana'"] {
            bursar_db::on!(&mut tx, c => sqlx::query(table).execute(c).await.expect("written").rows_affected());
        }
        tx.commit().await.expect("committed");
        assert_eq!(leads(&ada, "grafana").await.expect("found"), (acme.id.clone(), false));
        let same = rename(&ada, &acme.id, "Grafana").await.expect("it has that one");
        assert_eq!(same.slug, "grafana");
        let other = refused(rename(&ada, &acme.id, "prometheus").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(other.fields, ["slug"]);
    }
}
