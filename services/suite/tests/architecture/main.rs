//! The rules of the house, proved from `cargo metadata` and the sources so that they stay true: who may depend on whom,
//! where SQL may stand, what the domain may know, how large a file may grow.
//!
//! A failure lists every breach as `path:line: what is wrong`. Change the code, or, when the house itself is to change,
//! the rule here together with the README's code map.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of a test fail by panicking")]

mod askers;
mod crates;
mod kept;
mod layers;
mod sources;
mod sql;
mod text;
