//! What one owner may have of a lane's transactions while others ask, too.

use bursar_testkit::engines;
use tokio::sync::mpsc;

use super::{Bench, Reply, charge, grant, owner, service};
use crate::domain::Request;
use crate::lane::job::{Job, Submission};
use crate::lane::share::PORTION;

/// So many charges of one owner, as one submission.
fn charges(of: u64, count: usize) -> (Submission, Reply) {
    let job = Job { owner: owner(of), actor: service(), request: Request::unnamed(charge("1")) };
    Submission::new(vec![job; count], None)
}

engines! {
    async fn whoever_asks_for_much_has_a_portion_of_a_transaction_beside_others(db: TestDb) {
        let mut bench = Bench::over(&db, 100).await;
        for of in [1, 2] {
            bench.answer(owner(of), grant("10000")).await.unwrap();
        }
        let (sender, mut queue) = mpsc::unbounded_channel();
        let send = |of, count| {
            let (submission, reply) = charges(of, count);
            sender.send(submission).ok().unwrap();
            reply
        };
        // Alone it has as much as it asks for.
        let alone: Vec<Reply> = (0..4).map(|_| send(1, PORTION)).collect();
        bench.lane.take_all(&mut queue);
        assert_eq!(bench.lane.waiting(), 4 * PORTION);
        bench.settle().await;
        for reply in alone {
            assert_eq!(reply.await.unwrap().len(), PORTION);
        }
        // Beside somebody else, who asks while a transaction is under way, a portion.
        let mut beside = vec![send(1, 1)];
        let mut others = vec![send(2, 1)];
        bench.lane.take_all(&mut queue);
        let under_way = bench.lane.begin();
        beside.extend((0..4).map(|_| send(1, PORTION)));
        others.push(send(2, 1));
        bench.lane.take_all(&mut queue);
        let mut most = bench.lane.waiting();
        let finished = under_way.await;
        bench.lane.end(finished);
        // Where tables are distributed a transaction has one owner, and the other's comes next.
        let mut transactions = 0;
        while others.len() + beside.len() > 0 {
            bench.lane.take_turns();
            most = most.max(bench.lane.waiting());
            let under_way = bench.lane.begin();
            let finished = under_way.await;
            bench.lane.end(finished);
            transactions += 1;
            others.retain_mut(|reply| reply.try_recv().is_err());
            beside.retain_mut(|reply| reply.try_recv().is_err());
            assert!(others.is_empty() || transactions < 3, "it waits behind all of the other's");
        }
        assert!(most <= PORTION + 2, "{most} in one transaction");
        bench.assert_sound(owner(1), &(10_000 - 8 * PORTION - 1).to_string()).await;
        bench.assert_sound(owner(2), "9998").await;
    }
}
