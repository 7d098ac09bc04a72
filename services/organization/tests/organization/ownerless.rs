//! An organization whose owner is gone is found, shown and mended.

use bursar_db::on;
use bursar_id::{OrganizationId, Role};
use bursar_organization::usecase::ownerless::Mending;
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_testkit::refused;
use tonic::{Code, Status};

use crate::long_reads::suspend;
use crate::staleness::stays;
use crate::world::{World, until};

bursar_testkit::engines! {
    async fn an_ownerless_organization_is_found_and_mended_by_an_operator(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.join(&ada, &acme, 4, Role::Member).await;
        let organization: OrganizationId = acme.parse().expect("an id");
        let operator = world.at_rest().await;
        let mend = async |user| operator.mend(Mending { organization, user }).await.map_err(Status::from);
        assert_eq!(operator.ownerless(10).await.expect("listed"), []);
        refused(mend(ben.user).await, Code::FailedPrecondition, "HAS_AN_OWNER");
        // No way that there is leads here: identity asks first.
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ada.user.to_string() })).await;
        until("it is found", async || {
            operator.ownerless(10).await.expect("listed") == [(organization, ada.user)]
        }).await;
        refused(mend(world.who(3).user).await, Code::NotFound, "NOT_FOUND");
        refused(mend(ada.user).await, Code::NotFound, "NOT_FOUND");
        // Who may have left, too, as far as anybody knows.
        world.blots(ben.user).await;
        refused(mend(ben.user).await, Code::Unavailable, "FEED_STALE");
        world.identity_tells(stays(ben.user, 2)).await;
        world.all_is_certain().await;
        // Nor who is suspended, and could do nothing for it.
        suspend(&world, &cem).await;
        refused(mend(cem.user).await, Code::PermissionDenied, "USER_SUSPENDED");
        assert_eq!(operator.ownerless(10).await.expect("listed"), [(organization, ada.user)]);
        mend(ben.user).await.expect("mended");
        assert_eq!(operator.ownerless(10).await.expect("listed"), []);
        refused(mend(ben.user).await, Code::FailedPrecondition, "HAS_AN_OWNER");
        let told = world.told_of(ben.user).await;
        assert_eq!(told.last().expect("told").role(), bursar_proto::organization::v1::Role::Owner);
        let told = world.told_of(ada.user).await;
        assert_eq!(told.last().expect("told").role(), bursar_proto::organization::v1::Role::Unspecified);
        let audited = async {
            const AUDITED: &str = "SELECT COUNT(*) FROM audit WHERE method = 'ownerless mend' AND outcome = 'DONE'";
            let mut tx = world.store.read().await?;
            let (rows,): (i64,) = on!(&mut tx, c => sqlx::query_as(AUDITED).fetch_one(c).await?);
            Ok::<_, bursar_db::DbError>(rows)
        };
        assert_eq!(audited.await.expect("counted"), 1);
        // An operator's command goes by the machine's clock; what was told before is forgotten by then.
        world.advance(bursar_time::Clock::system().now().since(world.clock.now()));
        let mail = world.mailbox.next(&ben.email).await;
        assert_eq!(mail.subject, "\"Acme\" has another owner");
        assert!(mail.text.contains(&format!("{} owns", ben.email)) && mail.text.contains("was deleted"), "{mail:?}");
    }
}
