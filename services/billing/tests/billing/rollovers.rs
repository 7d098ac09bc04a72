//! What rolls over, as callers see it: in the catalog, in the subscription and what waits for it, in lots, and in the books.

use bursar_billing::finance::report;
use bursar_proto::billing::v1 as pb;
use bursar_testkit::{TestDb, engines};

use crate::moving::{subscription, the_end};
use crate::words::{change_to, lots_of, spend, subscribe};
use crate::world::{BUILT_IN, World, until};

const PLANS: &str = r#"
[[plans]]
id = "rolling"
name = "Rolling"
price = "100.00 USD"
credits = "1500"
rollover = "500"
seats = 10

[[plans]]
id = "lenient"
name = "Lenient"
price = "100.00 USD"
credits = "1500"
grant_in_grace = true
seats = 10
"#;

async fn selling(db: TestDb) -> World {
    World::selling(db, &format!("{BUILT_IN}{PLANS}")).await
}

engines! {
    async fn what_is_left_of_a_month_is_there_for_the_next(db: TestDb) {
        let world = selling(db).await;
        let ana = world.person(1);
        let plans = world.nobody().list_plans(pb::ListPlansRequest::default()).await.unwrap().plans;
        let caps: Vec<_> = plans.iter().filter(|plan| !plan.rollover.is_empty()).map(|it| (it.id.as_str(), it.rollover.as_str())).collect();
        assert_eq!(caps, [("rolling", "500")]);
        let lenient: Vec<_> = plans.iter().filter(|plan| plan.grant_in_grace).map(|it| it.id.as_str()).collect();
        assert_eq!(lenient, ["lenient"]);

        ana.subscribe(subscribe(ana.owner, "rolling")).await.unwrap();
        let begun = subscription(&world, ana.owner).await;
        assert_eq!(begun.rollover, "500");
        ana.charged(spend(ana.owner, "1100")).await;
        world.passes(the_end(&begun).since(world.now()));
        let period = begun.current_period_start;
        until("the next month has begun", async || subscription(&world, ana.owner).await.current_period_start != period).await;
        assert_eq!(world.available(ana.owner).await, "1900");
        ana.charged(spend(ana.owner, "450")).await;
        let lots = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots;
        let mut lines: Vec<_> = lots.iter().map(|it| (it.granted.as_str(), it.remaining.as_str(), it.expired.as_str(), it.rolled_over)).collect();
        lines.sort_unstable();
        assert_eq!(lines, [("1500", "0", "400", false), ("1500", "1450", "0", false), ("400", "0", "0", true)]);
        let over = lots.iter().find(|lot| lot.rolled_over).unwrap();
        assert_eq!((over.source(), over.note.as_str(), over.effective_at), (pb::LotSource::Allowance, "rolled over", begun.current_period_start));

        // What is planned for the next month says so, too.
        let planned = ana.change_plan(change_to(ana.owner, "business")).await.unwrap().subscription.unwrap();
        assert_eq!(planned.rollover, "500");
        assert_eq!(planned.pending_change.map(|it| it.rollover), Some(String::new()));

        let first = begun.current_period_start.unwrap().seconds;
        let from = bursar_time::Timestamp::from_unix_secs(first).unwrap().start_of_month();
        let (mut gone, mut left) = (0, 0);
        for month in 0..2 {
            let of = (from.add_months_anchored(month), from.add_months_anchored(month + 1));
            let told = report(&world.store, None, (of, of.1), Vec::<u8>::new()).await.unwrap();
            let sums = told.sums["USD"];
            gone += sums.earned + sums.breakage;
            left = sums.left_value;
        }
        assert_eq!(gone + left, 200_000_000);
        world.audit(ana.owner).await;
    }
}
