//! What Bursar's tests stand on. A dev-dependency only; it knows no service.
//!
//! - [`engines!`] runs one test body on both databases, named `sqlite::…` and `postgres::…`.
//! - [`postgres`] starts a private PostgreSQL for the test process, [`sqlite`] a file of the test's own.
//!
//! Nothing here is for production code: the helpers panic with a sentence that says what broke, because a test that
//! cannot be set up has failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests fails by panicking, as the tests do"
)]

mod engines;
pub mod postgres;
pub mod sqlite;

pub use engines::{Engine, Outcome, TestDb};
