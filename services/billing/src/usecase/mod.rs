//! What billing does: authorise, load, decide (in the domain), write, publish.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod credits;
pub(crate) mod orders;
pub(crate) mod present;
pub(crate) mod purchases;
pub(crate) mod renewals;
pub(crate) mod reports;
#[cfg(test)]
mod shop;
pub(crate) mod subscriptions;
pub(crate) mod sweep;
