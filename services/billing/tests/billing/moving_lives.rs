//! Random lives of two accounts between which a subscription moves, against a model as naive as can be: two purses each.

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_secret::Entropy;
use bursar_testkit::{Refusal, engines, lives};

use crate::moving::moving;
use crate::words::{free, give_back_part, reserve, settle, spend, subscribe};
use crate::world::{Person, World};

/// So many of the month's allowance, and so many of what never expires.
type Parts = (u64, u64);

/// What an account has: the allowance goes first.
#[derive(Clone, Copy, Debug, Default)]
struct Purse {
    allowance: u64,
    rest: u64,
    held: u64,
    /// The allowance has gone elsewhere: nothing comes back to it.
    gone: bool,
}

impl Purse {
    fn take(&mut self, amount: u64) -> Option<Parts> {
        let first = amount.min(self.allowance);
        let then = amount - first;
        if then > self.rest {
            return None;
        }
        (self.allowance, self.rest) = (self.allowance - first, self.rest - then);
        Some((first, then))
    }

    fn give_back(&mut self, (allowance, rest): Parts) {
        self.allowance += if self.gone { 0 } else { allowance };
        self.rest += rest;
    }
}

/// So many of the first and the rest of the second, in the order of spending.
fn split((allowance, rest): Parts, amount: u64) -> (Parts, Parts) {
    let first = amount.min(allowance);
    let then = (amount - first).min(rest);
    ((first, then), (allowance - first, rest - then))
}

/// One life: who acts, what is open, and what the model says.
struct Life<'a> {
    world: &'a World,
    people: [Person; 2],
    purses: [Purse; 2],
    holds: Vec<(usize, pb::Hold, Parts)>,
    /// With what is left to be refunded, last spent first.
    charges: Vec<(usize, pb::Charge, Parts)>,
    moved: bool,
}

impl Life<'_> {
    fn owner(&self, who: usize) -> OwnerId {
        self.people[who].owner
    }

    async fn charge(&mut self, who: usize, amount: u64) {
        let answer = self.people[who].charge(spend(self.owner(who), &amount.to_string())).await;
        match (self.purses[who].take(amount), answer) {
            (Some(parts), Ok(answer)) => self.charges.push((who, answer.charge.unwrap(), parts)),
            (None, Err(status)) => assert_eq!(Refusal::of(&status).reason, "INSUFFICIENT_CREDITS"),
            (expected, answer) => panic!("{expected:?} and {answer:?}"),
        }
    }

    async fn hold(&mut self, who: usize, amount: u64) {
        let answer = self.people[who].hold(reserve(self.owner(who), &amount.to_string())).await;
        match (self.purses[who].take(amount), answer) {
            (Some(parts), Ok(answer)) => {
                self.purses[who].held += amount;
                self.holds.push((who, answer.hold.unwrap(), parts));
            }
            (None, Err(status)) => assert_eq!(Refusal::of(&status).reason, "INSUFFICIENT_CREDITS"),
            (expected, answer) => panic!("{expected:?} and {answer:?}"),
        }
    }

    async fn capture(&mut self, nth: usize, amount: u64) {
        let (who, hold, parts) = self.holds.swap_remove(nth);
        let amount = amount.min(parts.0 + parts.1).max(1);
        let charge = self.people[who].captured(settle(&hold, &amount.to_string())).await;
        let (spent, back) = split(parts, amount);
        self.purses[who].held -= parts.0 + parts.1;
        self.purses[who].give_back(back);
        self.charges.push((who, charge, spent));
    }

    async fn release(&mut self, nth: usize) {
        let (who, hold, parts) = self.holds.swap_remove(nth);
        self.people[who].release(free(&hold)).await.unwrap();
        self.purses[who].held -= parts.0 + parts.1;
        self.purses[who].give_back(parts);
    }

    async fn refund(&mut self, nth: usize, amount: u64) {
        let (who, charge, left) = self.charges[nth].clone();
        let amount = amount.min(left.0 + left.1);
        if amount == 0 {
            return;
        }
        self.world.product().refund(give_back_part(&charge, &amount.to_string())).await.unwrap();
        // Last spent first.
        let ((rest, allowance), (rest_left, allowance_left)) = split((left.1, left.0), amount);
        self.purses[who].give_back((allowance, rest));
        self.charges[nth].2 = (allowance_left, rest_left);
    }

    async fn move_it(&mut self) {
        let request = moving(self.owner(0), self.owner(1));
        self.world.service(ServiceRole::Organization).move_subscription(request).await.unwrap();
        if !std::mem::replace(&mut self.moved, true) {
            self.purses[1].allowance += std::mem::take(&mut self.purses[0].allowance);
            self.purses[0].gone = true;
        }
    }

    async fn compare(&self, what: &str) {
        for (who, purse) in self.purses.iter().enumerate() {
            let balance = self.world.balance(self.owner(who)).await;
            let expected = ((purse.allowance + purse.rest).to_string(), purse.held.to_string());
            assert_eq!((balance.available, balance.held), expected, "{who} after {what}");
        }
    }
}

engines! {
    async fn random_lives_with_a_move_keep_every_credit_of_both_accounts(db: TestDb) {
        let world = World::on(db).await;
        for number in 1..=4 * lives() {
            let chance = Entropy::seeded(number);
            let ana = world.person_with(number, "300").await;
            ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
            let (_, boss) = world.organization_with(number, "300").await;
            let purses = [Purse { allowance: 1500, rest: 300, ..Purse::default() }, Purse { rest: 300, ..Purse::default() }];
            let mut life = Life { world: &world, people: [ana, boss], purses, holds: Vec::new(), charges: Vec::new(), moved: false };
            let pick = |among: usize| usize::try_from(chance.u64_below(among as u64)).unwrap();
            for step in 0..50 {
                let (who, amount) = (pick(2), 1 + chance.u64_below(300));
                let what = match chance.u64_below(12) {
                    0..3 => { life.charge(who, amount).await; "a charge" }
                    3..6 => { life.hold(who, amount).await; "a hold" }
                    6..8 if !life.holds.is_empty() => { life.capture(pick(life.holds.len()), amount).await; "a capture" }
                    8 if !life.holds.is_empty() => { life.release(pick(life.holds.len())).await; "a release" }
                    9..11 if !life.charges.is_empty() => { life.refund(pick(life.charges.len()), amount).await; "a refund" }
                    11 if step > 10 => { life.move_it().await; "a move" }
                    _ => continue,
                };
                life.compare(&format!("{what}, step {step} of life {number}")).await;
            }
            life.move_it().await;
            while !life.holds.is_empty() {
                life.release(0).await;
            }
            life.compare("everything").await;
            for who in 0..2 {
                world.audit(life.owner(who)).await;
            }
        }
    }
}
