//! A person whose own top-up was switched off is told so by mail; of organizations' and strangers' nobody is here.

use bursar_proto::event::v1::TopUpStopped;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::convert::to_timestamp;
use bursar_time::{Span, Timestamp};

use crate::invoicing::all_mailed;
use crate::world::{World, becomes};

/// What billing tells, and when that was.
async fn told_at(world: &World, owner: &str, reason: &str, at: Option<Timestamp>) {
    let stopped = TopUpStopped {
        owner: owner.to_owned(),
        set_by: owner.to_owned(),
        reason: reason.to_owned(),
        pack_id: "starter".to_owned(),
        at: at.map(to_timestamp),
    };
    world.billing.tells(Payload::TopUpStopped(stopped)).await;
}

/// What billing tells, as programs did that said no time.
async fn told(world: &World, owner: &str, reason: &str) {
    told_at(world, owner, reason, None).await;
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

    async fn what_is_told_again_is_mailed_once(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let (now, later) = (world.clock.now(), world.clock.now().saturating_add(Span::SECOND));
        for _ in 0..3 {
            told_at(&world, &ada.user, "PAYMENT_DECLINED", Some(now)).await;
            told_at(&world, &ben.user, "PAYMENT_DECLINED", Some(now)).await;
        }
        // Once it has been switched on again, it is another one.
        told_at(&world, &ada.user, "PACK_NOT_FOUND", Some(later)).await;
        becomes(true, async || mailed(&world, &ada.email).contains(&"not for sale any more")).await;
        all_mailed(&world).await;
        let mut is = mailed(&world, &ada.email);
        is.sort_unstable();
        assert_eq!(is, ["Three payments in a row", "not for sale any more"]);
        assert_eq!(mailed(&world, &ben.email), ["Three payments in a row"]);
    }

    async fn credits_are_called_what_the_policy_calls_them(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.calls_credits_words().await;
        told(&world, &ada.user, "PAYMENT_DECLINED").await;
        becomes(1, async || mailed(&world, &ada.email).len()).await;
        let mails = world.mailbox.to(&ada.email);
        let mail = mails.iter().find(|mail| mail.text.contains("top-up of your own account")).unwrap();
        assert!(mail.text.contains("too few words") && !mail.text.contains("credit"), "{}", mail.text);
    }
}
