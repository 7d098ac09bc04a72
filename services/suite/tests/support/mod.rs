//! What the tests of whole deployments share: who acts in them ([`world`]), what they spend ([`spend`]), how the books are
//! audited ([`books`]) and the stores compared ([`stores`]).
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

pub(crate) mod books;
pub(crate) mod clocks;
pub(crate) mod programs;
pub(crate) mod stores;
pub(crate) mod waiting;
pub(crate) mod world;

use bursar_proto::billing::v1::ChargeRequest;
use tonic::{Response, Status};

/// A charge of an amount, not named by any request id.
pub(crate) fn spend(owner: &str, amount: &str) -> ChargeRequest {
    ChargeRequest { owner: owner.to_owned(), amount: amount.to_owned(), ..ChargeRequest::default() }
}

/// The same charge under a request id.
pub(crate) fn once(request_id: &str, charge: ChargeRequest) -> ChargeRequest {
    ChargeRequest { request_id: request_id.to_owned(), ..charge }
}

/// The answer of a call that must succeed.
#[track_caller]
pub(crate) fn given<T>(outcome: Result<Response<T>, Status>) -> T {
    match outcome {
        Ok(response) => response.into_inner(),
        Err(status) => panic!("must be answered, was refused: {:#?}", bursar_testkit::Refusal::of(&status)),
    }
}
