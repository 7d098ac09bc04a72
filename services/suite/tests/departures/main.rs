//! Leaving, against everything that gives somebody a place: identity and organization as they are, over gRPC, and whatever
//! can come between them as racers.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod matrix;
#[path = "../support/waiting.rs"]
mod waiting;
mod world;
