//! What a provider has told of a payment's money that is booked nowhere: another dispute than the one that the payment's fields are
//! about, and what is taken back in another currency. Somebody has to see to it; until then nobody refunds what it has taken, or may
//! take, and finance is shown it as what does not add up.

use bursar_money::Price;
use serde::{Deserialize, Serialize};

use super::payment::{News, Payment};

/// The most that is kept of one payment. Of one with as many nothing is refunded any more.
const MOST: usize = 16;

/// The longest name that is kept.
const NAME: usize = 64;

/// What has become of money that is booked nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Whereabouts {
    /// Its bank has not decided.
    Disputed,
    /// It is gone.
    Gone,
    /// It has stayed, or is back.
    Back,
}

/// One of these amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The provider's name for the dispute; empty for what was given back.
    pub name: String,
    /// How much, in whatever currency.
    pub amount: Price,
    /// Where it is.
    pub whereabouts: Whereabouts,
}

impl SetAside {
    /// What these news say, of a dispute where that is named; `None` where they are about no amount.
    pub fn told(dispute: Option<&str>, news: &[News]) -> Option<Self> {
        let amount = news.iter().find_map(News::amount)?;
        let where_it_is = |news: &News| match news {
            News::DisputeWon => Some(Whereabouts::Back),
            News::DisputeLost | News::Refunded(_) => Some(Whereabouts::Gone),
            _ => None,
        };
        let whereabouts = news.iter().find_map(where_it_is).unwrap_or(Whereabouts::Disputed);
        let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let name = dispute.unwrap_or_default().chars().filter(fits).take(NAME).collect();
        Some(Self { name, amount, whereabouts })
    }

    /// Whether it is not there, or may yet be taken.
    pub fn is_withheld(&self) -> bool {
        self.whereabouts != Whereabouts::Back
    }

    /// The same after more was heard of it, in any order: what was decided first stands, and the greater amount.
    fn with(&self, more: &Self) -> Self {
        let is_open = self.whereabouts == Whereabouts::Disputed;
        let is_greater =
            more.amount.currency() == self.amount.currency() && more.amount.micros() > self.amount.micros();
        Self {
            name: self.name.clone(),
            amount: if is_greater { more.amount } else { self.amount },
            whereabouts: if is_open { more.whereabouts } else { self.whereabouts },
        }
    }
}

impl Payment {
    /// Keeps what is booked nowhere; `false` where that changes nothing.
    pub fn keep_aside(&mut self, more: SetAside) -> bool {
        let same = |it: &SetAside| (&it.name, it.amount.currency()) == (&more.name, more.amount.currency());
        let place = self.aside.iter().position(same);
        if let Some(known) = place.and_then(|place| self.aside.get_mut(place)) {
            let with = known.with(&more);
            let changes = *known != with;
            *known = with;
            return changes;
        }
        let has_room = self.aside.len() < MOST;
        if has_room {
            self.aside.push(more);
        }
        has_room
    }

    /// What of it nobody may refund since it is taken, or may be, by what is booked nowhere: all of it where that is in another
    /// currency, as nobody knows how much of this one it comes to.
    pub fn taken_aside(&self) -> Price {
        let none = Price::zero(self.amount.currency());
        if self.aside.len() >= MOST {
            return self.amount;
        }
        let withheld = self.aside.iter().filter(|it| it.is_withheld());
        withheld.fold(none, |sum, it| {
            if it.amount.currency() == self.amount.currency() {
                self.at_most_all(sum.checked_add(it.amount).unwrap_or(self.amount))
            } else {
                self.amount
            }
        })
    }
}
