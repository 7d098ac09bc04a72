//! Between the messages of the API and the values that the services work with.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use bursar_id::Role;
use bursar_money::{Currency, Price, PriceError};
use bursar_proto::google::r#type::Money;
use bursar_proto::organization::v1::Role as ProtoRole;
use bursar_time::{Span, SpanError, Timestamp, TimestampError};

use crate::{Problem, Violations, problem};

/// How much of a path that there is not is repeated, in bytes.
const PATH_TOLD: usize = 40;

/// Why a field of the API could not be read; each message is a sentence for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The field must be set.
    #[error("is required")]
    Missing,
    /// The nanoseconds are out of range.
    #[error("must have nanos between 0 and 999999999")]
    Nanos,
    /// The time is out of range.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// The span is negative or too long.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// The price is none.
    #[error(transparent)]
    Price(#[from] PriceError),
    /// The role is none.
    #[error("must be ROLE_OWNER, ROLE_ADMIN or ROLE_MEMBER")]
    Role,
}

/// Reads the one field of a request that has to be known before anybody can be authorized.
pub fn field<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| Problem::invalid_field(name, error.to_string()))
}

/// A time of the API; what is finer than a microsecond is cut off.
pub fn timestamp(message: prost_types::Timestamp) -> Result<Timestamp, ConvertError> {
    if !(0..1_000_000_000).contains(&message.nanos) {
        return Err(ConvertError::Nanos);
    }
    let micros = Timestamp::from_unix_secs(message.seconds)?
        .as_micros()
        .checked_add(i64::from(message.nanos / 1_000))
        .ok_or(TimestampError::OutOfRange)?;
    Ok(Timestamp::from_micros(micros)?)
}

/// A time of the API that must be there.
pub fn required_timestamp(message: Option<prost_types::Timestamp>) -> Result<Timestamp, ConvertError> {
    timestamp(message.ok_or(ConvertError::Missing)?)
}

/// A time of the API that may be left out.
pub fn optional_timestamp(message: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, ConvertError> {
    message.map(timestamp).transpose()
}

/// A time as the API has it.
pub fn to_timestamp(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_micros().rem_euclid(1_000_000) * 1_000;
    prost_types::Timestamp {
        seconds: time.as_unix_secs(),
        // Below 10^9.
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A span of the API, zero or longer; what is finer than a microsecond is cut off.
pub fn span(message: prost_types::Duration) -> Result<Span, ConvertError> {
    if message.seconds < 0 || message.nanos < 0 {
        return Err(SpanError::Negative.into());
    }
    if message.nanos >= 1_000_000_000 {
        return Err(ConvertError::Nanos);
    }
    let micros = message
        .seconds
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(i64::from(message.nanos / 1_000)))
        .ok_or(SpanError::TooLong)?;
    Ok(Span::from_micros(micros)?)
}

/// A span of the API that must be there.
pub fn required_span(message: Option<prost_types::Duration>) -> Result<Span, ConvertError> {
    span(message.ok_or(ConvertError::Missing)?)
}

/// A span of the API that may be left out.
pub fn optional_span(message: Option<prost_types::Duration>) -> Result<Option<Span>, ConvertError> {
    message.map(span).transpose()
}

/// A span as the API has it.
pub fn to_duration(span: Span) -> prost_types::Duration {
    let nanos = span.as_micros() % 1_000_000 * 1_000;
    prost_types::Duration {
        seconds: span.as_micros() / 1_000_000,
        // Below 10^9.
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A price of the API.
pub fn price(message: &Money) -> Result<Price, ConvertError> {
    let currency: Currency = message.currency_code.parse().map_err(|_| PriceError::Currency)?;
    Ok(Price::from_units_nanos(currency, message.units, message.nanos)?)
}

/// A price as the API has it.
pub fn to_money(price: Price) -> Money {
    Money { currency_code: price.currency().as_str().to_owned(), units: price.units(), nanos: price.nanos() }
}

/// A role of the API; `ROLE_UNSPECIFIED` and unknown numbers are refused.
pub fn role(number: i32) -> Result<Role, ConvertError> {
    optional_role(number)?.ok_or(ConvertError::Role)
}

/// A role of the API where `ROLE_UNSPECIFIED` means none.
pub fn optional_role(number: i32) -> Result<Option<Role>, ConvertError> {
    match ProtoRole::try_from(number) {
        Ok(ProtoRole::Unspecified) => Ok(None),
        Ok(ProtoRole::Owner) => Ok(Some(Role::Owner)),
        Ok(ProtoRole::Admin) => Ok(Some(Role::Admin)),
        Ok(ProtoRole::Member) => Ok(Some(Role::Member)),
        Err(_) => Err(ConvertError::Role),
    }
}

/// A role as the API has it.
pub fn to_role(role: Role) -> ProtoRole {
    match role {
        Role::Owner => ProtoRole::Owner,
        Role::Admin => ProtoRole::Admin,
        Role::Member => ProtoRole::Member,
    }
}

/// A role as the API has it, `ROLE_UNSPECIFIED` for none.
pub fn to_optional_role(role: Option<Role>) -> ProtoRole {
    role.map_or(ProtoRole::Unspecified, to_role)
}

/// Which fields an update changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateMask {
    fields: BTreeSet<String>,
    /// Whether the mask names what it changes, by paths or `*`: then a field can be emptied, too.
    named: bool,
}

impl UpdateMask {
    /// Reads a mask. `*`: every field of `allowed` is replaced. Absent or empty: every one that is not empty
    /// ([`Self::changes`]). A path that is not in `allowed` is noted under `update_mask`, beside `*` too.
    pub fn parse(message: Option<&prost_types::FieldMask>, allowed: &[&str], violations: &mut Violations) -> Self {
        let paths = message.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        for unknown in paths.iter().filter(|path| *path != "*" && !allowed.contains(&path.as_str())) {
            let (unknown, allowed) = (problem::cut(unknown.clone(), PATH_TOLD), allowed.join(", "));
            violations.add("update_mask", format!("has no field {unknown:?}; there are {allowed}"));
        }
        let named = !paths.is_empty();
        if !named || paths.iter().any(|path| path == "*") {
            return Self { fields: allowed.iter().map(|path| (*path).to_owned()).collect(), named };
        }
        Self { fields: paths.iter().cloned().collect(), named }
    }

    /// Whether a field is changed to a value that is empty or not: without a mask, what is empty stays.
    pub fn changes(&self, field: &str, is_empty: bool) -> bool {
        self.fields.contains(field) && (self.named || !is_empty)
    }

    /// The new value of a text field; `None` when it stays, or when it is bad, which is noted.
    pub fn read<T, E: Display>(
        &self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        violations: &mut Violations,
    ) -> Option<T> {
        if self.changes(field, text.is_empty()) { violations.check(field, parse(text)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for micros in [0, 1, -1, -1_000_001, 1_790_000_000_123_456, i64::MIN, i64::MAX] {
            let Ok(time) = Timestamp::from_micros(micros) else {
                continue;
            };
            let message = to_timestamp(time);
            assert!((0..1_000_000_000).contains(&message.nanos), "{message:?}");
            assert_eq!(timestamp(message), Ok(time), "{micros}");
        }
        for time in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(timestamp(to_timestamp(time)), Ok(time));
        }
    }

    #[test]
    fn times_out_of_range_are_refused() {
        let table = [
            (0, -1, ConvertError::Nanos),
            (0, 1_000_000_000, ConvertError::Nanos),
            (i64::MAX, 0, TimestampError::OutOfRange.into()),
            (i64::MIN, 0, TimestampError::OutOfRange.into()),
            (253_402_300_800, 0, TimestampError::OutOfRange.into()),
        ];
        for (seconds, nanos, error) in table {
            let message = prost_types::Timestamp { seconds, nanos };
            assert_eq!(timestamp(message), Err(error), "{seconds}s {nanos}ns");
        }
        assert_eq!(required_timestamp(None), Err(ConvertError::Missing));
        assert_eq!(optional_timestamp(None), Ok(None));
    }

    #[test]
    fn spans_go_there_and_back_and_are_never_negative() {
        for micros in [0, 1, 999_999, 1_000_000, 86_400_000_000, i64::from(i32::MAX) * 1_000_003] {
            let value = Span::from_micros(micros).expect("in range");
            assert_eq!(span(to_duration(value)), Ok(value), "{micros}");
        }
        let table = [
            (-1, 0, SpanError::Negative.into()),
            (0, -1, SpanError::Negative.into()),
            (1, 1_000_000_000, ConvertError::Nanos),
            (i64::MAX, 0, SpanError::TooLong.into()),
        ];
        for (seconds, nanos, error) in table {
            let message = prost_types::Duration { seconds, nanos };
            assert_eq!(span(message), Err(error), "{seconds}s {nanos}ns");
        }
    }

    #[test]
    fn prices_follow_googles_rules() {
        let money = |code: &str, units, nanos| Money { currency_code: code.to_owned(), units, nanos };
        for good in [money("USD", 100, 0), money("EUR", 0, -10_000_000), money("JPY", -5, -500_000_000)] {
            assert_eq!(to_money(price(&good).expect("a price")), good);
        }
        let table = [
            (money("usd", 1, 0), PriceError::Currency),
            (money("", 1, 0), PriceError::Currency),
            (money("USD", 1, -1_000), PriceError::MixedSigns),
            (money("USD", 0, 1_000_000_000), PriceError::NanosOutOfRange),
            (money("USD", i64::MAX, 0), PriceError::TooLarge),
        ];
        for (message, error) in table {
            assert_eq!(price(&message), Err(error.into()), "{message:?}");
        }
    }

    #[test]
    fn roles_go_there_and_back() {
        for value in Role::ALL {
            assert_eq!(role(to_role(value) as i32), Ok(value));
        }
        assert_eq!(role(0), Err(ConvertError::Role));
        assert_eq!(role(99), Err(ConvertError::Role));
        assert_eq!(optional_role(0), Ok(None));
        assert_eq!(to_optional_role(None), ProtoRole::Unspecified);
    }

    #[test]
    fn masks_name_fields_that_exist() {
        let mask =
            |paths: &[&str]| prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() };
        let allowed = ["name", "slug"];
        let mut violations = Violations::new();
        // Of `name` and `slug`: whether it is changed to something, and whether it is emptied.
        let changes = |mask: &UpdateMask| allowed.map(|field| (mask.changes(field, false), mask.changes(field, true)));
        for none in [None, Some(&mask(&[]))] {
            let filled = UpdateMask::parse(none, &allowed, &mut violations);
            assert_eq!(changes(&filled), [(true, false); 2], "what is empty stays");
        }
        let all = UpdateMask::parse(Some(&mask(&["*"])), &allowed, &mut violations);
        assert_eq!(changes(&all), [(true, true); 2]);
        let one = UpdateMask::parse(Some(&mask(&["slug"])), &allowed, &mut violations);
        assert_eq!(changes(&one), [(false, false), (true, true)]);
        assert!(violations.is_empty());
        let number = |text: &str| text.parse::<u8>();
        assert_eq!(one.read("name", "x", number, &mut violations), None, "it stays");
        assert_eq!(one.read("slug", "7", number, &mut violations), Some(7));
        assert!(violations.is_empty());
        assert_eq!(one.read("slug", "", number, &mut violations), None);
        let noted = std::mem::take(&mut violations).into_problem();
        assert_eq!(noted.fields()[0].0, "slug", "a bad one is noted");
        UpdateMask::parse(Some(&mask(&["name", "owner", "id"])), &allowed, &mut violations);
        assert_eq!(violations.into_problem().fields().len(), 2);
        let mut violations = Violations::new();
        UpdateMask::parse(Some(&mask(&["*", "name"])), &allowed, &mut violations);
        assert!(violations.is_empty());
        UpdateMask::parse(Some(&mask(&["*", &"owner".repeat(4_000)])), &allowed, &mut violations);
        let problem = violations.into_problem();
        assert_eq!(problem.fields().len(), 1, "everything, and what there is not");
        assert!(problem.message().len() < 200, "{problem:?}");
    }
}
