//! What a plan includes is what was sold, whatever another catalog says; also where an earlier program has sold it. On both engines.

use std::sync::Arc;
use std::time::Duration;

use bursar_id::OwnerId;
use bursar_testkit::{TestDb, engines, personal};

use super::{Portion, Rounds, round};
use crate::domain::{Assortment, Features, News, Subscription};
use crate::store::{included, payments, subscriptions, years};
use crate::usecase::changing::tests::change;
use crate::usecase::shop::Shop;
use crate::usecase::{catalogs, inspection, renewals};

const BEGIN: &str = "2026-01-01T00:00:00Z";
const HALF: &str = "2026-01-16T12:00:00Z";
const NEXT: &str = "2026-02-01T00:00:00Z";

/// For which project the credits of every plan are by the former catalog, and what they allow; and by the later one.
const FORMER: (&str, &str) = ("film", "organizations");
const LATER: (&str, &str) = ("game", "single_sign_on");
const ALLOWED: Features = Features { organizations: true, single_sign_on: false };
const ALLOWED_LATER: Features = Features { organizations: false, single_sign_on: true };

/// Plans whose months begin together with others, alone, and of a year that is paid for.
const KINDS: [(&str, u64); 3] = [("ordinary", 1), ("rolling", 2), ("yearly", 3)];

/// As programs leave it that know nothing of it.
const FORGOTTEN: &str = "UPDATE subscriptions SET included = NULL, included_plan = NULL";

/// These plans, and one that costs more, of all of which a catalog says the same.
fn plans((project, feature): (&str, &str)) -> String {
    let plan = |id: &str, price: &str, seat: &str, more: &str| {
        format!(
            "\n[[plans]]\nid = \"{id}\"\nname = \"{id}\"\nprice = \"{price} USD\"\ncredits = \"1500\"\nseats = 10\n\
             seat_price = \"{seat} USD\"\ncredits_per_seat = \"150\"\n{more}scope = {{ projects = [\"{project}\"] }}\n\
             features = [\"{feature}\"]\n"
        )
    };
    [
        plan("ordinary", "100.00", "10.00", ""),
        plan("rolling", "100.00", "10.00", "rollover = \"500\"\n"),
        plan("yearly", "1200.00", "120.00", "interval = \"year\"\n"),
        plan("dear", "300.00", "30.00", ""),
    ]
    .concat()
}

/// What is sold by a catalog.
fn catalog(says: (&str, &str)) -> String {
    format!("{}{}", include_str!("../../../catalog.toml"), plans(says))
}

async fn shop(db: &TestDb) -> Shop {
    Shop::selling(db, BEGIN, &plans(FORMER)).await
}

async fn live(shop: &Shop, owner: OwnerId) -> Subscription {
    subscriptions::live(&mut shop.db.read().await.unwrap(), owner).await.unwrap().unwrap()
}

/// For how many people the owner's plan is, and what it allows.
async fn allows(shop: &Shop, owner: OwnerId) -> (u32, Features) {
    let entitled = shop.subscriptions.entitlements(owner).await.unwrap();
    (entitled.seats, entitled.features)
}

/// For which project each of the owner's lots is, the oldest first.
async fn projects(shop: &Shop, owner: OwnerId) -> Vec<String> {
    let lots = shop.lots(owner).await;
    lots.iter().map(|lot| lot.terms.scope.projects().iter().map(ToString::to_string).collect()).collect()
}

/// Writes down what earlier programs have sold, by what is sold now.
async fn keep(shop: &Shop) {
    round(&shop.db, &shop.subscriptions.outbox, &shop.subscriptions.catalog.current()).await.unwrap();
}

/// What the check of all stores takes for what the owner's plan may allow.
async fn compared(shop: &Shop, owner: OwnerId) -> Vec<Vec<String>> {
    let mut tx = shop.db.read().await.unwrap();
    let sold = inspection::sold(&mut tx).await.unwrap();
    let plans = inspection::plans_of(&mut tx, &[owner]).await.unwrap();
    sold.by(&plans[0]).into_iter().map(|it| it.features).collect()
}

/// It is this time, and whatever is due was looked after.
async fn becomes(shop: &Shop, time: &str) {
    shop.set(time);
    assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().failed, 0, "at {time}");
}

engines! {
    async fn seats_and_months_are_of_what_was_sold_whatever_is_sold_by_then(db: TestDb) {
        let mut shop = shop(&db).await;
        for (plan, n) in KINDS {
            shop.subscribe(personal(n), plan, "sandbox_ok", "").await.unwrap();
        }
        shop.set(HALF);
        shop.sells(&catalog(LATER));
        for (_, n) in KINDS {
            change(&shop, personal(n), "", 11).await.unwrap();
        }
        becomes(&shop, NEXT).await;
        for (plan, n) in KINDS {
            let owner = personal(n);
            assert_eq!(allows(&shop, owner).await, (11, ALLOWED), "{plan}");
            let of = projects(&shop, owner).await;
            assert!(of.len() > 2 && of.iter().all(|it| it == FORMER.0), "{plan}: {of:?}");
            shop.assert_sound(owner).await;
        }

        // Whoever subscribes now, or changes to another plan, has what is sold now.
        let (ana, ben) = (personal(1), personal(9));
        shop.subscribe(ben, "ordinary", "sandbox_ok", "").await.unwrap();
        assert_eq!((allows(&shop, ben).await, projects(&shop, ben).await), ((10, ALLOWED_LATER), vec![LATER.0.to_owned()]));
        change(&shop, ana, "dear", 0).await.unwrap();
        assert_eq!(allows(&shop, ana).await, (10, ALLOWED_LATER));
        becomes(&shop, "2026-03-01T00:00:00Z").await;
        assert_eq!(projects(&shop, ana).await.last().map(String::as_str), Some(LATER.0));
        shop.assert_sound(ana).await;
    }

    async fn a_plan_that_waits_is_what_it_was_when_it_was_planned(db: TestDb) {
        let owner = personal(1);
        let mut shop = shop(&db).await;
        shop.subscribe(owner, "dear", "sandbox_ok", "").await.unwrap();
        shop.set(HALF);
        shop.sells(&catalog(LATER));
        change(&shop, owner, "ordinary", 0).await.unwrap();
        assert_eq!(allows(&shop, owner).await, (10, ALLOWED), "not yet");
        shop.sells(&catalog(FORMER));
        becomes(&shop, NEXT).await;
        assert_eq!((live(&shop, owner).await.plan.as_str(), allows(&shop, owner).await), ("ordinary", (10, ALLOWED_LATER)));
        assert_eq!(projects(&shop, owner).await, [FORMER.0, LATER.0]);
    }

    async fn what_is_paid_later_is_what_was_ordered(db: TestDb) {
        let owner = personal(1);
        let mut shop = shop(&db).await;
        // Whoever hears of payments goes on with the former catalog, as a replica may.
        shop.sells(&catalog(LATER));
        for (n, plan) in (1..).zip(["ordinary", "rolling"]) {
            let owner = personal(n);
            shop.subscribe(owner, plan, "sandbox_pending", "").await.unwrap();
            let waiting = payments::waiting_starts(&mut shop.db.read().await.unwrap(), owner, 1).await.unwrap();
            shop.payments.told(waiting[0].id, News::Paid).await.unwrap();
            assert_eq!((live(&shop, owner).await.plan.as_str(), projects(&shop, owner).await), (plan, vec![LATER.0.to_owned()]));
        }
        shop.sells(&catalog(FORMER));
        assert_eq!(allows(&shop, owner).await, (10, ALLOWED_LATER));
    }

    async fn what_earlier_programs_have_sold_is_written_down_once_and_stays(db: TestDb) {
        let mut shop = shop(&db).await;
        let [ana, ben, cem] = [1, 2, 3].map(personal);
        for (owner, plan) in [(ana, "ordinary"), (ben, "rolling"), (cem, "dear")] {
            shop.subscribe(owner, plan, "sandbox_ok", "").await.unwrap();
        }
        shop.sql(FORGOTTEN).await;
        shop.sells(&catalog(LATER));
        assert_eq!(allows(&shop, ana).await, (10, ALLOWED_LATER), "until then the catalog says it");
        shop.sells(&catalog(FORMER));
        let told = shop.count("outbox").await;
        keep(&shop).await;
        assert_eq!(shop.count("outbox").await, told + 3, "of each it is told");
        shop.sells(&catalog(LATER));
        keep(&shop).await;
        assert_eq!(shop.count("outbox").await, told + 3, "once");
        for owner in [ana, ben, cem] {
            assert_eq!(allows(&shop, owner).await, (10, ALLOWED));
        }

        // Where such a program has changed the plan, what the former one included counts no more.
        shop.sql("UPDATE subscriptions SET plan_id = 'dear' WHERE plan_id = 'ordinary'").await;
        assert_eq!(allows(&shop, ana).await, (10, ALLOWED_LATER));
        keep(&shop).await;
        shop.sells(&catalog(FORMER));
        assert_eq!(allows(&shop, ana).await, (10, ALLOWED_LATER), "that is written down, too");
        becomes(&shop, NEXT).await;
        assert_eq!(projects(&shop, ana).await, [FORMER.0, LATER.0]);
        assert_eq!(projects(&shop, cem).await, [FORMER.0, FORMER.0]);

        shop.sql("UPDATE subscriptions SET plan_id = 'gone' WHERE plan_id = 'rolling'").await;
        // Where there is nothing to write it waits for nobody who writes.
        let writer = shop.db.begin().await.unwrap();
        keep(&shop).await;
        writer.rollback().await.unwrap();
        assert_eq!((live(&shop, ben).await.included, allows(&shop, ben).await.1), (None, Features::default()), "nobody knows");
    }

    async fn what_cannot_be_read_of_one_keeps_it_from_nobody_else(db: TestDb) {
        let mut shop = shop(&db).await;
        let [ana, ben, cem] = [1, 2, 3].map(personal);
        for (owner, plan) in [(ana, "ordinary"), (ben, "rolling"), (cem, "dear")] {
            shop.subscribe(owner, plan, "sandbox_ok", "").await.unwrap();
        }
        shop.sql(FORGOTTEN).await;
        shop.sql("UPDATE subscriptions SET pending_change = 'no change' WHERE plan_id = 'ordinary'").await;
        let told = shop.count("outbox").await;
        keep(&shop).await;
        assert_eq!(shop.count("outbox").await, told + 2, "of the others it is told");
        shop.sql("UPDATE subscriptions SET pending_change = NULL").await;
        assert_eq!(live(&shop, ana).await.included, None);
        shop.sells(&catalog(LATER));
        for owner in [ben, cem] {
            assert_eq!(allows(&shop, owner).await, (10, ALLOWED), "as it was sold");
        }
        keep(&shop).await;
        assert_eq!(shop.count("outbox").await, told + 3, "and of this one as soon as it can be read");
    }

    async fn what_is_written_down_stays_when_a_month_begins_of_what_was_read_before(db: TestDb) {
        let owner = personal(1);
        let shop = shop(&db).await;
        shop.subscribe(owner, "ordinary", "sandbox_ok", "").await.unwrap();
        shop.sql(FORGOTTEN).await;
        let read = live(&shop, owner).await;
        keep(&shop).await;
        let known = live(&shop, owner).await.included;
        assert!(read.included.is_none() && known.is_some());
        let renewed = read.renewed("later".to_owned());
        for together in [false, true] {
            let mut tx = shop.db.begin().await.unwrap();
            if together {
                assert_eq!(subscriptions::renew_many(&mut tx, &[(renewed.clone(), read.clone())]).await.unwrap(), 1);
            } else {
                assert!(years::advance(&mut tx, &renewed, &read).await.unwrap());
            }
            let now = subscriptions::live(&mut tx, owner).await.unwrap().unwrap();
            assert_eq!((now.month, now.included), (renewed.month, known.clone()), "together: {together}");
            tx.rollback().await.unwrap();
        }
    }

    async fn a_round_that_has_done_enough_leaves_the_rest_to_the_next_one(db: TestDb) {
        let mut shop = shop(&db).await;
        for (plan, n) in KINDS {
            shop.subscribe(personal(n), plan, "sandbox_ok", "").await.unwrap();
        }
        shop.sql(FORGOTTEN).await;
        // No catalog that is known has their plans any more, so they stay where they are found.
        shop.sells(include_str!("../../../catalog.toml"));
        let sold = Assortment::new(Arc::clone(shop.subscriptions.catalog.current().present()), shop.clock.now());
        let (rounds, portion) = (Rounds::default(), Portion { part: 1, enough: Duration::ZERO });
        let mut went_on = Vec::new();
        for _ in 0..=KINDS.len() {
            went_on.push(rounds.go_on((&shop.db, &shop.subscriptions.outbox), &sold, portion).await.unwrap());
        }
        assert_eq!(went_on, [true, true, true, false]);
    }

    async fn whoever_compares_goes_by_what_is_kept_and_else_by_every_catalog(db: TestDb) {
        let owner = personal(1);
        let mut shop = shop(&db).await;
        shop.subscribe(owner, "ordinary", "sandbox_ok", "").await.unwrap();
        for says in [FORMER, LATER] {
            shop.sells(&catalog(says));
            let sold = Arc::clone(&shop.subscriptions.catalog.current().present().catalog);
            catalogs::keep(&shop.db, sold, shop.clock.now()).await.unwrap();
        }
        assert_eq!(compared(&shop, owner).await, [["ORGANIZATIONS"]], "and nothing else");
        shop.sql(FORGOTTEN).await;
        assert_eq!(compared(&shop, owner).await, [["SINGLE_SIGN_ON"], ["ORGANIZATIONS"]]);
    }

    async fn what_was_changed_meanwhile_is_not_written_down(db: TestDb) {
        let (owner, shop) = (personal(1), shop(&db).await);
        shop.subscribe(owner, "ordinary", "sandbox_ok", "").await.unwrap();
        shop.sql(FORGOTTEN).await;
        let sold = shop.subscriptions.catalog.current();
        let read = live(&shop, owner).await.with_included(&sold);
        change(&shop, owner, "", 11).await.unwrap();
        let mut tx = shop.db.begin().await.unwrap();
        assert!(!included::keep(&mut tx, &read).await.unwrap(), "it has more seats since");
        let known = subscriptions::live(&mut tx, owner).await.unwrap().unwrap().with_included(&sold);
        assert!(included::keep(&mut tx, &known).await.unwrap());
        assert!(!included::keep(&mut tx, &known).await.unwrap(), "it is there by now");
        assert_eq!(subscriptions::live(&mut tx, owner).await.unwrap().unwrap(), known, "nothing else is changed");
    }
}
