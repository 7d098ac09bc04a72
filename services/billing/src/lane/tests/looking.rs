//! What whoever only looks at an account sees of what is due in it: what is there once that is booked.

use bursar_db::on;
use bursar_id::OwnerId;
use bursar_testkit::{credits, engines};
use bursar_time::Span;

use super::{Bench, Reply, Timestamp, grant, hold, owner, told, told_apart};
use crate::domain::{AccountState, Balance, Command, GrantCommand, Lot, LotSource, Outcome, VoidCommand};
use crate::lane::load::DUE_AT_ONCE;
use crate::lane::view;

impl Bench {
    /// The account as it is shown.
    async fn look(&self, owner: OwnerId) -> AccountState {
        let mut tx = self.db.read().await.unwrap();
        view(&mut tx, &self.rules.handle().current(), owner, self.clock.now()).await.unwrap().unwrap()
    }

    /// What is shown of the account: its balance, its live lots, how many holds are open and when the next one lapses.
    async fn shown(&self, owner: OwnerId) -> (Balance, Vec<Lot>, (u32, Option<Timestamp>)) {
        let state = self.look(owner).await;
        let live = state.lots().filter(|lot| lot.is_live()).cloned().collect();
        let holds = (state.account().open_holds, state.account().next_lapse);
        (state.balance(self.clock.now(), None, None), live, holds)
    }

    /// Somebody changes the labels of an owner's holds by hand.
    async fn damage_labels(&self, owner: OwnerId) -> u64 {
        let sql = "UPDATE holds SET labels = 'no labels' WHERE owner = $1";
        let mut tx = self.db.begin().await.unwrap();
        let changed = async {
            let bytes = owner.to_bytes().to_vec();
            Ok::<_, bursar_db::DbError>(
                on!(&mut tx, c => sqlx::query(sql).bind(bytes).execute(c).await?.rows_affected()),
            )
        };
        let changed = changed.await.unwrap();
        tx.commit().await.unwrap();
        changed
    }
}

/// So many credits for sale until some time, of which those with the least number burn first.
fn lot(amount: &str, priority: i32, expires_at: Option<Timestamp>) -> Command {
    Command::Grant(GrantCommand { priority, expires_at, ..GrantCommand::new(credits(amount), LotSource::Pack) })
}

engines! {
    async fn more_than_one_portion_of_what_is_due_is_seen_as_it_will_be_booked(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        // It expires while the holds on it lapse; and one is voided while there are holds on it.
        let expiry = bench.clock.now().saturating_add(Span::from_secs(63));
        bench.answer(ana, lot("1000", 1, Some(expiry))).await.unwrap();
        bench.answer(ana, lot("1000", 10, None)).await.unwrap();
        let Ok(Outcome::Granted(voided)) = bench.answer(ana, lot("2000", 20, None)).await else { panic!("not granted") };
        let many = DUE_AT_ONCE * 2 + 500;
        let placed: Vec<Reply> = (0..many).map(|n| bench.ask(ana, hold("1", 60 + n as u64 % 7))).collect();
        bench.settle().await;
        assert!(placed.into_iter().all(|reply| told(reply).is_ok()));
        bench.answer(ana, hold("1", 3_600)).await.unwrap();
        bench.answer(ana, Command::Void(VoidCommand { lot: voided.lot.id, note: None })).await.unwrap();

        bench.clock.advance(Span::from_secs(120)).unwrap();
        let seen = bench.shown(ana).await;
        assert_eq!((seen.0.available, seen.0.held), (credits("1000"), credits("1")));
        let swept = bench.ask(ana, Command::Sweep);
        bench.settle().await;
        told_apart(swept).await.unwrap();
        assert_eq!(bench.shown(ana).await, seen, "before it is booked, and after");
        assert_eq!(seen.2.0, 1, "one is not due");
        bench.assert_sound(ana, "1000").await;
    }

    async fn whoever_looks_past_what_is_due_reads_no_labels(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("10")).await.unwrap();
        for seconds in [60, 61] {
            bench.answer(ana, hold("3", seconds)).await.unwrap();
        }
        bench.clock.advance(Span::from_secs(120)).unwrap();
        // Who read them would fail.
        assert_eq!(bench.damage_labels(ana).await, 2);
        let (balance, ..) = bench.shown(ana).await;
        assert_eq!((balance.available, balance.held), (credits("10"), credits("0")));
    }
}
