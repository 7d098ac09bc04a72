//! Billing over its real stack, in this process, on both engines: every RPC for what it does and for each of
//! its refusals, races, tampering, and what it costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod actors;
mod auditing;
mod bad_input;
mod balances;
mod batches;
mod calls;
mod charging;
mod checkpoints;
mod clocks;
mod costs;
mod erasing;
mod fakes;
mod granting;
mod holding;
mod lanes;
mod ledgers;
mod members;
mod metering;
mod moving;
mod moving_lives;
mod policies;
mod purging;
mod races;
mod refunding;
mod refusals;
mod replaying;
mod replicas;
mod roles;
mod scoping;
mod second_factor;
mod selling;
mod settling;
mod sizes;
mod staleness;
mod standings;
mod tampering;
mod usage;
mod vanishing;
mod words;
mod world;
