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
//! | `verify`, `shape`, `erased`, `hold_audit`, `flaw` | the audit that recomputes a ledger from its entries, what each kind of them looks like, what excuses missing details, how holds must be stored, and what is found |
//! | `checkpoint` | where all ledgers ended at one time, as a file that is kept elsewhere |
//! | `usage`, `usage_audit` | aggregates by hour, member, project, model and meter; whether they are what the entries say |
//! | `rates`, `catalog` | what models, plans and packs cost |
//! | `invoice`, `tax` | invoices and credit notes, which add up to the cent; which taxes they have |
//! | `profile` | what an account's managers set: whom invoices are for, where days begin |
//! | `limit`, `limits`, `limiting` | limits; how much of them is used, and what decisions ask of that |
//! | `top_up` | when a pack is bought by itself |
//! | `allowance` | how much of the present period's allowance is used, and of which percentages to tell |
//! | `tally` | what a window has seen before a limit was set |
//! | `subscription`, `purchase` | plans and packs that an owner has, and when their months begin |
//! | `interval` | how long one payment lasts, and what of a year's is each month's |
//! | `paid_lot` | the lots that a payment has: one, or a year's, month by month |
//! | `worth`, `given_back` | what a lot's credits are worth, and what of its money went back |
//! | `month_part` | what of a year's month each of the payments has paid for that the year and its changes had |
//! | `set_aside` | what is told of a payment's money that is booked nowhere |
//! | `not_granted` | what of a payment's money is in no lot, or not yet, and what has become of it |
//! | `grace` | a month that is granted before its payment |
//! | `rollover` | what of a month that is over is there for one more |
//! | `change` | what it takes to change a subscription, and what a month of it is |
//! | `waiving` | what is due for a change and is less than anybody can be asked for |
//! | `contract` | what was agreed with one customer instead of what the catalog says of a plan |
//! | `entitlements` | what an owner's plan allows |

mod account;
mod actor;
mod allowance;
mod assortment;
mod attribution;
mod booking;
mod burn;
mod catalog;
mod change;
mod changes;
mod charge;
pub mod checkpoint;
mod codec;
mod command;
mod contract;
mod decide;
mod details;
mod entitlements;
mod entry;
mod entry_body;
mod erased;
mod flaw;
mod given_back;
mod grace;
mod hold;
mod hold_audit;
mod included;
mod interval;
mod invoice;
mod limit;
mod limit_audit;
mod limiting;
mod limits;
mod lot;
mod month_part;
mod not_granted;
mod operation;
mod outcome;
mod paid_lot;
mod payment;
mod payment_method;
mod profile;
mod purchase;
mod rates;
mod refusal;
mod rollover;
mod rules;
mod sales_audit;
mod scope;
mod set_aside;
mod shape;
mod state;
mod subscription;
mod tally;
mod tax;
#[cfg(test)]
pub(crate) mod tests;
mod top_up;
mod usage;
mod usage_audit;
mod verify;
mod waiving;
mod worth;

pub use account::{Account, Balance, Expiry, LedgerHead, Period};
pub use actor::Actor;
pub use allowance::{Allowance, AllowanceAlert, PercentSet};
pub use assortment::{Assortment, FormerRates};
pub use attribution::{Attribution, AttributionError, Labels, ModelName, Note, ProjectName};
pub use catalog::{Catalog, CatalogFlaw, CatalogVersion, KeptCatalog, Pack, Plan, ProductId};
pub use change::{ChangeError, ExtraSeats, MAX_SEATS, Quote, SeatsPart, Terms};
pub use changes::Changes;
pub use charge::{Charge, Metered, Refund};
pub use codec::Unreadable;
pub use command::{CaptureCommand, ChargeCommand, Cost, GrantCommand, RefundCommand, VoidCommand};
pub use command::{Command, HoldCommand, Needs, Request, RequestKey, RequestName, Spender, ToldCall};
pub use command::{RestoreCommand, TakeBackCommand};
pub use contract::{Contract, ContractError, Feature, Features};
pub use decide::decide;
pub use details::{Details, DetailsPage, Fingerprint, NamedRequest, PAGE_ENTRIES, Salt};
pub use entitlements::Entitlements;
pub use entry::{CaptureEvent, ChargeEvent, DebtEvent, Entry, EntryKind, Event, HoldEvent};
pub use entry::{OperationId, Posting, RefundEvent};
pub use entry_body::{StoredEntry, UnreadableEntry};
pub use flaw::{Audit, BadLedger, Flaw};
pub use given_back::GivenBack;
pub use hold::{Hold, HoldState, HoldTerms};
pub use included::Included;
pub use interval::{Interval, Prepaid};
pub use invoice::{
    Bill, CreditError, DocumentId, DocumentKind, Invoice, InvoiceLine, InvoiceTax, Issuer, LineKind, MAX_LINES,
    NumberPrefix,
};
pub use limit::{Limit, LimitMode, LimitSet, LimitSubject, LimitWindow, Moment, Open, PercentError, Percents, Subject};
pub use limit_audit::LimitAudit;
pub use limits::{LimitAlert, Limits, REACH, Reached, UseKey, Used};
pub use lot::{Allocation, BurnKey, Lot, LotSource, LotTerms, Origin};
pub use month_part::MonthPart;
pub use not_granted::{Kept, NotGranted, Share};
pub use operation::OperationKey;
pub use outcome::{Charged, Erased, Granted, Held, Outcome, Refunded, Released, Restored, TakenAway, Voided};
pub use paid_lot::{PaidLot, Station};
pub use payment::{Bought, Dispute, Moved, News, Payment, PaymentState, Purpose, TakenBack};
pub use payment_method::{Card, SavedMethod};
pub use profile::{AccountSettings, AlertPercents, BillingProfile, SettingsChange, is_supported};
pub use purchase::{Purchase, PurchaseState, Receipt};
pub use rates::{
    Component, MAX_METERS, MAX_RATES, MeterName, MeterPrice, MeterUse, ModelPrice, Priced, Rate, RateCard, RateError,
};
pub use refusal::{Inconsistent, Refusal};
pub use rollover::{MOST_ROLLED, rolled_over};
pub use rules::{Rules, Spending};
pub use sales_audit::SalesAudit;
pub use scope::{Scope, ScopeError};
pub use set_aside::{SetAside, Whereabouts};
pub use state::AccountState;
pub use subscription::{Month, Subscription, SubscriptionState};
pub use tally::{Asked, Tally};
pub use tax::{Country, Percent, TaxFlaw, TaxProvider, TaxRate};
pub use top_up::{AutoTopUp, MOST_DECLINES, Stop, TopUpSituation, TopUpStep, next_slot};
pub use usage::{MeterDelta, MeterKey, MeterTotals, Total, UsageDelta, UsageKey, UsageTotals};
pub use usage_audit::UsageAudit;
pub use verify::Verifier;
pub use worth::{Parts, Worth};
