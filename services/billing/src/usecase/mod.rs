//! What billing does: authorise, load, decide (in the domain), write, publish.

pub(crate) mod access;
pub(crate) mod accounts;
mod agreements;
mod allowances;
mod asking;
pub(crate) mod audit;
mod bills;
pub(crate) mod boundary;
pub(crate) mod canceling;
pub(crate) mod cashier;
pub(crate) mod catalogs;
pub(crate) mod changing;
pub mod checkpoints;
pub(crate) mod contracts;
pub(crate) mod costly;
pub(crate) mod credits;
pub(crate) mod dues;
pub(crate) mod entries;
pub(crate) mod erasures;
pub(crate) mod farewells;
pub mod finance;
pub(crate) mod fulfilment;
mod grace;
pub mod inbox;
pub mod inspection;
pub(crate) mod invoices;
pub(crate) mod keeping;
pub(crate) mod limits;
pub(crate) mod moving;
pub(crate) mod orders;
mod overdue;
pub(crate) mod ownership;
pub(crate) mod payments;
pub(crate) mod policies;
pub(crate) mod present;
pub(crate) mod purchases;
pub(crate) mod purges;
pub(crate) mod refunds;
pub(crate) mod reloading;
pub(crate) mod removals;
pub(crate) mod renewals;
pub(crate) mod reports;
mod rollovers;
pub(crate) mod rollups;
pub(crate) mod settings;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod shop;
pub(crate) mod standings;
pub(crate) mod subjects;
pub(crate) mod subscriptions;
pub(crate) mod sweep;
pub(crate) mod top_ups;
mod unanswered;
pub(crate) mod viewing;
pub(crate) mod walk;
mod years;

#[cfg(test)]
mod hearing;
