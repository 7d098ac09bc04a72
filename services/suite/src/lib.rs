//! The all-in-one program `bursar`. It wires: it starts the three services in one process, lets them
//! reach one another without a network, and says what is running. What a service does is its own crate's.

mod bench;
mod cli;
mod demo;
mod fsck;
mod greeting;
mod mailbox;
mod target;
mod waiting;
pub mod wiring;

pub use cli::run;
