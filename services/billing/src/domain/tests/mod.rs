//! Tests of the credit engine: tables of cases, a naive model, and an audit that must notice
//! everything.
//!
//! | file | shows |
//! |---|---|
//! | `world` | an account with its store, driven by typed commands |
//! | `script` | tables of cases: one line a command, the last column its answer |
//! | `charging`, `holding`, `refunding`, `granting`, `retrying`, `reporting` | those tables, rule by rule |
//! | `model` | a second engine, as naive as can be: one object for every single credit |
//! | `words` | questions and answers that both engines understand |
//! | `random` | random command sequences: the engine and the model agree on everything |
//! | `auditing`, `forging` | the verifier accepts every ledger and catches every change to one |
//! | `selling` | catalog and rate card |

mod auditing;
mod charging;
mod forging;
mod granting;
mod holding;
mod model;
mod random;
mod refunding;
mod reporting;
mod retrying;
mod script;
mod selling;
mod words;
mod world;
