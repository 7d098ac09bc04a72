//! Jobs and the transactions they belong to, workers that race, die and fail, and clocks that leap: on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod dying;
mod failing;
mod periodic;
mod queueing;
mod world;
