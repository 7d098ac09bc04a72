//! What a balance and a report cost does not depend on the ledger: they never look at it.

use bursar_proto::billing::v1::GroupBy::{Member, Model, Project};
use bursar_testkit::{engines, refused};
use tonic::Code;

use crate::words::{Spending, balance_of, entries_of, reserve, settle, spend, usage_of};
use crate::world::World;

engines! {
    async fn balance_and_usage_never_read_the_ledger(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        for n in 0..20 {
            ana.charged(spend(ana.owner, "1").for_project(&format!("p{}", n % 3)).on_model("m")).await;
        }
        let hold = ana.held(reserve(ana.owner, "5")).await;
        ana.captured(settle(&hold, "2")).await;
        let balance = ana.get_balance(balance_of(ana.owner)).await.unwrap();
        let usage = ana.query_usage(usage_of(ana.owner, &[Member, Project, Model])).await.unwrap();
        assert_eq!((&*balance.available, &*balance.spent_this_period), ("78", "22"));

        // With the ledger out of reach both answer as before, and what does read it fails.
        world.by_hand("ALTER TABLE ledger_entries RENAME TO out_of_reach").await.unwrap();
        assert_eq!(ana.get_balance(balance_of(ana.owner)).await.unwrap(), balance);
        assert_eq!(ana.query_usage(usage_of(ana.owner, &[Member, Project, Model])).await.unwrap(), usage);
        refused(ana.list_ledger_entries(entries_of(ana.owner)).await, Code::Internal, "INTERNAL");
        world.by_hand("ALTER TABLE out_of_reach RENAME TO ledger_entries").await.unwrap();
        world.audit(ana.owner).await;
    }

    async fn usage_has_a_row_for_each_hour_and_name_however_many_charges(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1000").await;
        let rows = "SELECT COUNT(*) FROM usage_hours WHERE owner = $1";
        ana.charged(spend(ana.owner, "1").for_project("film")).await;
        assert_eq!(world.number(rows, ana.owner).await, 1, "one for the hour");
        let charges = (0..500).map(|_| spend(ana.owner, "1").for_project("film"));
        ana.batch_charge(crate::words::batch(charges)).await.unwrap();
        assert_eq!(world.number(rows, ana.owner).await, 1, "five hundred charges later");
        assert_eq!(world.seq(ana.owner).await, 502);
        world.audit(ana.owner).await;
    }
}
