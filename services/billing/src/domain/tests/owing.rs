//! Debts: credits whose payment was taken back after they were spent, and what pays them.

use bursar_id::LotId;
use bursar_money::Credits;
use proptest::prelude::*;

use super::golden::{self, Golden};
use super::world::{World, at, credits, id, owner, rules, work};
use crate::domain::*;

fn world() -> World {
    World::new(rules())
}

/// Grants a pack that somebody bought.
fn buy(world: &mut World, second: u64, amount: u32) -> LotId {
    let origin = Origin { purchase: Some(id(1)), payment: Some(id(2)), ..Origin::default() };
    granted(world, second, amount, LotSource::Pack, origin)
}

fn granted(world: &mut World, second: u64, amount: u32, source: LotSource, origin: Origin) -> LotId {
    let command = Command::Grant(GrantCommand { origin, ..GrantCommand::new(credits(amount), source) });
    match world.run(&Request::unnamed(command), &Actor::Job, at(second)) {
        Ok(Outcome::Granted(granted)) => granted.lot.id,
        other => panic!("{other:?}"),
    }
}

fn spend(world: &mut World, second: u64, amount: u32) {
    let command = Command::Charge(ChargeCommand {
        cost: Cost::Amount(credits(amount)),
        attribution: work(1),
        labels: Labels::default(),
        occurred_at: None,
    });
    world.ask(second, command).unwrap();
}

fn take(world: &mut World, second: u64, (lot, amount, owed): (LotId, u32, u32)) -> (Credits, Credits) {
    let command = TakeBackCommand { lot, payment: id(2), amount: credits(amount), owed: credits(owed) };
    match world.run(&Request::unnamed(Command::TakeBack(command)), &Actor::Job, at(second)) {
        Ok(Outcome::TakenAway(TakenAway { voided, owed })) => (voided, owed),
        other => panic!("{other:?}"),
    }
}

fn restore(world: &mut World, second: u64, (lot, amount, voided, owed): (LotId, u32, u32, u32)) -> [Credits; 3] {
    let (amount, voided, owed) = (credits(amount), credits(voided), credits(owed));
    let command = RestoreCommand { lot, payment: id(2), amount, voided, owed };
    match world.run(&Request::unnamed(Command::Restore(command)), &Actor::Job, at(second)) {
        Ok(Outcome::Restored(it)) => [it.forgiven, it.returned, it.paid_before],
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn has(world: &mut World, available: u32, debt: u32) {
    world.forget();
    assert_eq!((world.store.account.available, world.store.account.debt), (credits(available), credits(debt)));
    world.store.verify().unwrap();
}

#[test]
fn what_is_left_is_voided_and_what_was_spent_is_owed() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    assert_eq!(take(&mut world, 2, (pack, 150, 0)), (credits(150), credits(0)), "half of it is still there");
    assert_eq!(take(&mut world, 3, (pack, 150, 0)), (credits(50), credits(100)));
    has(&mut world, 0, 100);
}

#[test]
fn the_next_pack_pays_and_nothing_else_does() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 300);
    assert_eq!(take(&mut world, 2, (pack, 300, 0)), (credits(0), credits(300)));
    for source in [LotSource::Allowance, LotSource::Pack, LotSource::Goodwill] {
        granted(&mut world, 3, 10, source, Origin::default());
    }
    has(&mut world, 30, 300);
    buy(&mut world, 4, 100);
    has(&mut world, 30, 200);
    let second = buy(&mut world, 5, 300);
    has(&mut world, 130, 0);
    let lot = world.store.lots[&second].clone();
    assert_eq!((lot.spent, lot.remaining), (credits(200), credits(100)));
    // What a pack paid was used: if its own payment is taken back, it is owed again.
    assert_eq!(take(&mut world, 6, (second, 300, 0)), (credits(100), credits(200)));
    has(&mut world, 30, 200);
}

#[test]
fn a_won_dispute_forgives_first_and_gives_the_rest_back() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    assert_eq!(take(&mut world, 2, (pack, 300, 0)), (credits(200), credits(100)));
    assert_eq!(restore(&mut world, 3, (pack, 300, 200, 100)), [100, 200, 0].map(credits));
    has(&mut world, 200, 0);
    spend(&mut world, 4, 200);
    has(&mut world, 0, 0);
}

#[test]
fn what_a_pack_paid_meanwhile_is_to_be_granted_anew() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    take(&mut world, 2, (pack, 300, 0));
    buy(&mut world, 3, 60);
    has(&mut world, 0, 40);
    assert_eq!(restore(&mut world, 4, (pack, 300, 200, 100)), [40, 200, 60].map(credits));
    has(&mut world, 200, 0);
}

#[test]
fn what_holds_reserve_counts_as_used_and_what_was_voided_is_no_debt() {
    let mut world = world();
    let pack = buy(&mut world, 0, 100);
    let hold = Command::Hold(HoldCommand {
        amount: credits(60),
        ttl: bursar_time::Span::HOUR,
        attribution: work(1),
        labels: Labels::default(),
    });
    world.ask(1, hold).unwrap();
    assert_eq!(take(&mut world, 2, (pack, 100, 0)), (credits(40), credits(60)));
    has(&mut world, 0, 60);
    // The hold lapses: what comes back is there, and as much is owed.
    world.ask(3_700, Command::Sweep).unwrap();
    has(&mut world, 60, 60);

    let other = buy(&mut world, 3_701, 100);
    world.ask(3_702, Command::Void(VoidCommand { lot: other, note: None })).unwrap();
    assert_eq!(
        take(&mut world, 3_703, (other, 100, 0)),
        (credits(0), credits(60)),
        "what it paid; the rest nobody had"
    );
    assert_eq!(restore(&mut world, 3_704, (other, 100, 40, 60)), [60, 0, 0].map(credits), "voided wins");
    has(&mut world, 60, 0);
}

#[test]
fn older_programs_know_that_they_cannot_read_debts() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    take(&mut world, 2, (pack, 300, 0));
    restore(&mut world, 3, (pack, 100, 200, 100));
    take(&mut world, 4, (pack, 100, 0));
    buy(&mut world, 5, 300);
    world.forget();
    for entry in world.store.ledger() {
        let (stored, debt) = (entry.to_stored(), entry.kind() as u8 > 10);
        assert_eq!(stored.body[0], if debt { 2 } else { 1 }, "{}", entry.kind());
        assert_eq!(Entry::from_stored(stored.clone()).unwrap().event, entry.event);
        let mut other = stored;
        other.body[0] = 3 - other.body[0];
        let why = Entry::from_stored(other).unwrap_err().why;
        assert_eq!(why, Unreadable::Malformed("kind"), "each kind has the one format");
    }
    assert_eq!(world.kinds().len(), 5, "{:?}", world.kinds());
}

/// A forger who chains a lie about debts correctly is caught.
#[test]
fn an_audit_counts_what_is_owed() {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    take(&mut world, 2, (pack, 300, 0));
    world.forget();
    let good = world.store.clone();
    let mut less = good.clone();
    less.account.debt = credits(99);
    assert_eq!(less.verify().unwrap_err().flaw, Flaw::HeadMismatch);
    let lies: [fn(&mut DebtEvent); 2] = [|it| it.debt_after = credits(50), |it| it.lot = id(9)];
    for (lie, flaw) in lies.into_iter().zip([Flaw::DebtMismatch, Flaw::WrongPosting(pack)]) {
        let mut entries = good.ledger();
        let Event::Debt(event) = &mut entries[2].event else { panic!("the third is the debt") };
        lie(event);
        let mut forged = good.clone();
        super::forging::forge(&entries, &mut forged);
        assert_eq!(forged.verify().unwrap_err().flaw, flaw);
    }
}

/// A ledger with every kind of entry about debts, and a chain of both formats.
fn made() -> World {
    let mut world = world();
    let pack = buy(&mut world, 0, 300);
    spend(&mut world, 1, 100);
    take(&mut world, 2, (pack, 150, 0));
    take(&mut world, 3, (pack, 150, 0));
    buy(&mut world, 4, 60);
    restore(&mut world, 5, (pack, 300, 200, 100));
    spend(&mut world, 6, 50);
    world.forget();
    world
}

/// The golden ledger of format 2: written once, read and verified for ever (`golden` has that of format 1).
#[test]
fn the_golden_ledger_with_debts_is_what_this_program_writes_and_verifies() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-2.json");
    let about = "An account with debts, as the first program stored it that knew of them. Never written anew.";
    let made = made().store;
    made.verify().unwrap();
    let now = Golden::of(about, owner(), [7; 32], &made);
    if std::env::var_os("BURSAR_WRITE_GOLDEN").is_some() {
        std::fs::write(PATH, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let golden = Golden::read(&std::fs::read_to_string(PATH).unwrap());
    assert_eq!(golden, now);
    assert_eq!(golden.ledger(), made.ledger());
    let audit = golden::verify(&golden).unwrap();
    assert_eq!((audit.entries, golden.account().debt), (8, Credits::ZERO));
    let formats: Vec<u8> = golden.entries().iter().map(|row| row.body[0]).collect();
    assert_eq!(formats, [1, 1, 2, 2, 1, 2, 2, 1]);
}

proptest! {
    /// Random lives of two packs whose payments are taken back and given back: every credit is accounted for at every step,
    /// what is owed is what a simple count says, and the ledger verifies.
    #[test]
    fn debts_are_exact(steps in prop::collection::vec((0_u8..5, 1_u32..200), 1..25)) {
        let mut world = world();
        let mut packs: Vec<(LotId, u32, u32)> = Vec::new();
        let mut debt = 0_i64;
        for (second, (what, amount)) in (1..).zip(steps) {
            match what {
                0 => {
                    packs.push((buy(&mut world, second, amount), 0, 0));
                    debt -= debt.min(i64::from(amount));
                }
                1 => {
                    let command = Command::Charge(ChargeCommand {
                        cost: Cost::Amount(credits(amount)), attribution: work(1), labels: Labels::default(), occurred_at: None,
                    });
                    let _ = world.ask(second, command);
                }
                2 | 3 => {
                    let Some((lot, voided, owed)) = packs.last_mut() else { continue };
                    let (void, owe) = take(&mut world, second, (*lot, amount, *owed));
                    let whole = |it: Credits| u32::try_from(it.micro() / 1_000_000).unwrap();
                    *voided += whole(void);
                    *owed += whole(owe);
                    debt += i64::from(whole(owe));
                }
                _ => {
                    let Some((lot, voided, owed)) = packs.last_mut() else { continue };
                    let [forgiven, returned, paid] = restore(&mut world, second, (*lot, amount, *voided, *owed));
                    let whole = |it: Credits| u32::try_from(it.micro() / 1_000_000).unwrap();
                    *voided -= whole(returned);
                    *owed -= whole(forgiven) + whole(paid);
                    debt -= i64::from(whole(forgiven));
                }
            }
            world.forget();
            prop_assert_eq!(world.store.account.debt.micro(), debt * 1_000_000);
            prop_assert!(world.store.verify().is_ok(), "{:?}", world.store.verify());
        }
    }
}
