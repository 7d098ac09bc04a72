//! Cancelling beside the turn of the month: on time, late, while it is renewed, suspended, deleted or moved, and by programs
//! that do not know of it. On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, Caller, Permission};
use bursar_testkit::{at, credits, engines, id, organization, personal};
use bursar_time::{Clock, Span};

use super::CancelAt;
use crate::domain::{News, Payment, PaymentState, Subscription, SubscriptionState};
use crate::error::Error;
use crate::usecase::renewals;
use crate::usecase::shelf::{now, payment, round};
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";
const NEXT: &str = "2026-02-15T12:00:00Z";

pub(in crate::usecase) async fn cancel(shop: &Shop, owner: OwnerId, at: CancelAt) -> Result<pb::Subscription, Error> {
    let code = match at {
        CancelAt::PeriodEnd => pb::CancelAt::PeriodEnd,
        CancelAt::Now => pb::CancelAt::Now,
    };
    let body = pb::CancelRequest { owner: owner.to_string(), at: code.into(), request_id: String::new() };
    let call = Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/Cancel");
    let asked = Asked::read(call, "", &body, |_, _| Some(at));
    Ok(shop.subscriptions.cancel(owner, &asked).await?.message()?)
}

pub(in crate::usecase) async fn resume(shop: &Shop, owner: OwnerId) -> Result<pb::Subscription, Error> {
    let body = pb::ResumeRequest { owner: owner.to_string(), request_id: String::new() };
    let call = Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/Resume");
    let asked = Asked::read(call, "", &body, |_, _| Some(()));
    Ok(shop.subscriptions.resume(owner, &asked).await?.message()?)
}

/// All of it went back.
fn assert_returned(payment: &Payment) {
    assert_eq!((payment.state, payment.returned, payment.refunded), (PaymentState::Paid, true, payment.amount));
    assert_eq!((payment.fulfilled_at, payment.lot), (None, None));
}

/// A person with a pack and a plan.
async fn subscribed(shop: &Shop, owner: OwnerId) -> Subscription {
    shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    now(shop, owner).await
}

engines! {
    async fn what_was_canceled_ends_at_its_boundary_however_late_and_nothing_is_asked_for(db: TestDb) {
        let clock = Clock::system();
        let shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        let before = subscribed(&shop, owner).await;
        let marked = cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        assert!(marked.cancel_at_period_end && marked.state() == pb::SubscriptionState::Active);
        assert_eq!(cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap(), marked, "once more changes nothing");
        assert_eq!((now(&shop, owner).await, round(&shop).await), (before.canceling(true), (0, 0, 0)));
        assert_eq!(shop.available(owner).await, credits("1800"));
        clock.skew(Span::from_days(100).as_micros());
        assert_eq!(round(&shop).await, (1, 0, 0), "months later it waits for no operator");
        let ended = now(&shop, owner).await;
        assert_eq!((ended.state, ended.ended_at), (SubscriptionState::Ended, Some(before.month.end)));
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (2, credits("300")));
        assert_eq!((renewals::held(&shop.db, clock.now(), 10).await.unwrap(), round(&shop).await), (vec![], (0, 0, 0)));
        assert_eq!(shop.subscriptions.entitlements(owner).await.unwrap().plan.as_str(), "free");
        shop.assert_sound(owner).await;
    }

    async fn a_period_that_is_over_is_not_paid_any_more(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for (n, when) in [(1, CancelAt::PeriodEnd), (2, CancelAt::Now)] {
            subscribed(&shop, personal(n)).await;
            shop.set(NEXT);
            let ended = cancel(&shop, personal(n), when).await.unwrap();
            assert_eq!(ended.state(), pb::SubscriptionState::Ended, "{when:?}");
            assert_eq!((round(&shop).await, shop.available(personal(n)).await), ((0, 0, 0), credits("300")));
            let again = cancel(&shop, personal(n), when).await;
            assert!(matches!(again, Err(Error::NoSubscription)), "{again:?}");
            shop.assert_sound(personal(n)).await;
            if n == 1 {
                assert_eq!(shop.count("payments").await, 2);
            }
        }
    }

    async fn a_month_that_is_paid_while_its_plan_is_canceled_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (ana, ben) = (personal(1), personal(2));
        let (hers, his) = (subscribed(&shop, ana).await, subscribed(&shop, ben).await);
        // By another replica's clock the month is not over, and it is only marked.
        cancel(&shop, ben, CancelAt::PeriodEnd).await.unwrap();
        shop.set(NEXT);
        let cashier = &shop.subscriptions.cashier;
        let mut asked = Vec::new();
        for from in [&hers, &his] {
            let dues = cashier.dues(from).await.unwrap();
            asked.push((dues.id, cashier.ask(&dues).await.unwrap()));
        }
        assert_eq!(cancel(&shop, ana, CancelAt::Now).await.unwrap().state(), pb::SubscriptionState::Ended);
        for (id, heard) in &asked {
            cashier.hear(*id, heard.as_ref()).await.unwrap();
            assert_returned(&payment(&shop, *id).await);
        }
        assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 2);
        assert_eq!(round(&shop).await, (1, 0, 0), "it ends");
        for owner in [ana, ben] {
            assert_eq!(now(&shop, owner).await.state, SubscriptionState::Ended);
            assert_eq!((shop.lots(owner).await.len(), shop.available(owner).await), (2, credits("300")));
            shop.assert_sound(owner).await;
        }
    }

    async fn whoever_read_it_before_it_was_canceled_or_taken_back_does_nothing(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (ana, ben) = (personal(1), personal(2));
        let (_, unmarked) = (subscribed(&shop, ana).await, subscribed(&shop, ben).await);
        cancel(&shop, ana, CancelAt::PeriodEnd).await.unwrap();
        let marked = now(&shop, ana).await;
        resume(&shop, ana).await.unwrap();
        cancel(&shop, ben, CancelAt::PeriodEnd).await.unwrap();
        shop.set(NEXT);
        for stale in [marked, unmarked] {
            let _nothing = renewals::catch_up(&shop.subscriptions, stale.clone()).await;
            let it = now(&shop, stale.owner).await;
            assert_eq!((it.state, it.month), (SubscriptionState::Active, stale.month));
        }
        assert_eq!(round(&shop).await, (2, 0, 0));
        let (hers, his) = (now(&shop, ana).await, now(&shop, ben).await);
        assert_eq!((hers.state, hers.month.number), (SubscriptionState::Active, 1), "it goes on");
        assert_eq!((his.state, his.month.number), (SubscriptionState::Ended, 0), "it does not");
        assert_eq!((shop.available(ana).await, shop.available(ben).await), (credits("1800"), credits("300")));
    }

    async fn what_is_taken_back_is_renewed_and_only_what_was_canceled_is_taken_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        assert!(matches!(resume(&shop, owner).await, Err(Error::NoSubscription)));
        let before = subscribed(&shop, owner).await;
        assert!(matches!(resume(&shop, owner).await, Err(Error::NotCanceled)));
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        resume(&shop, owner).await.unwrap();
        assert_eq!(now(&shop, owner).await, before);
        assert!(matches!(resume(&shop, owner).await, Err(Error::NotCanceled)));
        shop.set(NEXT);
        assert_eq!((round(&shop).await, shop.available(owner).await), ((1, 0, 0), credits("1800")));
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        shop.set("2026-03-15T12:00:00Z");
        let late = resume(&shop, owner).await;
        assert!(matches!(late, Err(Error::NoSubscription)), "its period is over: {late:?}");
        assert_eq!((round(&shop).await, shop.available(owner).await), ((1, 0, 0), credits("300")));
        assert!(matches!(resume(&shop, owner).await, Err(Error::NoSubscription)));
    }

    async fn one_that_waits_for_its_first_payment_never_begins(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for (n, when) in [(1, CancelAt::PeriodEnd), (2, CancelAt::Now)] {
            let owner = personal(n);
            let waiting = shop.subscribe(owner, "business", "sandbox_pending", "").await.unwrap();
            let ended = cancel(&shop, owner, when).await.unwrap();
            assert_eq!((ended.state(), &ended.id), (pb::SubscriptionState::Ended, &waiting.id), "{when:?}");
            let id: PaymentId = waiting.payment_id.parse().unwrap();
            assert_eq!(payment(&shop, id).await.state, PaymentState::Canceled);
            assert!(matches!(cancel(&shop, owner, when).await, Err(Error::NoSubscription)));
            assert_returned(&shop.payments.told(id, News::Paid).await.unwrap());
            assert!(matches!(shop.subscriptions.get(owner).await, Err(Error::NotFound("subscription"))));
            assert_eq!((shop.lots(owner).await.len(), shop.count("subscriptions").await), (0, 0));
            shop.subscribe(owner, "business", "sandbox_ok", "").await.expect("another one may begin");
            shop.sql("DELETE FROM subscriptions").await;
        }
    }

    async fn one_that_is_past_due_ends_at_once_and_its_open_payment_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        subscribed(&shop, owner).await;
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_pending'").await;
        shop.set(NEXT);
        assert_eq!(round(&shop).await, (1, 0, 0));
        let past_due = now(&shop, owner).await;
        assert_eq!(past_due.state, SubscriptionState::PastDue);
        let open = shop.subscriptions.cashier.dues(&past_due).await.unwrap();
        assert_eq!(open.state, PaymentState::Pending);
        assert!(matches!(resume(&shop, owner).await, Err(Error::NotCanceled)));
        let ended = cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        assert_eq!(ended.state(), pb::SubscriptionState::Ended, "the period that was paid for is over");
        assert_eq!(payment(&shop, open.id).await.state, PaymentState::Canceled);
        assert_returned(&shop.payments.told(open.id, News::Paid).await.unwrap());
        shop.set("2026-02-24T12:00:00Z");
        assert_eq!((round(&shop).await, shop.available(owner).await), ((0, 0, 0), credits("300")));
        shop.assert_sound(owner).await;
    }

    async fn of_who_is_suspended_it_ends_afterwards(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        subscribed(&shop, owner).await;
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        shop.stands(owner, Standing::Suspended).await;
        shop.set("2026-02-20T12:00:00Z");
        assert_eq!((round(&shop).await, now(&shop, owner).await.state), ((0, 0, 0), SubscriptionState::Active));
        shop.stands(owner, Standing::Active).await;
        assert_eq!(round(&shop).await, (1, 0, 0));
        assert_eq!((now(&shop, owner).await.ended_at, shop.count("payments").await), (Some(at(NEXT)), 2));
    }

    async fn an_owner_who_was_deleted_and_comes_back_finds_it_as_it_was_canceled(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (marked, ended) = (personal(1), personal(2));
        for (owner, when) in [(marked, CancelAt::PeriodEnd), (ended, CancelAt::Now)] {
            subscribed(&shop, owner).await;
            cancel(&shop, owner, when).await.unwrap();
            let before = now(&shop, owner).await;
            shop.stands(owner, Standing::Deleted).await;
            shop.settles(owner).await;
            assert_eq!(now(&shop, owner).await.state, SubscriptionState::Ended);
            shop.stands(owner, Standing::Active).await;
            shop.settles(owner).await;
            assert_eq!(now(&shop, owner).await, before, "{when:?}");
        }
        shop.set(NEXT);
        assert_eq!((round(&shop).await, now(&shop, marked).await.state), ((1, 0, 0), SubscriptionState::Ended));
    }

    async fn where_it_moves_it_ends_with_its_period_too(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let (owner, team) = (personal(1), organization(1));
        subscribed(&shop, owner).await;
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        shop.moves(id(1), id(1)).await;
        assert!(now(&shop, team).await.cancel_at_period_end);
        resume(&shop, team).await.expect("taken back there");
        cancel(&shop, team, CancelAt::PeriodEnd).await.unwrap();
        shop.set(NEXT);
        assert_eq!((round(&shop).await, now(&shop, team).await.state), ((1, 0, 0), SubscriptionState::Ended));
        assert_eq!((shop.available(team).await, shop.available(owner).await), (credits("0"), credits("300")));
    }

    async fn programs_that_do_not_know_of_it_renew_nothing_that_was_canceled(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let before = subscribed(&shop, owner).await;
        assert_eq!(shop.renewed_by_an_older_program().await, 1, "what goes on they renew");
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        assert_eq!(shop.renewed_by_an_older_program().await, 0, "what was canceled they do not, and see that they have not");
        assert_eq!(now(&shop, owner).await, before.canceling(true));
    }
}
