//! Leaving, against everything that gives somebody a place, and creating, against creating from the same plan: the three
//! services as they are, over gRPC, and whatever can come between them as racers.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod creations;
mod matrix;
#[path = "../support/waiting.rs"]
mod waiting;
mod world;
