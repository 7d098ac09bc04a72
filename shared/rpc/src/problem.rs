//! [`Problem`]: a refusal as the caller sees it, and the one place where it becomes a gRPC status.
//!
//! A status carries a code, a sentence, and always a `google.rpc.ErrorInfo` (a stable reason in the
//! domain [`DOMAIN`]); where they apply also `BadRequest`, `PreconditionFailure` and `RetryInfo`. What
//! went wrong inside (SQL, paths, causes) is logged and never put into a message.
//!
//! A status travels in HTTP/2 headers, of which a peer takes 8 KiB or so: whatever was sent, of many bad fields the first
//! ones and their number are told, and no text is repeated at length.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bursar_db::DbError;
use bursar_time::Doubt;
use tonic::{Code, Status};
use tonic_types::{
    BadRequest, ErrorDetail, ErrorInfo, FieldViolation, PreconditionFailure, PreconditionViolation, RetryInfo,
    StatusExt,
};

/// The domain of every `ErrorInfo` that Bursar makes.
pub const DOMAIN: &str = "bursar";

/// Of many bad fields so many are told.
pub const FIELDS_TOLD: usize = 8;
/// The most preconditions that are told.
const PRECONDITIONS_TOLD: usize = 20;
/// The most bytes of a field's name.
const FIELD_MAX: usize = 80;
/// The most bytes of what is wrong with one, or of a precondition.
const DESCRIPTION_MAX: usize = 160;
/// The most bytes of the sentence. They may take three times as many in a header; eight usual violations fit.
const MESSAGE_MAX: usize = 1_200;
/// The most bytes of a fact.
const METADATA_MAX: usize = 1_000;

/// A text of at most so many bytes; a longer one ends in `…`.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// The reasons that the shared layers give; a service adds its own beside its errors.
pub mod reason {
    /// `INVALID_ARGUMENT`: one or more fields are wrong; `BadRequest` names each, or the first few of many (metadata
    /// `violations` says how many there are).
    pub const INVALID_FIELDS: &str = "INVALID_FIELDS";
    /// `INVALID_ARGUMENT`: the bytes of the request are no message of the RPC (garbled, cut off, text that is not UTF-8).
    pub const MESSAGE_MALFORMED: &str = "MESSAGE_MALFORMED";
    /// `INVALID_ARGUMENT`: the request is larger than a message may be, on the wire or once it is read; metadata `limit_bytes`.
    pub const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
    /// `RESOURCE_EXHAUSTED`: the answer would be larger than a message may be; metadata `limit_bytes`.
    pub const ANSWER_TOO_LARGE: &str = "ANSWER_TOO_LARGE";
    /// `INVALID_ARGUMENT`: a page token that no list of these arguments gave.
    pub const PAGE_TOKEN_INVALID: &str = "PAGE_TOKEN_INVALID";
    /// UNAUTHENTICATED: there is no bearer token.
    pub const TOKEN_MISSING: &str = "TOKEN_MISSING";
    /// UNAUTHENTICATED: the token is garbled, forged or from elsewhere.
    pub const TOKEN_INVALID: &str = "TOKEN_INVALID";
    /// UNAUTHENTICATED: the token was good once; get a new one.
    pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";
    /// UNAVAILABLE: the keys that verify tokens cannot be fetched at the moment.
    pub const KEYS_UNAVAILABLE: &str = "KEYS_UNAVAILABLE";
    /// `PERMISSION_DENIED`: the RPC declares no access rule, so nobody may call it.
    pub const RPC_WITHOUT_RULE: &str = "RPC_WITHOUT_RULE";
    /// `PERMISSION_DENIED`: the RPC is not for callers of this kind (a user, a service).
    pub const CALLER_NOT_ALLOWED: &str = "CALLER_NOT_ALLOWED";
    /// `PERMISSION_DENIED`: the RPC names service roles and the caller's is not among them.
    pub const SERVICE_ROLE_NOT_ALLOWED: &str = "SERVICE_ROLE_NOT_ALLOWED";
    /// `PERMISSION_DENIED`, in every service: the caller's role does not allow what was asked. The audit log hears of that wherever
    /// it is said: also by an RPC that every member may call, which is for few as it was asked.
    pub const ROLE_NOT_ALLOWED: &str = "ROLE_NOT_ALLOWED";
    /// `PERMISSION_DENIED`: the token is an API key's, and the key was not given what the RPC demands.
    pub const KEY_NOT_ALLOWED: &str = "KEY_NOT_ALLOWED";
    /// `PERMISSION_DENIED`: an operator has suspended the user.
    pub const USER_SUSPENDED: &str = "USER_SUSPENDED";
    /// `PERMISSION_DENIED`: an operator who acts on a user's behalf may not do this.
    pub const ACTING_NOT_ALLOWED: &str = "ACTING_NOT_ALLOWED";
    /// `FAILED_PRECONDITION`: the user must prove again who it is, by signing in.
    pub const REAUTHENTICATION_REQUIRED: &str = "REAUTHENTICATION_REQUIRED";
    /// `NOT_FOUND`: no such thing, or none that the caller may know of.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// `ALREADY_EXISTS`: the request id was used for another request.
    pub const REQUEST_ID_REUSED: &str = "REQUEST_ID_REUSED";
    /// ABORTED: somebody else changed the same thing at the same time; try again.
    pub const CONFLICTING_CHANGE: &str = "CONFLICTING_CHANGE";
    /// `RESOURCE_EXHAUSTED`: the server has as many calls in work as it takes; try again later.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// UNAVAILABLE: the database cannot be reached at the moment.
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
    /// UNAVAILABLE: the database is there, but what the call asked of it took longer than it may and was ended; nothing was
    /// written. The same call may succeed when there is less to do.
    pub const STATEMENT_TIMED_OUT: &str = "STATEMENT_TIMED_OUT";
    /// UNAVAILABLE: this replica's clock is wrong, so it decides nothing; another replica may.
    pub const CLOCK_DIFFERS: &str = "CLOCK_DIFFERS";
    /// UNAVAILABLE: a service that this one needs cannot be reached at the moment.
    pub const PEER_UNAVAILABLE: &str = "PEER_UNAVAILABLE";
    /// UNAVAILABLE: a stream that asks for no account (a watch of health, reflection) has been open, or without a request, for as
    /// long as it may be; open another.
    pub const STREAM_OVER: &str = "STREAM_OVER";
    /// `DEADLINE_EXCEEDED`: the time given to the call is over.
    pub const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
    /// UNIMPLEMENTED: there is no such RPC on this port.
    pub const NO_SUCH_RPC: &str = "NO_SUCH_RPC";
    /// UNIMPLEMENTED: the request is compressed, and no compression is spoken here.
    pub const COMPRESSION_UNSUPPORTED: &str = "COMPRESSION_UNSUPPORTED";
    /// INTERNAL: a fault of the server's own; its log has the cause.
    pub const INTERNAL: &str = "INTERNAL";
}

/// A refusal: code, reason, sentence and details. Build one with a constructor, add to it with the
/// `with_…` methods, and turn it into a [`Status`] with `From`.
#[derive(Clone)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<(String, String)>,
    preconditions: Vec<(String, String, String)>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem of any code; `reason` is stable `UPPER_SNAKE`, `message` a sentence for people.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason,
            message: message.into(),
            metadata: Vec::new(),
            fields: Vec::new(),
            preconditions: Vec::new(),
            retry_after: None,
        }))
    }

    /// `INVALID_ARGUMENT` with the bad fields and what is wrong with each: the first [`FIELDS_TOLD`] and how many.
    pub fn invalid<F: Into<String>, D: Into<String>>(fields: impl IntoIterator<Item = (F, D)>) -> Self {
        let mut fields = fields.into_iter();
        let told: Vec<_> = fields.by_ref().take(FIELDS_TOLD).map(|(f, d)| (f.into(), d.into())).collect();
        let count = told.len() + fields.count();
        Self::invalid_of(told, count)
    }

    /// The same of `count` bad fields, the first of which are told.
    pub(crate) fn invalid_of(told: Vec<(String, String)>, count: usize) -> Self {
        let mut problem = Self::new(Code::InvalidArgument, reason::INVALID_FIELDS, String::new());
        let cut = |(field, description)| (cut(field, FIELD_MAX), cut(description, DESCRIPTION_MAX));
        problem.0.fields = told.into_iter().map(cut).collect();
        let sentences: Vec<String> = problem.0.fields.iter().map(|(f, d)| format!("{f}: {d}")).collect();
        problem.0.message = sentences.join("; ");
        if count > problem.0.fields.len() {
            problem.0.message = format!("{count} fields are wrong, the first are {}", problem.0.message);
            problem = problem.with_metadata("violations", count.to_string());
        }
        problem
    }

    /// `INVALID_ARGUMENT` for one field.
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid([(field, description)])
    }

    /// `NOT_FOUND`; `kind` is the name of the sort of thing, such as `charge`. What exists in somebody
    /// else's context answers exactly this, too.
    pub fn not_found(kind: &str) -> Self {
        Self::new(Code::NotFound, reason::NOT_FOUND, format!("no such {kind}")).with_metadata("kind", kind)
    }

    /// `PERMISSION_DENIED`.
    pub fn permission_denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, reason, message)
    }

    /// `UNAUTHENTICATED`.
    pub fn unauthenticated(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, reason, message)
    }

    /// `ABORTED`: read again and try once more.
    pub fn aborted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Aborted, reason, message)
    }

    /// `ALREADY_EXISTS`.
    pub fn already_exists(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, reason, message)
    }

    /// `ALREADY_EXISTS` with reason `REQUEST_ID_REUSED`: one `request_id`, two different requests.
    pub fn request_id_reused() -> Self {
        Self::already_exists(
            reason::REQUEST_ID_REUSED,
            "this request_id was already used for another request; choose a new one",
        )
    }

    /// `FAILED_PRECONDITION`: not as things stand.
    pub fn failed_precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// `RESOURCE_EXHAUSTED`: a limit is reached.
    pub fn exhausted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::ResourceExhausted, reason, message)
    }

    /// `UNAVAILABLE`: the same call may succeed a little later; carries a `RetryInfo` of one second.
    pub fn unavailable(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, reason, message).with_retry_after(Duration::from_secs(1))
    }

    /// `DEADLINE_EXCEEDED`: the time given to the call is over; whether it took effect is unknown.
    pub fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, "the deadline passed before the call was done")
    }

    /// `INTERNAL`. Logs the cause here, once; the caller reads only "internal error".
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::new(Code::Internal, reason::INTERNAL, "internal error")
    }

    /// Adds a fact to the `ErrorInfo`, such as `available` = `12.5`. Never a secret.
    #[must_use]
    pub fn with_metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.push((key, value.into()));
        self
    }

    /// Adds a violation to the `PreconditionFailure`: its type, its subject, and a sentence.
    #[must_use]
    pub fn with_precondition(
        mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.0.preconditions.push((kind.into(), subject.into(), description.into()));
        self
    }

    /// Says when to try again (`RetryInfo`).
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Replaces the reason; for an `INVALID_ARGUMENT` that callers branch on.
    #[must_use]
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.0.reason = reason;
        self
    }

    /// Whether somebody was refused something; otherwise a server failed, and the same call may succeed later.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self.code(),
            Code::Internal | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        ) && !matches!(self.reason(), reason::CONFLICTING_CHANGE | reason::OVERLOADED)
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable reason.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The bad fields with what is wrong with each, in the order in which they were found.
    pub fn fields(&self) -> &[(String, String)] {
        &self.0.fields
    }

    /// The facts of the `ErrorInfo`.
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.0.metadata
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason, self.0.message)
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let inner = *problem.0;
        let metadata: HashMap<String, String> =
            inner.metadata.into_iter().map(|(k, v)| (k.to_owned(), cut(v, METADATA_MAX))).collect();
        let mut details: Vec<ErrorDetail> = vec![ErrorInfo::new(inner.reason, DOMAIN, metadata).into()];
        if !inner.fields.is_empty() {
            let violations: Vec<FieldViolation> =
                inner.fields.into_iter().map(|(f, d)| FieldViolation::new(f, d)).collect();
            details.push(BadRequest::new(violations).into());
        }
        if !inner.preconditions.is_empty() {
            let violations: Vec<PreconditionViolation> = inner
                .preconditions
                .into_iter()
                .take(PRECONDITIONS_TOLD)
                .map(|(kind, subject, text)| {
                    PreconditionViolation::new(kind, cut(subject, FIELD_MAX), cut(text, DESCRIPTION_MAX))
                })
                .collect();
            details.push(PreconditionFailure::new(violations).into());
        }
        if let Some(delay) = inner.retry_after {
            details.push(RetryInfo::new(Some(delay)).into());
        }
        Self::with_error_details_vec(inner.code, cut(inner.message, MESSAGE_MAX), details)
    }
}

/// By how much the clock is wrong is for the operator: `/readyz` and the log say it.
impl From<Doubt> for Problem {
    fn from(_: Doubt) -> Self {
        Self::unavailable(reason::CLOCK_DIFFERS, "this replica's clock is wrong, so it decides nothing; try again")
    }
}

/// A store that is away or busy can be retried; anything else is a fault of ours.
impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) => {
                Self::unavailable(reason::STORE_UNAVAILABLE, "the store cannot be reached at the moment; try again")
            }
            DbError::TimedOut => Self::unavailable(
                reason::STATEMENT_TIMED_OUT,
                "this took the store longer than it may and was ended, with nothing written; try again",
            ),
            DbError::Clock(doubt) => doubt.into(),
            DbError::Serialization | DbError::Locked => Self::aborted(
                reason::CONFLICTING_CHANGE,
                "somebody else changed the same thing at the same time; try again",
            )
            .with_retry_after(Duration::from_millis(50)),
            other => Self::internal(&other),
        }
    }
}

/// The stable reason in a status, whoever made it: what callers (and logs) branch on.
pub fn reason_of(status: &Status) -> Option<String> {
    if status.details().is_empty() {
        return None;
    }
    status.get_details_error_info().map(|info| info.reason)
}

/// A fact that a status tells in its metadata, whoever made it.
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    if status.details().is_empty() {
        return None;
    }
    status.get_details_error_info()?.metadata.remove(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_decodes_with_tonic_types() {
        let status = Status::from(
            Problem::failed_precondition("INSUFFICIENT_CREDITS", "not enough credits")
                .with_metadata("available", "1.5")
                .with_metadata("required", "2")
                .with_precondition("CREDITS", "usr_1", "has 1.5, needs 2")
                .with_retry_after(Duration::from_secs(3)),
        );
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "not enough credits");
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INSUFFICIENT_CREDITS", DOMAIN));
        assert_eq!(info.metadata["available"], "1.5");
        assert_eq!(info.metadata["required"], "2");
        let failure = details.precondition_failure().expect("PreconditionFailure");
        assert_eq!(failure.violations[0].r#type, "CREDITS");
        assert_eq!(failure.violations[0].subject, "usr_1");
        let retry = details.retry_info().expect("RetryInfo");
        assert_eq!(retry.retry_delay, Some(Duration::from_secs(3)));
        assert!(details.bad_request().is_none(), "no field was bad");
    }

    #[test]
    fn each_bad_field_is_named() {
        let status = Status::from(Problem::invalid([("name", "is empty"), ("slug", "is taken")]));
        assert_eq!(status.code(), Code::InvalidArgument);
        let bad = status.get_details_bad_request().expect("BadRequest");
        let fields: Vec<_> = bad.field_violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
        assert_eq!(fields, [("name", "is empty"), ("slug", "is taken")]);
        assert_eq!(status.message(), "name: is empty; slug: is taken");
        assert_eq!(reason_of(&status).as_deref(), Some(reason::INVALID_FIELDS));
    }

    #[test]
    fn a_status_always_fits_into_a_header_list() {
        let long = |n: usize| (format!("{n}{}", "é".repeat(9_000)), "\u{1f600}".repeat(9_000));
        let mut worst = Problem::invalid((0..1_000).map(long)).with_metadata("a", "%".repeat(9_000));
        for n in 0..100 {
            worst = worst.with_precondition("KIND", long(n).0, long(n).1);
        }
        let status = Status::from(worst);
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("headers");
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 16 * 1024, "{bytes} bytes at the very worst");
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("ErrorInfo").metadata["violations"], "1000");
        assert!(status.message().starts_with("1000 fields are wrong, the first are 0é"), "{status}");

        let ids = (0..40).map(|n| (format!("user_ids[{n}]"), "must be 30 characters long, has 5"));
        let usual = Status::from(Problem::invalid(ids));
        let mut headers = http::HeaderMap::new();
        usual.add_header(&mut headers).expect("headers");
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 4 * 1024, "{bytes} bytes usually");
    }

    #[test]
    fn constructors_have_their_codes() {
        let table = [
            (Problem::not_found("charge"), Code::NotFound),
            (Problem::permission_denied("NOT_A_MEMBER", ""), Code::PermissionDenied),
            (Problem::unauthenticated("TOKEN_MISSING", ""), Code::Unauthenticated),
            (Problem::aborted("STALE_ETAG", ""), Code::Aborted),
            (Problem::request_id_reused(), Code::AlreadyExists),
            (Problem::failed_precondition("HOLD_SETTLED", ""), Code::FailedPrecondition),
            (Problem::exhausted("SEAT_LIMIT_REACHED", ""), Code::ResourceExhausted),
            (Problem::unavailable("STORE_UNAVAILABLE", ""), Code::Unavailable),
            (Problem::deadline_exceeded(), Code::DeadlineExceeded),
            (Problem::internal(&"the disk is on fire"), Code::Internal),
            (Problem::from(DbError::Unavailable(sqlx::Error::PoolTimedOut)), Code::Unavailable),
            (Problem::from(DbError::Serialization), Code::Aborted),
            (Problem::from(DbError::Locked), Code::Aborted),
        ];
        for (problem, code) in table {
            let reason = problem.reason();
            let status = Status::from(problem);
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(reason_of(&status).as_deref(), Some(reason));
            assert!(!status.message().contains("fire"), "a cause reached the caller");
        }
    }

    #[test]
    fn a_statement_that_took_too_long_is_no_store_that_is_away() {
        let status = Status::from(Problem::from(DbError::TimedOut));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason_of(&status).as_deref(), Some(reason::STATEMENT_TIMED_OUT));
        let retry = status.get_details_retry_info().expect("RetryInfo");
        assert_eq!(retry.retry_delay, Some(Duration::from_secs(1)));
        let away = Status::from(Problem::from(DbError::Unavailable(sqlx::Error::PoolTimedOut)));
        assert_eq!(reason_of(&away).as_deref(), Some(reason::STORE_UNAVAILABLE));
    }
}
