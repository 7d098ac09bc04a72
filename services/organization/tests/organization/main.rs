//! The organization service over its real stack, in this process, on both engines: every RPC for what it
//! does and for each of its refusals, races, and what the schema itself guarantees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod across;
mod alerting;
mod audit_listing;
mod audit_of_items;
mod audit_rows;
mod auditing;
mod avatars;
mod billing;
mod bucket;
mod bucketing;
mod clocks;
mod closed;
mod consuming;
mod content_races;
mod contents;
mod copying;
mod deleting;
mod departing;
mod documents;
mod ending;
mod entitling;
mod erasing;
mod exporting;
mod former_slugs;
mod founding;
mod full_disks;
mod invitation_races;
mod inviters;
mod inviting;
mod invoicing;
mod joining;
mod library;
mod long_reads;
mod members;
mod operating;
mod organizations;
mod origins;
mod ownerless;
mod owning;
mod policies;
mod preferences;
mod products;
mod projects;
mod purging;
mod races;
mod refusals;
mod schema;
mod seating;
mod second_factor;
mod templates;
mod usage;
mod vanishing;
mod world;
