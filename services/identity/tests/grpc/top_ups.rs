//! A person whose own top-up was switched off is told so by mail; of organizations' and strangers' nobody is here.

use bursar_members::{CreditUnit, Policy, policies};
use bursar_proto::event::v1::TopUpStopped;
use bursar_proto::event::v1::event::Payload;

use crate::world::{World, becomes};

/// What billing tells.
async fn told(world: &World, owner: &str, reason: &str) {
    let stopped = TopUpStopped {
        owner: owner.to_owned(),
        set_by: owner.to_owned(),
        reason: reason.to_owned(),
        pack_id: "starter".to_owned(),
        at: None,
    };
    world.billing.tells(Payload::TopUpStopped(stopped)).await;
}

/// Why, as each mail about it says.
fn mailed(world: &World, email: &str) -> Vec<&'static str> {
    let mails = world.mailbox.to(email).into_iter().filter(|mail| mail.text.contains("top-up of your own account"));
    let whys = ["Three payments in a row", "not for sale any more", "payment method is not there"];
    mails.filter_map(|mail| whys.into_iter().find(|why| mail.text.contains(why))).collect()
}

bursar_testkit::engines! {
    async fn a_person_is_told_that_the_own_top_up_is_off(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        world.sign_up("cem@example.com").await;
        told(&world, "org_00000000000000000000000001", "PAYMENT_DECLINED").await;
        told(&world, "usr_00000000000000000000000001", "PAYMENT_DECLINED").await;
        told(&world, &ada.user, "PAYMENT_DECLINED").await;
        becomes(vec!["Three payments in a row"], async || mailed(&world, &ada.email)).await;
        told(&world, &ada.user, "PACK_NOT_FOUND").await;
        told(&world, &ada.user, "PAYMENT_METHOD_REQUIRED").await;
        let all = vec!["Three payments in a row", "not for sale any more", "payment method is not there"];
        becomes(3, async || mailed(&world, &ada.email).len()).await;
        let mut is = mailed(&world, &ada.email);
        is.sort_by_key(|why| all.iter().position(|it| it == why));
        assert_eq!((is, mailed(&world, &ben.email)), (all, Vec::new()));
    }

    async fn credits_are_called_what_the_policy_calls_them(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let policy = Policy { credit_unit: CreditUnit::WORDS, ..Policy::default() };
        world.organization.decides_for_all(policy, 1).await;
        let known = async || policies::of_now(&world.db, &[]).await.unwrap().deployment();
        becomes(Some(policy), known).await;
        told(&world, &ada.user, "PAYMENT_DECLINED").await;
        becomes(1, async || mailed(&world, &ada.email).len()).await;
        let mails = world.mailbox.to(&ada.email);
        let mail = mails.iter().find(|mail| mail.text.contains("top-up of your own account")).unwrap();
        assert!(mail.text.contains("too few words") && !mail.text.contains("credit"), "{}", mail.text);
    }
}
