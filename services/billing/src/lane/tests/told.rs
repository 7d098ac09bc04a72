//! Requests of which the audit log is told: their rows are written with what they do, however that is decided.

use bursar_db::audit::Outcome as Told;
use bursar_testkit::{audited, engines};
use bursar_time::Span;

use super::{Bench, Reply, charge, grant, owner, service, told};
use crate::domain::{Command, Entry, Outcome, Request, RequestName, ToldCall, VoidCommand};
use crate::store::ledger;

/// Who asks, and for whom, as the audit log names them.
const WHO: (&str, Option<&str>) = ("svc_who_asks", Some("usr_for_whom"));

/// The `n`-th request, of which the audit log is told.
fn telling(n: u8, name: Option<&str>, command: Command) -> Request {
    let name = name.map(|name| RequestName::new(&service(), name.parse().unwrap()));
    let (actor, on_behalf_of) = (WHO.0.to_owned(), WHO.1.map(str::to_owned));
    Request::new(name, [n; 16], command).told_as(ToldCall { method: "a.B/C", actor, on_behalf_of, row: [n; 10] })
}

/// The lot that was granted.
fn lot(reply: Reply) -> String {
    match told(reply) {
        Ok(Outcome::Granted(granted)) => granted.lot.id.to_string(),
        other => panic!("not granted: {other:?}"),
    }
}

impl Bench {
    /// What the audit log has: of each row the target. All else that is the same of all is demanded, and that each is of the
    /// time of an entry that its lot has.
    async fn targets(&self) -> Vec<String> {
        let stored = ledger::after(&mut self.db.read().await.unwrap(), owner(1), 0, 1_000).await.unwrap();
        let entries: Vec<Entry> = stored.into_iter().map(|it| Entry::from_stored(it).unwrap()).collect();
        let mut targets = Vec::new();
        for row in audited(&self.db).await {
            let of = (row.outcome, row.method.as_str(), row.actor.as_str(), row.on_behalf_of.as_deref(), row.reason);
            assert_eq!(of, (Told::Done, "a.B/C", WHO.0, WHO.1, None));
            assert_eq!(row.owner, Some(owner(1)));
            let is_about = |it: &&Entry| it.postings.iter().any(|it| Some(it.lot.to_string()) == row.target);
            let times: Vec<_> = entries.iter().filter(is_about).map(|it| it.at).collect();
            assert!(times.contains(&row.at), "{:?} is told of at {}, and booked at {times:?}", row.target, row.at);
            targets.extend(row.target);
        }
        targets.sort_unstable();
        targets
    }
}

fn sorted(lots: &[&String]) -> Vec<String> {
    let mut lots: Vec<String> = lots.iter().map(|lot| (*lot).clone()).collect();
    lots.sort_unstable();
    lots
}

engines! {
    async fn a_row_is_written_with_what_it_tells_of_however_that_is_decided(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let first = bench.ask_for(ana, telling(1, None, grant("10")));
        assert_eq!(bench.lane.undecided(), 1, "nothing is known of the account");
        bench.settle().await;
        let first = lot(first);
        assert_eq!(bench.targets().await, sorted(&[&first]));

        // From memory, beside what the ledger alone tells of.
        let (second, spent) = (bench.ask_for(ana, telling(2, None, grant("10"))), bench.ask(ana, charge("1")));
        let third = bench.ask_for(ana, telling(3, Some("c"), grant("10")));
        assert_eq!(bench.lane.undecided(), 0, "decided");
        bench.clock.advance(Span::from_secs(1)).unwrap();
        bench.settle().await;
        told(spent).unwrap();
        let (second, third) = (lot(second), lot(third));
        assert_eq!(bench.targets().await, sorted(&[&first, &second, &third]));

        // Somebody else was there first: decided from memory for nothing, and then again.
        let fourth = bench.ask_for(ana, telling(4, None, grant("10")));
        assert_eq!(bench.lane.undecided(), 0, "decided");
        bench.elsewhere(ana, grant("5")).await;
        bench.settle().await;
        let fourth = lot(fourth);
        assert_eq!(bench.targets().await, sorted(&[&first, &second, &third, &fourth]), "once");
        bench.assert_sound(ana, "44").await;
    }

    async fn a_repetition_and_what_is_refused_have_no_row(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let first = bench.ask_for(ana, telling(1, Some("a"), grant("10")));
        bench.settle().await;
        let Ok(Outcome::Granted(granted)) = told(first) else { panic!("not granted") };
        let again = bench.ask_for(ana, telling(2, Some("a"), grant("10")));
        assert_eq!(bench.lane.undecided(), 0, "decided as if it were new");
        bench.settle().await;
        assert!(matches!(told(again), Ok(Outcome::Granted(it)) if it.replayed));
        let reused = bench.ask_for(ana, telling(3, Some("a"), grant("11")));
        let too_much = bench.ask_for(ana, telling(4, None, grant("1000000000000")));
        bench.settle().await;
        assert!(told(reused).is_err() && told(too_much).is_err());
        let lot = granted.lot.id;
        assert_eq!(bench.targets().await, [lot.to_string()]);
        for (n, rows) in [(5, 2), (6, 2)] {
            let voided = bench.ask_for(ana, telling(n, None, Command::Void(VoidCommand { lot, note: None })));
            bench.settle().await;
            assert!(matches!(told(voided), Ok(Outcome::Voided(it)) if it.replayed == (n == 6)));
            assert_eq!(bench.targets().await, vec![lot.to_string(); rows], "it is voided once");
        }
        bench.assert_sound(ana, "0").await;
    }

    async fn a_batch_of_many_has_a_row_for_each_that_asks_for_one(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("1")).await.unwrap();
        let mut asked: Vec<Reply> = Vec::new();
        for n in 0..200_u8 {
            asked.push(bench.ask_for(ana, telling(n, None, grant("1"))));
            drop(bench.ask(ana, grant("1")));
        }
        assert_eq!(bench.lane.undecided(), 0, "one transaction, decided in memory");
        bench.settle().await;
        let lots: Vec<String> = asked.into_iter().map(lot).collect();
        assert_eq!(bench.targets().await, sorted(&lots.iter().collect::<Vec<_>>()));
        bench.assert_sound(ana, "401").await;
    }
}
