//! Events from commit to effect, on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod aside;
mod following;
mod migrating;
mod upgrading;
mod watching;
mod world;
