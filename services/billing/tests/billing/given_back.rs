//! What finance is told of money that went back: of a refund of what was not spent, of what was, and of a part; of disputes; of a
//! year's change; of a month that moved. Every month of each adds up, lot by lot.

use std::collections::BTreeMap;

use bursar_billing::finance::{MonthReport, Sums, report};
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1 as testing;
use bursar_rpc::ServiceRole;
use bursar_testkit::{at, engines};

use crate::moving::moving;
use crate::words::{buy, lots_of, spend, subscribe, void};
use crate::world::{Person, World};

/// An amount of the report in millionths.
fn micros(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.parse::<i64>().unwrap();
    sign * (number(whole) * 1_000_000 + number(&format!("{part:0<6}")))
}

/// What the months so far have left of each lot's money, and of each payment's that is in none.
#[derive(Default)]
pub(crate) struct Months(BTreeMap<String, i64>);

/// The columns of money in the month, and what is left: what was paid, was given back, was earned and was breakage.
const MONEY: [&str; 5] = ["paid_in_month", "given_back_in_month", "earned_in_month", "breakage_in_month", "left_value"];

/// What was paid, was given back, was earned and was breakage, and what is left, in millionths.
pub(crate) fn flows(of: &Sums) -> [i64; 5] {
    [of.paid, of.given_back, of.earned, of.breakage, of.left_value]
}

impl Months {
    /// The next month: what of lots was paid, was given back, was earned and was breakage in it, and what is left, in millionths.
    pub(crate) async fn told(&mut self, world: &World, month: &str) -> [i64; 5] {
        flows(&self.report(world, month).await.sums.get("USD").copied().unwrap_or_default())
    }

    /// The same of all lines: lots, and what is in none.
    pub(crate) async fn whole(&mut self, world: &World, month: &str) -> [i64; 5] {
        let told = self.report(world, month).await;
        let of = |sums: &BTreeMap<String, Sums>| flows(&sums.get("USD").copied().unwrap_or_default());
        let (lots, rest) = (of(&told.sums), of(&told.not_granted));
        std::array::from_fn(|nth| lots[nth] + rest[nth])
    }

    /// The next month's report. Every line adds up, over its life and in the month, and so do all of them; nothing of it is a
    /// formula to a table's program.
    pub(crate) async fn report(&mut self, world: &World, month: &str) -> MonthReport {
        let from = at(&format!("{month}-01T00:00:00Z"));
        let end = from.add_months_anchored(1);
        let mut csv = Vec::new();
        let told = report(&world.store, None, ((from, end), end), &mut csv).await.unwrap();
        let text = String::from_utf8(csv).unwrap();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        let mut before = std::mem::take(&mut self.0);
        let mut sums: BTreeMap<String, [i64; 5]> = BTreeMap::new();
        for line in lines {
            let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(',')).collect();
            let is_formula =
                |it: &&str| it.starts_with(['=', '+', '@']) || (it.starts_with('-') && it.parse::<f64>().is_err());
            assert!(!row.values().any(is_formula), "{month}: {row:?}");
            if row["currency"].is_empty() {
                continue;
            }
            let of = |name: &str| micros(row[name]);
            let gone = of("rolled_over") + of("given_back") + of("earned") + of("breakage");
            assert_eq!(of("paid") - gone, of("left_value"), "{month}: {row:?}");
            let key = if row["lot"].is_empty() { row["payment"] } else { row["lot"] };
            let had = before.remove(key).unwrap_or(0);
            let [paid, back, earned, breakage, left] = MONEY.map(of);
            assert_eq!(had + paid - back - earned - breakage, left, "{month}: {row:?}");
            assert!(self.0.insert(key.to_owned(), left).is_none(), "{month}: {key} twice");
            let sum = sums.entry(row["currency"].to_owned()).or_default();
            *sum = std::array::from_fn(|nth| sum[nth] + micros(row[MONEY[nth]]));
        }
        assert!(before.values().all(|left| *left == 0), "{month}: {before:?} are left out of {text}");
        for (currency, sum) in sums {
            let of = |sums: &BTreeMap<String, Sums>| flows(&sums.get(&currency).copied().unwrap_or_default());
            let (lots, rest) = (of(&told.sums), of(&told.not_granted));
            let both: [i64; 5] = std::array::from_fn(|nth| lots[nth] + rest[nth]);
            assert_eq!(sum, both, "{month}: {currency} of {text}");
        }
        assert_eq!(told.differences, Vec::<String>::new(), "{month}");
        assert!(told.books.values().all(|it| it.difference() == 0), "{month}: {:?}", told.books);
        told
    }
}

fn becomes(world: &World, time: &str) {
    world.passes(at(time).since(world.now()));
}

/// Buys 300 credits for 20 dollars. Gives the payment.
async fn buys(person: &Person) -> String {
    person.purchase_pack(buy(person.owner, "starter")).await.unwrap().purchase.unwrap().payment_id
}

/// Refunds so many dollars of a payment, or all that is left of it.
pub(crate) async fn refunds(world: &World, owner: OwnerId, payment_id: &str, dollars: Option<i64>) {
    let amount = dollars.map(|units| Money { currency_code: "USD".to_owned(), units, nanos: 0 });
    let (owner, payment_id) = (owner.to_string(), payment_id.to_owned());
    let request = pb::RefundPaymentRequest { owner, payment_id, amount, ..Default::default() };
    world.operator().refund_payment(request).await.unwrap();
}

/// Has the sandbox say this of a payment.
pub(crate) async fn settles(world: &World, payment_id: &str, outcome: testing::Outcome) {
    let request = testing::SettleRequest { payment_id: payment_id.to_owned(), outcome: outcome.into(), amount: None };
    world.nobody().0.sandbox().settle(request).await.unwrap();
}

engines! {
    async fn what_is_refunded_unspent_is_no_breakage(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let ana = world.person(1);
        let payment = buys(&ana).await;
        becomes(&world, "2026-02-10T00:00:00Z");
        refunds(&world, ana.owner, &payment, None).await;
        becomes(&world, "2026-04-10T00:00:00Z");
        assert_eq!(months.told(&world, "2026-01").await, [20_000_000, 0, 0, 0, 20_000_000], "however late it is asked");
        assert_eq!(months.told(&world, "2026-02").await, [0, 20_000_000, 0, 0, 0]);
        assert_eq!(months.told(&world, "2026-03").await, [0; 5]);
        world.audit(ana.owner).await;
    }

    async fn what_is_refunded_spent_is_earned_by_the_pack_that_pays_it(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let ana = world.person(1);
        let payment = buys(&ana).await;
        ana.charged(spend(ana.owner, "300")).await;
        becomes(&world, "2026-02-10T00:00:00Z");
        refunds(&world, ana.owner, &payment, None).await;
        becomes(&world, "2026-03-10T00:00:00Z");
        buys(&ana).await;
        assert_eq!(months.told(&world, "2026-01").await, [20_000_000, 0, 20_000_000, 0, 0]);
        assert_eq!(months.told(&world, "2026-02").await, [0, 20_000_000, -20_000_000, 0, 0]);
        assert_eq!(months.told(&world, "2026-03").await, [20_000_000, 0, 20_000_000, 0, 0], "20 dollars are kept, and earned once");
        world.audit(ana.owner).await;
    }

    async fn a_part_goes_back_of_what_is_left_and_then_of_what_was_earned(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let ana = world.person(1);
        let payment = buys(&ana).await;
        ana.charged(spend(ana.owner, "240")).await;
        becomes(&world, "2026-02-10T00:00:00Z");
        // 30 of the 60 credits that are left, then these and 60 that were spent.
        refunds(&world, ana.owner, &payment, Some(2)).await;
        becomes(&world, "2026-03-10T00:00:00Z");
        refunds(&world, ana.owner, &payment, Some(6)).await;
        assert_eq!(months.told(&world, "2026-01").await, [20_000_000, 0, 16_000_000, 0, 4_000_000]);
        assert_eq!(months.told(&world, "2026-02").await, [0, 2_000_000, 0, 0, 2_000_000]);
        assert_eq!(months.told(&world, "2026-03").await, [0, 6_000_000, -4_000_000, 0, 0]);
        world.audit(ana.owner).await;
    }

    async fn what_was_breakage_and_goes_back_is_none(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let ana = world.person(1);
        let payment = buys(&ana).await;
        let pack = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots.remove(0);
        world.operator().void_lot(void(ana.owner, &pack)).await.unwrap();
        becomes(&world, "2026-02-10T00:00:00Z");
        refunds(&world, ana.owner, &payment, None).await;
        assert_eq!(months.told(&world, "2026-01").await, [20_000_000, 0, 0, 20_000_000, 0]);
        assert_eq!(months.told(&world, "2026-02").await, [0, 20_000_000, 0, -20_000_000, 0], "though no credits move");
        world.audit(ana.owner).await;
    }

    async fn what_a_bank_takes_is_given_back_once_it_is_lost(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let (ana, ben) = (world.person(1), world.person(2));
        let (lost, won) = (buys(&ana).await, buys(&ben).await);
        for person in [&ana, &ben] {
            person.charged(spend(person.owner, "90")).await;
        }
        becomes(&world, "2026-02-10T00:00:00Z");
        for payment in [&lost, &won] {
            settles(&world, payment, testing::Outcome::Disputed).await;
        }
        becomes(&world, "2026-03-10T00:00:00Z");
        settles(&world, &lost, testing::Outcome::DisputeLost).await;
        settles(&world, &won, testing::Outcome::DisputeWon).await;
        assert_eq!(months.told(&world, "2026-01").await, [40_000_000, 0, 12_000_000, 0, 28_000_000]);
        assert_eq!(months.told(&world, "2026-02").await, [0, 0, 0, 0, 28_000_000], "nothing is decided");
        assert_eq!(months.told(&world, "2026-03").await, [0, 20_000_000, -6_000_000, 0, 14_000_000]);
        for person in [&ana, &ben] {
            world.audit(person.owner).await;
        }
    }

    async fn what_goes_back_is_told_without_its_tax(db: TestDb) {
        let world = World::with(db, |settings| {
            let taxes = settings.data_dir.join("taxes.toml");
            std::fs::write(&taxes, "[[taxes]]\ncountry = 'DE'\nname = 'USt.'\npercent = '19'\n").unwrap();
            settings.invoices.tax_file = Some(taxes);
        })
        .await;
        let mut months = Months::default();
        let ana = world.person(1);
        let profile = pb::BillingProfile { country: "DE".to_owned(), ..Default::default() };
        let settings = pb::AccountSettings { billing_profile: Some(profile), ..Default::default() };
        let owner = ana.owner.to_string();
        ana.update_account_settings(pb::UpdateAccountSettingsRequest { owner, settings: Some(settings), ..Default::default() }).await.unwrap();
        let payment = buys(&ana).await;
        // Of 23.80 dollars, 3.80 of them taxes; what was no tax of 11 is 9.24.
        refunds(&world, ana.owner, &payment, Some(11)).await;
        let [paid, back, earned, breakage, left] = months.told(&world, "2026-01").await;
        assert_eq!((paid, earned, breakage, back + left), (20_000_000, 0, 0, 20_000_000));
        assert!((9_240_000..=9_250_000).contains(&back), "{back}");
        becomes(&world, "2026-02-10T00:00:00Z");
        refunds(&world, ana.owner, &payment, None).await;
        assert_eq!(months.told(&world, "2026-02").await, [0, 20_000_000 - back, 0, 0, 0]);
        world.audit(ana.owner).await;
    }

    async fn a_month_that_moved_goes_back_at_both_owners(db: TestDb) {
        let (world, mut months) = (World::on(db).await, Months::default());
        let ana = world.person(1);
        let (team, boss) = world.organization_with(2, "1").await;
        let payment = ana.subscribe(subscribe(ana.owner, "business")).await.unwrap().payment.unwrap().id;
        ana.charged(spend(ana.owner, "500")).await;
        becomes(&world, "2026-02-03T12:00:00Z");
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        boss.charged(spend(team, "300")).await;
        // 700 of 1,500 are left there, and 50 of the 300 that were spent go back with them.
        refunds(&world, ana.owner, &payment, Some(50)).await;
        assert_eq!(months.told(&world, "2026-01").await, [100_000_000, 0, 33_333_333, 0, 66_666_667]);
        assert_eq!(months.told(&world, "2026-02").await, [0, 50_000_000, 16_666_667, 0, 0]);
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }
}
