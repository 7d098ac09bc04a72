//! Identity over its real gRPC stack in this process, on both engines, with small fakes of organization and billing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod acting;
mod alerting;
mod at_rest;
mod attempts;
mod audit_rows;
mod auditing;
mod billing;
mod branches;
mod clocks;
mod contexts;
mod departing;
mod events;
mod full_disks;
mod hearing;
mod invoicing;
mod keys;
mod listing;
mod neighbours;
mod organization;
mod passwords;
mod proving;
mod refreshing;
mod refusals;
mod second_factor;
mod service_accounts;
mod sessions;
mod sites;
mod staleness;
mod suspending;
mod top_ups;
mod users;
mod vanishing;
mod verifying;
mod world;
