//! A handler that panics answers INTERNAL; the server and every other call live on.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tonic::Status;

use crate::Problem;

/// Runs a call; a panic becomes `INTERNAL`, its text goes to the log only.
pub(super) async fn contained<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    // What a panicking handler held is dropped: transactions roll back, and locks of ours do not poison.
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|panic| Err(status(&*panic)))
}

/// The answer to a panic.
pub(super) fn status(panic: &(dyn Any + Send)) -> Status {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a text)");
    Problem::internal(&format_args!("a handler panicked: {text}")).into()
}
