//! Payments: what news means in every state, and that their order decides nothing that matters.

use bursar_money::{Credits, Price};
use proptest::prelude::*;

use super::world::{at, credits, id, owner};
use crate::domain::*;

pub(super) fn usd(dollars: i64) -> Price {
    Price::from_units_nanos("USD".parse().unwrap(), dollars, 0).unwrap()
}

/// A payment of 20 dollars for 300 credits.
pub(super) fn payment(state: PaymentState) -> Payment {
    Payment {
        id: id(1),
        owner: owner(),
        bought: Bought::Pack {
            purchase: id(2),
            pack: ProductId::parse("starter").unwrap(),
            credits: credits(300),
            scope: Scope::default(),
        },
        amount: usd(20),
        bill: None,
        state,
        refunded: usd(0),
        dispute: Dispute::None,
        disputed: usd(0),
        aside: Vec::new(),
        decline_code: None,
        method: "sandbox_ok".to_owned(),
        reference: None,
        thing: [1; 16],
        attempt: 1,
        fulfilled_at: None,
        returned: false,
        lot: None,
        invoice: None,
        taken_back: TakenBack::default(),
        moved: None,
        months: Vec::new(),
        started_by: String::new(),
        created_at: at(0),
    }
}

/// One row for each kind of news about the state, one column for each state, in [`PaymentState::ALL`]'s order.
#[test]
fn every_news_has_its_meaning_in_every_state() {
    use PaymentState::{Canceled, Created, Declined, Paid, Pending, RequiresAction};
    let from = [Created, Pending, RequiresAction, Paid, Declined, Canceled];
    assert_eq!(PaymentState::ALL, from);
    let table = [
        (News::Pending, [Pending, Pending, Pending, Paid, Declined, Canceled]),
        (News::RequiresAction, [RequiresAction, RequiresAction, RequiresAction, Paid, Declined, Canceled]),
        (News::Paid, [Paid; 6]),
        (News::Declined("no".to_owned()), [Declined, Declined, Declined, Paid, Declined, Canceled]),
        (News::Canceled, [Canceled, Canceled, Canceled, Paid, Canceled, Canceled]),
        (News::Refunded(usd(20)), from),
        (News::Disputed(usd(20)), from),
        (News::DisputeWon, from),
        (News::DisputeLost, from),
    ];
    for (news, to) in table {
        for (from, to) in from.into_iter().zip(to) {
            let mut payment = payment(from);
            payment.learn(&news);
            assert_eq!(payment.state, to, "{news:?} of {from}");
            assert!(!payment.learn(&news), "{news:?} of {from}, again");
        }
    }
}

#[test]
fn words_are_read_as_they_are_written() {
    for word in PaymentState::ALL {
        assert_eq!(word.to_string().parse(), Ok(*word));
    }
    for word in Dispute::ALL {
        assert_eq!(word.to_string().parse(), Ok(*word));
    }
    for word in Purpose::ALL {
        assert_eq!(word.to_string().parse(), Ok(*word));
    }
    assert!("paid".parse::<PaymentState>().is_err() && "".parse::<Dispute>().is_err());
}

#[test]
fn what_is_taken_back_is_rounded_up_and_never_more_than_all() {
    let cases =
        [(0, 0, "0"), (1, 0, "15"), (7, 0, "105"), (20, 0, "300"), (20, 20, "300"), (7, 20, "300"), (3, 4, "105")];
    for (refunded, disputed, taken) in cases {
        let mut payment = payment(PaymentState::Paid);
        payment.learn(&News::Refunded(usd(refunded)));
        payment.learn(&News::Disputed(usd(disputed)));
        assert_eq!(
            payment.share_to_take_back(payment.bought.credits()).to_string(),
            taken,
            "{refunded} refunded, {disputed} disputed"
        );
    }
    let mut thirds = payment(PaymentState::Paid);
    thirds.amount = usd(3);
    thirds.bought = Bought::Start {
        subscription: id(3),
        plan: ProductId::parse("p").unwrap(),
        credits: credits(1),
        seats: 1,
        interval: Interval::Month,
        features: None,
        included: None,
        rollover: None,
        grant_in_grace: false,
        contract: None,
    };
    thirds.learn(&News::Refunded(usd(1)));
    assert_eq!(thirds.share_to_take_back(thirds.bought.credits()).to_string(), "0.333334");
    // What cannot be: another currency, a negative amount, a payment of nothing.
    let mut odd = payment(PaymentState::Paid);
    assert!(!odd.learn(&News::Refunded(Price::from_units_nanos("EUR".parse().unwrap(), 5, 0).unwrap())));
    assert!(!odd.learn(&News::Refunded(usd(-5))));
    odd.learn(&News::Refunded(Price::from_micros("USD".parse().unwrap(), i64::MAX / 16).unwrap_or(usd(1_000_000))));
    assert_eq!((odd.refunded, odd.share_to_take_back(odd.bought.credits())), (usd(20), credits(300)));
    let mut free = payment(PaymentState::Paid);
    free.amount = usd(0);
    assert_eq!(free.share_to_take_back(free.bought.credits()), Credits::ZERO);
}

#[test]
fn what_a_dispute_takes_is_not_refunded() {
    let mut it = payment(PaymentState::Paid);
    it.learn(&News::Refunded(usd(3)));
    assert_eq!(it.refundable(), usd(17));
    it.learn(&News::Disputed(usd(5)));
    assert_eq!(it.refundable(), usd(12));
    it.learn(&News::DisputeWon);
    assert_eq!(it.refundable(), usd(17));
    it.learn(&News::Refunded(usd(25)));
    assert_eq!(it.refundable(), usd(0));
}

/// News of a payment with one dispute at most, which a bank decides once.
fn news(decision: News) -> impl Strategy<Value = News> {
    prop_oneof![
        Just(News::Pending),
        Just(News::RequiresAction),
        Just(News::Paid),
        Just(News::Declined("no".to_owned())),
        Just(News::Canceled),
        (0..=25_i64).prop_map(|dollars| News::Refunded(usd(dollars))),
        (0..=25_i64).prop_map(|dollars| News::Disputed(usd(dollars))),
        Just(decision),
    ]
}

fn decisions() -> impl Strategy<Value = News> {
    prop_oneof![Just(News::DisputeWon), Just(News::DisputeLost)]
}

proptest! {
    /// Whatever comes in whatever order, as often as one likes: what was paid once is paid; refunds and disputes come to the
    /// same; hearing it all again changes nothing.
    #[test]
    fn the_order_of_news_decides_nothing_that_matters(
        (heard, other) in decisions()
            .prop_flat_map(|decision| prop::collection::vec(news(decision), 0..12))
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let after = |heard: &[News]| {
            let mut it = payment(PaymentState::Created);
            for news in heard {
                it.learn(news);
                prop_assert!(it.taken().micros() <= it.amount.micros() && it.refunded.micros() <= it.amount.micros());
                prop_assert!(it.share_to_take_back(it.bought.credits()) <= credits(300));
            }
            Ok(it)
        };
        let (one, another) = (after(&heard)?, after(&other)?);
        let paid = heard.contains(&News::Paid);
        prop_assert_eq!((one.state == PaymentState::Paid, another.state == PaymentState::Paid), (paid, paid));
        let money = |it: &Payment| {
            (it.refunded, it.disputed, it.dispute, it.given_back(), it.share_to_take_back(it.bought.credits()))
        };
        prop_assert_eq!(money(&one), money(&another));
        let again: Vec<News> = heard.iter().chain(&heard).cloned().collect();
        let again = after(&again)?;
        if paid {
            prop_assert_eq!(&again, &one, "once it is paid, hearing all of it again changes nothing");
        }
    }
}
