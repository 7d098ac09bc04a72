//! The credit engine: what a charge, a hold, a refund and an expiry *are*.
//!
//! Everything here is pure: no async, no SQL, no gRPC, no clock, no randomness. Times and ids come
//! in as parameters, so the same commands in the same order always give the same ledger, on either
//! database and in every test.
//!
//! A caller loads an [`AccountState`], hands it [`Request`]s one after another through [`decide()`]
//! and writes what [`AccountState::take_changes`] gives back. Nothing that waits, stores, formats a
//! status or reads a configuration file belongs in this module.
//!
//! | file | holds |
//! |---|---|
//! | `lot` | one grant of credits and the order in which grants are spent |
//! | `hold`, `charge` | a reservation; a charge and its refunds |
//! | `attribution` | who, for which project and with which model credits were used |
//! | `command` | what can be asked, and the fingerprint that makes asking idempotent |
//! | `account` | the account's own row and its balance |
//! | `state`, `changes` | the state of one account that decisions read and change; what to write back |
//! | `decide` | one file per kind of command: the rules |
//! | `burn` | taking an amount from lots in burn order |
//! | `outcome`, `refusal` | the two kinds of answer |
//! | `entry`, `entry_row` | the ledger, its hash chain and its stored form |
//! | `verify` | the audit that recomputes a ledger from its entries |
//! | `usage` | aggregates by hour, member, project and model |
//! | `rates`, `catalog` | what models, plans and packs cost |
//! | `subscription`, `purchase` | plans and packs that an owner has, and when their months begin |
//! | `standing` | sets of roles |

mod account;
mod attribution;
mod burn;
mod canonical;
mod catalog;
mod changes;
mod charge;
mod command;
mod decide;
mod entry;
mod entry_row;
mod hold;
mod lot;
mod outcome;
mod purchase;
mod rates;
mod refusal;
mod standing;
mod state;
mod subscription;
#[cfg(test)]
mod tests;
mod usage;
mod verify;

pub use account::{Account, Balance, Expiry, LedgerHead, Period};
pub use attribution::{Attribution, AttributionError, Labels, ModelName, Note, ProjectName};
pub use catalog::{Catalog, CatalogFlaw, Pack, Plan, ProductId};
pub use changes::Changes;
pub use charge::{Charge, Refund};
pub use command::{CaptureCommand, ChargeCommand, GrantCommand, Pricing, RefundCommand, VoidCommand};
pub use command::{Command, HoldCommand, MAX_HOLD, Needs, Request, RequestKey, body_hash};
pub use decide::decide;
pub use entry::{Entry, EntryKind, GrantTerms, OperationId, Posting, Subject};
pub use entry_row::{EntryRow, UnreadableEntry};
pub use hold::{Hold, HoldState};
pub use lot::{Allocation, BurnKey, Lot, LotSource};
pub use outcome::{Charged, Granted, Held, Outcome, Refunded, Released, Voided};
pub use purchase::{Purchase, PurchaseState, Sale};
pub use rates::{ModelPrice, RateCard, RateError};
pub use refusal::{Inconsistent, Refusal};
pub use standing::Roles;
pub use state::AccountState;
pub use subscription::{Month, Paid, Subscription, SubscriptionState};
pub use usage::{UsageDelta, UsageKey, UsageTotals};
pub use verify::{Audit, BadLedger, Flaw, Verifier};
