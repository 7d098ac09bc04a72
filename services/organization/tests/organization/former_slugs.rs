//! How long a slug stays taken that nobody uses any more.

use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_rpc::{Caller, IdempotencyKey};
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

fn asked(slug: &str, request_id: &str) -> proto::CreateOrganizationRequest {
    proto::CreateOrganizationRequest {
        name: "Other".to_owned(),
        slug: slug.to_owned(),
        request_id: request_id.to_owned(),
    }
}

async fn ask(who: &Who, slug: &str, request_id: &str) -> Result<proto::Organization, Status> {
    let created = who.client.organizations().create_organization(asked(slug, request_id)).await?;
    Ok(created.into_inner().organization.expect("it"))
}

async fn create(who: &Who, slug: &str) -> Result<proto::Organization, Status> {
    ask(who, slug, "").await
}

/// Where a slug leads somebody: the id, and whether it is a former one.
async fn leads(who: &Who, slug: &str) -> Result<(String, bool), Status> {
    let request = proto::GetOrganizationRequest { key: Some(Key::Slug(slug.to_owned())) };
    let found = who.client.organizations().get_organization(request).await?.into_inner();
    Ok((found.organization.expect("it").id, found.moved))
}

/// Has the only organization be called by this slug, and created by this request: the word was free then.
async fn chosen_before(world: &World, asked: &proto::CreateOrganizationRequest) {
    let key = IdempotencyKey::new(&Caller::Anonymous, "", "", asked).expect("a key");
    let mut tx = world.store.begin().await.expect("a transaction");
    for table in ["UPDATE slugs SET slug = $1", "UPDATE organizations SET slug = $1"] {
        let rows = bursar_db::on!(&mut tx, c => {
            sqlx::query(table).bind(&asked.slug).execute(c).await.expect("written").rows_affected()
        });
        assert_eq!(rows, 1, "{table}");
    }
    let hash = key.body_hash().as_slice();
    let update = "UPDATE requests SET body_hash = $1";
    bursar_db::on!(&mut tx, c => sqlx::query(update).bind(hash).execute(c).await.expect("written").rows_affected());
    tx.commit().await.expect("committed");
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
        chosen_before(&world, &asked("grafana", "")).await;
        assert_eq!(leads(&ada, "grafana").await.expect("found"), (acme.id.clone(), false));
        let same = rename(&ada, &acme.id, "Grafana").await.expect("it has that one");
        assert_eq!(same.slug, "grafana");
        let other = refused(rename(&ada, &acme.id, "prometheus").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(other.fields, ["slug"]);
        // Also once it is a former one: away from it, and back.
        rename(&ada, &acme.id, "acme-two").await.expect("away");
        refused(create(&world.who(2), "grafana").await, Code::InvalidArgument, "INVALID_FIELDS");
        let theirs = create(&world.who(2), "theirs").await.expect("created");
        let taken = refused(rename(&world.who(2), &theirs.id, "grafana").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(taken.fields, ["slug"], "it is another's");
        assert_eq!(rename(&ada, &acme.id, "grafana").await.expect("back").slug, "grafana");
        assert_eq!(leads(&ada, "grafana").await.expect("found"), (acme.id.clone(), false));
        assert_eq!(leads(&ada, "acme-two").await.expect("found"), (acme.id, true));
    }

    /// Its answer was lost, and a program in which the word is reserved came up before it was asked for again.
    async fn a_creation_is_told_again_though_its_slug_is_reserved_by_now(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = ask(&ada, "acme", "r1").await.expect("created");
        chosen_before(&world, &asked("grafana", "")).await;
        let again = ask(&ada, "grafana", "r1").await.expect("told again");
        assert_eq!((again.id, again.slug.as_str()), (acme.id, "grafana"));
        refused(ask(&ada, "prometheus", "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let other = refused(ask(&ada, "prometheus", "r2").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(other.fields, ["slug"]);
        ask(&ada, "acme-two", "r2").await.expect("the refusal burned nothing");
    }
}
