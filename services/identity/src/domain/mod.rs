//! Identity's rules as pure functions: no async, no SQL, no tonic, no clock, no randomness.

pub mod display_name;
pub mod keys;
pub mod password;
pub mod service_account;
pub mod session;
pub mod throttle;
