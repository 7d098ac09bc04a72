//! What the tests of whole deployments share: who acts in them ([`World`]), what they spend ([`spend`]) and
//! how the books are audited ([`books`]).
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

pub(crate) mod books;
pub(crate) mod programs;
pub(crate) mod world;

use std::time::{Duration, Instant};

use bursar_proto::billing::v1::ChargeRequest;
use tonic::{Response, Status};

#[allow(unused_imports, reason = "each test program uses its own part")]
pub(crate) use books::Books;
#[allow(unused_imports, reason = "each test program uses its own part")]
pub(crate) use world::{Team, World};

/// How long anything may take that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see.
///
/// # Panics
/// When `patience` ends first, saying what did not happen.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let what = what.to_owned();
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(begin.elapsed() < patience, "{caller}: within {patience:?} it did not happen that {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

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
