//! Identity over its real gRPC stack in this process, on both engines, with a small fake of organization.

mod at_rest;
mod contexts;
mod events;
mod keys;
mod organization;
mod passwords;
mod refreshing;
mod service_accounts;
mod sessions;
mod users;
mod verifying;
mod world;
