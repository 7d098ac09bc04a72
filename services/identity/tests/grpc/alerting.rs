//! What billing tells of the limits and the allowance of a person's own account is mailed once: to the person's proven address,
//! and to nobody else.

use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{AllowanceAlert, LimitAlert};
use bursar_rpc::convert::to_timestamp;
use bursar_time::Span;

use crate::departing::killed_in_between;
use crate::invoicing::all_mailed;
use crate::world::{World, becomes};

/// Of the limits that these tests are about.
const LIMIT: &str = "lim_00000000000000000000000001";

/// So much of a limit of 10 credits is used, which is 80 %.
fn limit(world: &World, owner: &str, used: &str) -> LimitAlert {
    let now = world.clock.now();
    LimitAlert {
        owner: owner.to_owned(),
        limit_id: LIMIT.to_owned(),
        subject: "every_member".to_owned(),
        member: owner.to_owned(),
        window: "DAY".to_owned(),
        mode: "HARD".to_owned(),
        amount: "10".to_owned(),
        used: used.to_owned(),
        percents: vec![50, 80],
        starts_at: Some(to_timestamp(now)),
        resets_at: Some(to_timestamp(now.saturating_add(Span::DAY))),
    }
}

/// So much of an allowance of 10 credits is used, which is 80 %.
fn allowance(world: &World, owner: &str, used: &str) -> AllowanceAlert {
    AllowanceAlert {
        owner: owner.to_owned(),
        percents: vec![50, 80],
        used: used.to_owned(),
        granted: "10".to_owned(),
        period_ends_at: Some(to_timestamp(world.clock.now().saturating_add(Span::DAY))),
    }
}

async fn tells_limit(world: &World, alert: LimitAlert) {
    world.billing.tells(Payload::LimitAlert(alert)).await;
}

async fn tells_allowance(world: &World, alert: AllowanceAlert) {
    world.billing.tells(Payload::AllowanceAlert(alert)).await;
}

/// How many mails to an address say that so much is used: of a limit, and of an allowance.
fn mailed(world: &World, email: &str, used: &str) -> [usize; 2] {
    let mails = world.mailbox.to(email);
    ["that a limit", "that its plan"].map(|of_what| {
        let says = format!("has used {used} of the 10 credits {of_what}");
        mails.iter().filter(|mail| mail.text.contains(&says)).count()
    })
}

/// How many of them say that not all like them are mailed.
fn last(world: &World, email: &str) -> [usize; 2] {
    let mails = world.mailbox.to(email);
    ["that a limit", "that its plan"].map(|of_what| {
        let is_last = |text: &str| text.contains(of_what) && text.contains("not all are mailed today");
        mails.iter().filter(|mail| is_last(&mail.text)).count()
    })
}

bursar_testkit::engines! {
    async fn a_person_is_told_of_the_own_limits_and_allowance(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        // An organization's, a stranger's, and what is over is nobody's mail here.
        for owner in ["org_00000000000000000000000001", "usr_00000000000000000000000001"] {
            tells_limit(&world, limit(&world, owner, "1")).await;
            tells_allowance(&world, allowance(&world, owner, "1")).await;
        }
        let now = Some(to_timestamp(world.clock.now()));
        tells_limit(&world, LimitAlert { resets_at: now, ..limit(&world, &ada.user, "1") }).await;
        tells_allowance(&world, AllowanceAlert { period_ends_at: now, ..allowance(&world, &ada.user, "1") }).await;
        tells_limit(&world, limit(&world, &ada.user, "8")).await;
        tells_allowance(&world, allowance(&world, &ada.user, "8.5")).await;
        becomes([1, 0], async || mailed(&world, &ada.email, "8")).await;
        becomes([0, 1], async || mailed(&world, &ada.email, "8.5")).await;
        all_mailed(&world).await;
        assert_eq!([&ada, &ben].map(|who| mailed(&world, &who.email, "1")), [[0; 2]; 2]);
        assert_eq!(["8", "8.5"].map(|used| mailed(&world, &ben.email, used)), [[0; 2]; 2]);
        let mails = world.mailbox.to(&ada.email);
        let own = mails.iter().filter(|mail| mail.text.contains("Your own account has used"));
        assert_eq!(own.count(), 2);
    }

    async fn an_alert_of_the_own_account_that_is_told_again_is_mailed_once(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let (of_limit, of_allowance) = (limit(&world, &ada.user, "8"), allowance(&world, &ada.user, "8"));
        // The same once more, and what is reached again after less was used.
        for used in ["8", "8", "8.25"] {
            tells_limit(&world, LimitAlert { used: used.to_owned(), ..of_limit.clone() }).await;
            tells_allowance(&world, AllowanceAlert { used: used.to_owned(), ..of_allowance.clone() }).await;
            becomes([1, 1], async || mailed(&world, &ada.email, "8")).await;
            all_mailed(&world).await;
        }
        // More of it is something else, and so is another window, another limit or another period.
        let more = (vec![100], "10".to_owned());
        tells_limit(&world, LimitAlert { percents: more.0.clone(), used: more.1.clone(), ..of_limit.clone() }).await;
        tells_allowance(&world, AllowanceAlert { percents: more.0, used: more.1, ..of_allowance }).await;
        becomes([1, 1], async || mailed(&world, &ada.email, "10")).await;
        let other = "lim_00000000000000000000000002".to_owned();
        tells_limit(&world, LimitAlert { limit_id: other, used: "9".to_owned(), ..of_limit }).await;
        world.pass(60);
        tells_limit(&world, limit(&world, &ada.user, "9")).await;
        tells_allowance(&world, allowance(&world, &ada.user, "9")).await;
        becomes([2, 1], async || mailed(&world, &ada.email, "9")).await;
        all_mailed(&world).await;
        assert_eq!(["8", "8.25"].map(|used| mailed(&world, &ada.email, used)), [[1, 1], [0, 0]]);
    }

    async fn who_has_proven_no_address_or_is_leaving_is_told_of_no_alert(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, cem) = (world.join("Ada").await, world.join("Cem").await);
        // Ben signs up and leaves it at that.
        world.sign_up("ben@example.com").await;
        let ben = world.text("SELECT id FROM users WHERE email = $1", "ben@example.com").await;
        killed_in_between(&world, &cem).await;
        for user in [&ben, &cem.user, &ada.user] {
            tells_limit(&world, limit(&world, user, "8")).await;
            tells_allowance(&world, allowance(&world, user, "8")).await;
        }
        becomes([1, 1], async || mailed(&world, &ada.email, "8")).await;
        all_mailed(&world).await;
        assert_eq!(["ben@example.com", &*cem.email].map(|email| mailed(&world, email, "8")), [[0; 2]; 2]);
    }

    async fn of_one_persons_account_so_many_alerts_are_mailed(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let nth = |n: u32| LimitAlert { limit_id: format!("lim_{n:026}"), ..limit(&world, &ada.user, "8") };
        for n in 0..105 {
            tells_limit(&world, nth(n)).await;
        }
        for percent in 1..=33 {
            let alert = AllowanceAlert { percents: vec![percent], ..allowance(&world, &ada.user, "8") };
            tells_allowance(&world, alert).await;
        }
        // Nobody uses up somebody else's.
        tells_limit(&world, limit(&world, &ben.user, "8")).await;
        tells_allowance(&world, allowance(&world, &ben.user, "8")).await;
        becomes([1, 1], async || mailed(&world, &ben.email, "8")).await;
        becomes([100, 30], async || mailed(&world, &ada.email, "8")).await;
        all_mailed(&world).await;
        assert_eq!(mailed(&world, &ada.email, "8"), [100, 30]);
        assert_eq!([&ada, &ben].map(|who| last(&world, &who.email)), [[1, 1], [0, 0]], "the last ones say so");
        // What was not mailed is not taken for mailed when it is told again and fits.
        let again = nth(104);
        world.pass(15 * 60);
        tells_limit(&world, again).await;
        becomes([101, 30], async || mailed(&world, &ada.email, "8")).await;
        assert_eq!(last(&world, &ada.email), [2, 1], "there was room for one");
    }

    async fn alerts_call_credits_what_the_policy_calls_them(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.calls_credits_words().await;
        tells_limit(&world, limit(&world, &ada.user, "8")).await;
        tells_allowance(&world, allowance(&world, &ada.user, "8")).await;
        let in_words = async || {
            let mails = world.mailbox.to(&ada.email);
            let says = |of_what: &str| mails.iter().any(|mail| mail.text.contains(&format!("of the 10 words {of_what}")));
            [says("that a limit"), says("that its plan")]
        };
        becomes([true; 2], in_words).await;
        assert_eq!(mailed(&world, &ada.email, "8"), [0; 2]);
    }
}
