//! Identity's rules as pure functions: no async, no SQL, no tonic, no clock, no randomness.

pub mod display_name;
pub mod keys;
pub mod password;
pub mod service_account;
pub mod session;
pub mod throttle;

use bursar_time::Span;

/// How far ahead of this replica's the clock may have been that wrote an instant. One that was further ahead was wrong, and
/// would have held for as long.
pub const CLOCKS_APART: Span = Span::MINUTE;
