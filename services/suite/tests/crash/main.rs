//! Crashes: killed without a warning at a random moment, with 64 callers charging one pool, a service that comes
//! back has every acknowledged charge exactly once, and whoever got no answer finds out by asking again. So it is while
//! organizations begin ([`creations`]) and end ([`purges`]), while what was deleted is erased ([`erasures`]), and while content and
//! archives are on their way ([`contents`], [`exports`]).
//!
//! `BURSAR_CRASH_ROUNDS` says how often each engine is killed (default 50).
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod callers;
mod contents;
mod creations;
mod erasures;
mod exports;
mod kills;
mod purges;
mod replicas;
#[path = "../support/mod.rs"]
mod support;
