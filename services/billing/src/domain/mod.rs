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
//! | `lot`, `scope` | one grant of credits, the order in which grants are spent, and which work they pay for |
//! | `hold`, `charge` | a reservation; a charge and its refunds |
//! | `attribution`, `actor` | for whom, for which project and with which model credits were used; who used them |
//! | `command` | what can be asked, and the fingerprint that makes asking idempotent |
//! | `account` | the account's own row and its balance |
//! | `rules` | what holds for every account alike |
//! | `state`, `booking`, `changes` | the state of one account that decisions read and change; what to write back |
//! | `decide` | one file per kind of command: the rules |
//! | `burn` | taking an amount from lots in burn order |
//! | `outcome`, `refusal` | the two kinds of answer |
//! | `entry`, `entry_body`, `codec` | the ledger, its hash chain and its stored form |
//! | `details` | what entries say in free text, apart from them so that it can be erased |
//! | `operation` | ids that say which entry they name |
//! | `verify`, `shape`, `erased`, `flaw` | the audit that recomputes a ledger from its entries, what each kind of them looks like, what excuses missing details, and what is found |
//! | `checkpoint` | where all ledgers ended at one time, as a file that is kept elsewhere |
//! | `usage`, `usage_audit` | aggregates by hour, member, project, model and meter; whether they are what the entries say |
//! | `rates`, `catalog` | what models, plans and packs cost |
//! | `subscription`, `purchase` | plans and packs that an owner has, and when their months begin |

mod account;
mod actor;
mod attribution;
mod booking;
mod burn;
mod catalog;
mod changes;
mod charge;
pub mod checkpoint;
mod codec;
mod command;
mod decide;
mod details;
mod entry;
mod entry_body;
mod erased;
mod flaw;
mod hold;
mod lot;
mod operation;
mod outcome;
mod purchase;
mod rates;
mod refusal;
mod rules;
mod scope;
mod shape;
mod state;
mod subscription;
#[cfg(test)]
pub(crate) mod tests;
mod usage;
mod usage_audit;
mod verify;

pub use account::{Account, Balance, Expiry, LedgerHead, Period};
pub use actor::Actor;
pub use attribution::{Attribution, AttributionError, Labels, ModelName, Note, ProjectName};
pub use catalog::{Catalog, CatalogFlaw, CatalogVersion, KeptCatalog, Pack, Plan, ProductId};
pub use changes::Changes;
pub use charge::{Charge, Metered, Refund};
pub use codec::Unreadable;
pub use command::{CaptureCommand, ChargeCommand, Cost, GrantCommand, RefundCommand, VoidCommand};
pub use command::{Command, HoldCommand, Needs, Request, RequestKey, RequestName, Spender};
pub use decide::decide;
pub use details::{Details, DetailsPage, Fingerprint, NamedRequest, PAGE_ENTRIES, Salt};
pub use entry::{CaptureEvent, ChargeEvent, Entry, EntryKind, Event, HoldEvent, OperationId, Posting, RefundEvent};
pub use entry_body::{StoredEntry, UnreadableEntry};
pub use flaw::{Audit, BadLedger, Flaw};
pub use hold::{Hold, HoldState, HoldTerms};
pub use lot::{Allocation, BurnKey, Lot, LotSource, LotTerms, Origin};
pub use operation::OperationKey;
pub use outcome::{Charged, Erased, Granted, Held, Outcome, Refunded, Released, Voided};
pub use purchase::{Purchase, PurchaseState, Sale};
pub use rates::{
    Component, MAX_METERS, MAX_RATES, MeterName, MeterPrice, MeterUse, ModelPrice, Priced, Rate, RateCard, RateError,
};
pub use refusal::{Inconsistent, Refusal};
pub use rules::{Rules, Spending};
pub use scope::{Scope, ScopeError};
pub use state::AccountState;
pub use subscription::{Month, Paid, Subscription, SubscriptionState};
pub use usage::{MeterDelta, MeterKey, MeterTotals, UsageDelta, UsageKey, UsageTotals};
pub use usage_audit::UsageAudit;
pub use verify::Verifier;
