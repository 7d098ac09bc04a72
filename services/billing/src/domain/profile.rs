//! What an account's managers set: to whom invoices are made out, where the account's days begin, and when to be told how
//! much of the allowance is spent.

use bursar_email::Email;
use bursar_money::Credits;
use bursar_text::TextError;
use bursar_time::{Span, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use super::tax::Country;
use super::top_up::{AutoTopUp, Stop};

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

/// Of how much of the allowance the managers want to be told that it is used: percentages, ascending.
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
    /// What is bought by itself; `None` where nothing was ever set of it.
    pub top_up: Option<AutoTopUp>,
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
    /// See [`AccountSettings`].
    pub top_up: Option<Option<AutoTopUp>>,
    /// The state that the change is meant for; empty for whatever there is.
    pub etag: String,
}

impl SettingsChange {
    /// The same, asked for by somebody.
    #[must_use]
    pub fn by(&self, who: &str) -> Self {
        let mut change = self.clone();
        if let Some(Some(top_up)) = &mut change.top_up {
            who.clone_into(&mut top_up.set_by);
        }
        change
    }
}

impl AccountSettings {
    /// The name of this state.
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }

    /// These settings with a change; the same where it changes nothing.
    #[must_use]
    pub fn with(&self, change: &SettingsChange) -> Self {
        let SettingsChange { allowance_alert_percents, profile, zone, top_up, etag: _ } = change.clone();
        let before = self.clone();
        let top_up = match (top_up, before.top_up) {
            // Who says what is set already has set nothing.
            (Some(Some(new)), Some(old)) if old.says_what(&new) => Some(old),
            (Some(new), _) => new,
            (None, old) => old,
        };
        let changed = Self {
            allowance_alert_percents: allowance_alert_percents.unwrap_or(before.allowance_alert_percents),
            profile: profile.unwrap_or(before.profile),
            zone: zone.unwrap_or(before.zone),
            top_up,
            version: self.version,
        };
        changed.instead_of(self)
    }

    /// These settings with the top-up switched off by the program; `None` where it is off.
    pub fn stopped(&self, why: Stop) -> Option<Self> {
        let on = self.top_up.clone().filter(|it| it.enabled)?;
        let off = AutoTopUp { enabled: false, stopped: Some(why), ..on };
        Some(Self { top_up: Some(off), ..self.clone() }.instead_of(self))
    }

    /// Below what the account is topped up.
    pub fn top_up_below(&self) -> Option<Credits> {
        self.top_up.as_ref().and_then(AutoTopUp::below)
    }

    fn instead_of(self, before: &Self) -> Self {
        if self == *before { self } else { Self { version: before.version.saturating_add(1), ..self } }
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
    fn a_top_up_is_set_by_who_changes_it_and_stopped_once() {
        let top_up = |set_by: &str, enabled| AutoTopUp {
            enabled,
            threshold: Credits::ONE,
            pack: crate::domain::ProductId::parse("starter").unwrap(),
            ceiling: bursar_money::Price::zero(bursar_money::Currency::USD),
            method: String::new(),
            set_by: set_by.to_owned(),
            stopped: None,
        };
        let change = |to: Option<AutoTopUp>| SettingsChange { top_up: Some(to), ..SettingsChange::default() };
        let on = AccountSettings::default().with(&change(Some(top_up("usr_1", true))));
        assert_eq!((on.version, on.top_up_below()), (1, Some(Credits::ONE)));
        assert_eq!(on.with(&change(Some(top_up("usr_2", true)))), on, "it is set already");
        let off = on.stopped(Stop::Declined).unwrap();
        assert_eq!((off.version, off.top_up_below(), off.stopped(Stop::Deleted)), (2, None, None));
        let why = |it: &AccountSettings| it.top_up.as_ref().and_then(|it| it.stopped);
        let by_hand = off.with(&change(Some(top_up("usr_2", false))));
        assert_eq!((why(&off), why(&by_hand)), (Some(Stop::Declined), Some(Stop::Declined)), "it is off already");
        let again = off.with(&change(Some(top_up("usr_2", true))));
        assert_eq!((why(&again), again.top_up.as_ref().map(|it| &*it.set_by)), (None, Some("usr_2")));
        let gone = again.with(&change(None));
        assert_eq!((gone.version, gone.top_up.clone()), (4, None));
        assert_eq!(gone.with(&change(None)), gone);
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
