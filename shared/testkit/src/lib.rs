//! What Bursar's tests stand on. A dev-dependency only; it knows no service's crate.
//!
//! - [`engines!`] runs one test body on both databases, named `sqlite::…` and `postgres::…`; [`on_each_engine`] gives both to one.
//! - [`fuzz_consumer`] tells a service whatever there is.
//! - [`postgres`] starts a private PostgreSQL for the test process, [`sqlite`] a file of the test's own.
//! - [`id`], [`at`], [`credits`], [`clock`] spell values.
//! - [`Issuer`] signs tokens that a service under test believes; [`refused`] looks at refusals.
//! - [`Hush`] lets a service's events fall silent.
//! - [`audited`] reads a store's audit log, [`auditing`] what a call adds to it, [`happened`] how often a call is there,
//!   [`answers_with`] what the store keeps for repetitions, [`columns_with`] everything.
//! - [`Client`] calls services, in this process or elsewhere; [`Person`] signs up and in as people do.
//! - [`Proxy`] stands before PostgreSQL and has its host vanish.
//! - [`SmallDisk`] can be full, and so can a SQLite store ([`sqlite::limit_pages`]): [`fills_up`] has it be so under a service,
//!   and [`fills_up_on`] a PostgreSQL store whose tables are on one.
//! - [`clocks`] are wrong.
//! - [`goes_by`] has a crowd of one caller's calls beside a neighbour's.
//! - [`in_steps`] passes time that a test has stopped, beside real sockets.
//! - [`until`] waits for what background work makes true; [`rpcs`] are those of a service.
//! - [`stripe`] is a payment provider, [`fonts_of_the_image`] a folder of fonts.
//! - [`told`] has an event of each type, [`invoice()`] is a document.
//! - [`png_that_says`] makes pictures that lie about their size.
//! - [`plans`] are how engines go about a store's statements, and [`statements!`] lists these.
//! - [`Bucket`]s of every cloud keep content, and can be away.
//! - [`Authority`] vouches for certificates.
//! - [`Plan`] starts Bursar's programs, in one process or three, and gives a [`Deployment`] with its [`Mailbox`].
//!
//! Nothing here is for production code: the helpers panic with a sentence that says what broke, because a test that
//! cannot be set up has failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests fails by panicking, as the tests do"
)]

mod answers;
mod audit;
mod buckets;
mod certificates;
mod client;
pub mod clocks;
mod columns;
mod crowd;
mod deployment;
mod engines;
mod fonts;
mod full_store;
mod hearing;
mod hush;
mod invoice;
mod issuer;
mod mailbox;
mod person;
mod pictures;
pub mod plans;
mod ports;
pub mod postgres;
mod process;
mod proxy;
mod reaper;
mod refusal;
mod rounds;
mod rpcs;
mod small_disk;
pub mod sqlite;
mod steps;
pub mod stripe;
pub mod told;
mod until;
mod values;
mod vanishing;

pub use answers::answers_with;
pub use audit::{audited, auditing, happened};
pub use buckets::{Bucket, Mood, service_account_key};
pub use bursar_db::Engine;
pub use certificates::{Authority, Certificate};
pub use client::{Channel, Client, Credentials, client};
pub use columns::columns_with;
pub use crowd::goes_by;
pub use deployment::{Deployment, Plan, Topology};
pub use engines::{Outcome, TestDb, on_each_engine};
pub use fonts::fonts_of_the_image;
pub use full_store::{fills_up, fills_up_on, incompressible};
pub use hearing::fuzz_consumer;
pub use hush::Hush;
pub use invoice::invoice;
pub use issuer::{Issuer, UserToken};
pub use mailbox::{Mailbox, Message};
pub use person::{PASSWORD, Person};
pub use pictures::png_that_says;
pub use ports::Ports;
pub use process::{Operator, Process, Program, get};
pub use proxy::{Proxy, Vanish};
pub use refusal::{Refusal, refused};
pub use rounds::{each_life, lives, rounds};
pub use rpcs::rpcs;
pub use small_disk::SmallDisk;
pub use steps::{STEP, Steps, in_steps};
pub use until::until;
pub use values::{START, at, clock, credits, id, organization, personal};
pub use vanishing::{Asking, at_every_step};
