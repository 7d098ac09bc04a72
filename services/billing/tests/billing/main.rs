//! Billing over its real stack, in this process, on both engines: every RPC for what it does and for each of
//! its refusals, races, tampering, and what it costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod actors;
mod auditing;
mod bad_input;
mod balances;
mod batches;
mod boundaries;
mod calls;
mod canceling;
mod charging;
mod checkpoints;
mod clocks;
mod costs;
mod erasing;
mod fakes;
mod finance;
mod full_disks;
mod granting;
mod holding;
mod invoices;
mod lanes;
mod ledgers;
mod limit_races;
mod limiting;
mod members;
mod metering;
mod moving;
mod moving_lives;
mod paying;
mod policies;
mod purging;
mod races;
mod refunding;
mod refusals;
mod replaying;
mod replicas;
mod reporting;
mod roles;
mod scoping;
mod second_factor;
mod selling;
mod settings;
mod settling;
mod sizes;
mod staleness;
mod standings;
mod tampering;
mod telling;
mod usage;
mod vanishing;
mod words;
mod world;
mod year;
