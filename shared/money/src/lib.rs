//! Exact amounts: credits, quantities and prices, as integers of a millionth.
//!
//! Here live the amounts' ranges, their arithmetic, their text form and their form in a database
//! (BIGINT). No floating point comes near any of them, and nothing wraps, saturates or rounds in
//! silence: an operation that can leave the range gives an `Option` or a `Result`, and the one
//! rounding there is ([`Credits::checked_mul_quantity`], up) and the two of prices (down) say so by
//! their names or documentation. What something costs does not belong here.

mod credits;
mod currency;
mod decimal;
mod delta;
mod price;
mod quantity;
mod sql;

pub use credits::{Credits, CreditsError};
pub use currency::{Currency, CurrencyError};
pub use delta::CreditDelta;
pub use price::{Price, PriceError};
pub use quantity::{Quantity, QuantityError};
