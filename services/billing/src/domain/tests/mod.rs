//! Tests of the credit engine: tables of cases, a naive model, and an audit that must notice
//! everything.
//!
//! | file | shows |
//! |---|---|
//! | `world` | an account with its store, driven by typed commands |
//! | `script` | tables of cases: one line a command, the last column its answer |
//! | `charging`, `holding`, `refunding`, `granting`, `retrying`, `reporting` | those tables, rule by rule |
//! | `periods` | what is spent in a period, against a naive calendar |
//! | `matrix` | who may do what to what somebody else placed |
//! | `model`, `people` | a second engine, as naive as can be: one object for every single credit |
//! | `words` | questions and answers that both engines understand |
//! | `steps`, `pair`, `random` | random programs: the engine and the model agree on everything |
//! | `auditing`, `forging`, `erasing` | the verifier accepts every ledger and catches every change to one |
//! | `fuzzing` | stored bytes with edits: no panic, one spelling |
//! | `encoding` | stored forms: everything survives, in one spelling |
//! | `golden`, `golden_made` | a ledger of the first released version, read and verified for ever |
//! | `selling`, `assorting` | the catalog's rules, and what an edit leaves to those who have something of it |
//! | `paying`, `owing` | payments' news, and what is owed when they are taken back |
//! | `pricing` | what work costs, against a naive rate card |
//! | `limiting`, `limiting_alerts`, `limiting_periods`, `limiting_model` | limits: what counts where, against a naive list of everything that was spent |
//! | `scoping` | what a lot may pay for |
//! | `topping` | when an account falls below what its top-up wants |
//! | `alerting` | when use of an allowance reaches what its managers want to be told of, against a naive sum of the lots |

mod alerting;
mod assorting;
mod auditing;
mod charging;
mod encoding;
mod erasing;
mod forging;
mod fuzzing;
pub(crate) mod golden;
mod golden_made;
mod granting;
mod holding;
mod limiting;
mod limiting_alerts;
mod limiting_model;
mod limiting_periods;
mod matrix;
mod model;
mod owing;
mod pair;
mod paying;
mod people;
mod periods;
mod pricing;
mod random;
mod refunding;
mod reporting;
mod retrying;
mod scoping;
mod script;
mod selling;
mod set_aside;
mod steps;
mod topping;
mod words;
mod world;

pub(in crate::domain) use selling::begun;
