//! What a refused call says, for comparing in tests.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A gRPC status with its details taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// The stable reason of the `ErrorInfo`; empty without one.
    pub reason: String,
    /// The metadata of the `ErrorInfo`.
    pub metadata: BTreeMap<String, String>,
    /// The fields of the `BadRequest`, sorted.
    pub fields: Vec<String>,
    /// The message for people.
    pub message: String,
    /// Whether a `RetryInfo` says when to try again.
    pub retryable: bool,
}

impl Refusal {
    /// Takes a status apart.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let mut fields: Vec<String> = violations.iter().map(|violation| violation.field.clone()).collect();
        fields.sort();
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
            fields,
            message: status.message().to_owned(),
            retryable: details.retry_info().is_some(),
        }
    }
}

/// The refusal of a call that must be refused with this code and reason.
///
/// # Panics
/// When it was not refused, or otherwise; also when the refusal is not Bursar's own or its message lets out SQL.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, reason: &str) -> Refusal {
    let status = match outcome {
        Ok(answer) => panic!("must be refused with {code:?} {reason}, was answered {answer:?}"),
        Err(status) => status,
    };
    let refusal = Refusal::of(&status);
    assert!(refusal.code == code && refusal.reason == reason, "must be {code:?} {reason}, is {refusal:#?}");
    let domain = status.get_details_error_info().map(|info| info.domain);
    assert!(domain.is_none_or(|domain| domain == "bursar"), "a reason of somebody else: {refusal:#?}");
    let message = refusal.message.to_lowercase();
    for leak in ["select ", "insert into", "sqlx", "sqlite", "panicked"] {
        assert!(!message.contains(leak), "the message lets out `{leak}`: {refusal:#?}");
    }
    refusal
}
