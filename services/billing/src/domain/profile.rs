//! What an account's managers set: to whom invoices are made out, where the account's days begin, and when to be told how
//! much of the allowance is spent.

use bursar_email::Email;
use bursar_text::TextError;
use bursar_time::{Span, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use super::tax::Country;

/// To whom invoices are made out. Every text is what it seems (`bursar-text`); empty where nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BillingProfile {
    /// The customer's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The address, line by line, without the country.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub address_lines: Vec<String>,
    /// The country: by it taxes are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// The customer's tax number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tax_id: String,
    /// What the customer wants to find on the invoice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub order_number: String,
    /// Where invoices are to be mailed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub invoice_mail: String,
}

impl BillingProfile {
    /// The longest name and line of an address, in characters.
    pub const LONGEST_LINE: usize = 120;
    /// The longest tax number and order number, in characters.
    pub const LONGEST_NUMBER: usize = 64;
    /// How many lines an address may have.
    pub const MOST_LINES: usize = 6;

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A name or a line of an address; nothing is fine, too.
    ///
    /// # Errors
    /// It is not what it seems, or too long.
    pub fn line(text: &str) -> Result<String, TextError> {
        optional(text, Self::LONGEST_LINE)
    }

    /// A tax number or an order number; nothing is fine, too.
    ///
    /// # Errors
    /// It is not what it seems, or too long.
    pub fn number(text: &str) -> Result<String, TextError> {
        optional(text, Self::LONGEST_NUMBER)
    }

    /// A mail address as it is written; nothing is fine, too.
    ///
    /// # Errors
    /// It is none.
    pub fn mail(text: &str) -> Result<String, bursar_email::EmailError> {
        if text.is_empty() { Ok(String::new()) } else { Email::parse(text).map(|email| email.address().to_owned()) }
    }
}

fn optional(text: &str, most: usize) -> Result<String, TextError> {
    if text.is_empty() { Ok(String::new()) } else { bursar_text::name(text, most) }
}

/// Of how much of the allowance the managers want to be told that it is spent: percentages, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertPercents(Vec<u32>);

/// Percentages that nobody can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {} different percentages from 1 to 100", AlertPercents::MOST)]
pub struct AlertPercentsError;

impl AlertPercents {
    /// How many there may be.
    pub const MOST: usize = 16;

    /// Percentages in any order.
    ///
    /// # Errors
    /// More than [`Self::MOST`], one twice, or one that is not from 1 to 100.
    pub fn new(percents: &[u32]) -> Result<Self, AlertPercentsError> {
        let mut sorted = percents.to_vec();
        sorted.sort_unstable();
        let distinct = sorted.windows(2).all(|pair| pair[0] < pair[1]);
        let fits = sorted.len() <= Self::MOST && distinct && sorted.iter().all(|it| (1..=100).contains(it));
        if fits { Ok(Self(sorted)) } else { Err(AlertPercentsError) }
    }

    /// They, ascending.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}

/// What an account's managers have set, or what holds before they set anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountSettings {
    /// Of what they want to be told.
    pub allowance_alert_percents: AlertPercents,
    /// To whom invoices are made out.
    pub profile: BillingProfile,
    /// Where the account's days and months begin.
    pub zone: Zone,
    /// Counts the changes; the etag.
    pub version: i64,
}

/// Some settings, to be changed to these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// See [`AccountSettings`].
    pub allowance_alert_percents: Option<AlertPercents>,
    /// See [`AccountSettings`].
    pub profile: Option<BillingProfile>,
    /// See [`AccountSettings`].
    pub zone: Option<Zone>,
    /// The state that the change is meant for; empty for whatever there is.
    pub etag: String,
}

impl AccountSettings {
    /// The name of this state.
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }

    /// These settings with a change; the same where it changes nothing.
    #[must_use]
    pub fn with(&self, change: &SettingsChange) -> Self {
        let SettingsChange { allowance_alert_percents, profile, zone, etag: _ } = change.clone();
        let before = self.clone();
        let changed = Self {
            allowance_alert_percents: allowance_alert_percents.unwrap_or(before.allowance_alert_percents),
            profile: profile.unwrap_or(before.profile),
            zone: zone.unwrap_or(before.zone),
            version: self.version,
        };
        if changed == *self { changed } else { Self { version: self.version.saturating_add(1), ..changed } }
    }
}

/// Over how long a zone's clocks must differ from UTC by whole hours: usage is counted by the hour (product.md, "Usage").
const ZONE_HORIZON: Span = Span::from_days(2 * 366);

/// Whether an account's days may begin where a zone's do, from `now` on.
pub fn is_supported(zone: &Zone, now: Timestamp) -> bool {
    zone.has_whole_hours(now, now.saturating_add(ZONE_HORIZON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_ascending_and_each_there_once() {
        assert_eq!(AlertPercents::new(&[90, 50, 100]).unwrap().as_slice(), [50, 90, 100]);
        assert_eq!(AlertPercents::new(&[]).unwrap().as_slice(), [0_u32; 0]);
        let many: Vec<u32> = (1..=17).collect();
        for wrong in [&[0][..], &[101], &[50, 50], &many] {
            assert_eq!(AlertPercents::new(wrong), Err(AlertPercentsError), "{wrong:?}");
        }
    }

    #[test]
    fn texts_are_what_they_seem() {
        assert_eq!(BillingProfile::line("  Łódź  GmbH "), Ok("Łódź GmbH".to_owned()));
        assert_eq!(BillingProfile::line(""), Ok(String::new()));
        for wrong in ["a\nb", "a\u{202e}b", "\u{200b}", &"x".repeat(121)] {
            assert!(BillingProfile::line(wrong).is_err(), "{wrong:?}");
        }
        assert!(BillingProfile::number(&"1".repeat(65)).is_err());
        assert!(BillingProfile::mail("nobody").is_err());
        assert_eq!(BillingProfile::mail("Ada@Example.com").unwrap(), "Ada@Example.com");
    }

    #[test]
    fn a_change_changes_what_it_names_and_counts_once() {
        let before = AccountSettings::default();
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let after = before.with(&SettingsChange { zone: Some(zone.clone()), ..SettingsChange::default() });
        assert_eq!((after.version, after.zone.clone(), after.etag()), (1, zone.clone(), "v1".to_owned()));
        assert_eq!(after.with(&SettingsChange { zone: Some(zone), ..SettingsChange::default() }), after, "no change");
        let profile = BillingProfile { name: "Ada".to_owned(), ..BillingProfile::default() };
        let named = after.with(&SettingsChange { profile: Some(profile), ..SettingsChange::default() });
        assert_eq!((named.version, &named.zone), (2, &after.zone));
    }

    #[test]
    fn days_begin_where_hours_do() {
        let now: Timestamp = "2026-01-15T00:00:00Z".parse().unwrap();
        for (name, supported) in
            [("UTC", true), ("Europe/Berlin", true), ("Asia/Kolkata", false), ("Australia/Lord_Howe", false)]
        {
            assert_eq!(is_supported(&name.parse().unwrap(), now), supported, "{name}");
        }
    }
}
