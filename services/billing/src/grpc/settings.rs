//! Account settings, between the API's messages and what the use cases work with.

use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::UpdateMask;
use bursar_rpc::{Stored, Violations};

use crate::domain::{AccountSettings, AlertPercents, BillingProfile, SettingsChange};

/// What an update may name.
const FIELDS: [&str; 3] = ["allowance_alert_percents", "billing_profile", "time_zone"];

/// The longest etag that is compared, in bytes.
const ETAG_BYTES: usize = 64;

/// What an update asks for, with every bad field noted.
pub(super) fn change(message: &pb::UpdateAccountSettingsRequest, bad: &mut Violations) -> SettingsChange {
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &FIELDS, bad);
    let to = message.settings.clone().unwrap_or_default();
    let percents = &to.allowance_alert_percents;
    let allowance_alert_percents = mask
        .changes("allowance_alert_percents", percents.is_empty())
        .then(|| bad.check("settings.allowance_alert_percents", AlertPercents::new(percents)))
        .flatten();
    let profile = mask
        .changes("billing_profile", to.billing_profile.is_none())
        .then(|| profile(&to.billing_profile.unwrap_or_default(), bad))
        .flatten();
    let zone = mask
        .changes("time_zone", to.time_zone.is_empty())
        .then(|| bad.check_optional("settings.time_zone", &to.time_zone, str::parse).map(Option::unwrap_or_default))
        .flatten();
    bad.require("etag", message.etag.len() <= ETAG_BYTES, "is none");
    SettingsChange { allowance_alert_percents, profile, zone, etag: message.etag.clone() }
}

fn profile(message: &pb::BillingProfile, bad: &mut Violations) -> Option<BillingProfile> {
    let at = |field: &str| format!("settings.billing_profile.{field}");
    let most = BillingProfile::MOST_LINES;
    let name = bad.check(&at("name"), BillingProfile::line(&message.name));
    bad.require(&at("address_lines"), message.address_lines.len() <= most, "must be at most 6 lines");
    let lines: Vec<Option<String>> = (0..)
        .zip(message.address_lines.iter().take(most))
        .map(|(number, line)| bad.check(&at(&format!("address_lines[{number}]")), BillingProfile::line(line)))
        .collect();
    let country = bad.check_optional(&at("country"), &message.country, str::parse);
    let tax_id = bad.check(&at("tax_id"), BillingProfile::number(&message.tax_id));
    let order_number = bad.check(&at("order_number"), BillingProfile::number(&message.order_number));
    let invoice_mail = bad.check(&at("invoice_mail"), BillingProfile::mail(&message.invoice_mail));
    Some(BillingProfile {
        name: name?,
        address_lines: lines.into_iter().collect::<Option<Vec<_>>>()?.into_iter().filter(|it| !it.is_empty()).collect(),
        country: country?,
        tax_id: tax_id?,
        order_number: order_number?,
        invoice_mail: invoice_mail?,
    })
}

/// What is kept for a repetition has no profile: it would outlive the account that it is of.
impl Stored for AccountSettings {
    type Message = pb::UpdateAccountSettingsResponse;
    fn to_message(&self) -> pb::UpdateAccountSettingsResponse {
        let kept = pb::AccountSettings { billing_profile: None, ..settings(self) };
        pb::UpdateAccountSettingsResponse { settings: Some(kept) }
    }
}

/// Settings as they are answered.
pub(super) fn settings(settings: &AccountSettings) -> pb::AccountSettings {
    pb::AccountSettings {
        allowance_alert_percents: settings.allowance_alert_percents.as_slice().to_vec(),
        billing_profile: Some(to_profile(&settings.profile)),
        time_zone: settings.zone.name().to_owned(),
        etag: settings.etag(),
    }
}

/// A billing profile as it is answered.
pub(super) fn to_profile(profile: &BillingProfile) -> pb::BillingProfile {
    pb::BillingProfile {
        name: profile.name.clone(),
        address_lines: profile.address_lines.clone(),
        country: profile.country.map(|country| country.to_string()).unwrap_or_default(),
        tax_id: profile.tax_id.clone(),
        order_number: profile.order_number.clone(),
        invoice_mail: profile.invoice_mail.clone(),
    }
}
