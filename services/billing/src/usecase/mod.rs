//! What billing does: authorise, load, decide (in the domain), write, publish.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod boundary;
pub(crate) mod catalogs;
pub mod checkpoints;
pub(crate) mod costly;
pub(crate) mod credits;
pub(crate) mod entries;
pub(crate) mod erasures;
pub(crate) mod farewells;
pub mod inspection;
pub(crate) mod moving;
pub(crate) mod orders;
pub(crate) mod policies;
pub(crate) mod present;
pub(crate) mod purchases;
pub(crate) mod purges;
pub(crate) mod renewals;
pub(crate) mod reports;
pub(crate) mod rollups;
#[cfg(test)]
mod shop;
pub(crate) mod standings;
pub(crate) mod subscriptions;
pub(crate) mod sweep;
