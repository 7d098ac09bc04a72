//! Account settings, between the API's messages and what the use cases work with.

use bursar_money::{Credits, Price};
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_rpc::convert::{ConvertError, UpdateMask, price, to_money};
use bursar_rpc::{Stored, Violations};

use crate::domain::{AccountSettings, AlertPercents, AutoTopUp, BillingProfile, ProductId, SettingsChange};
use crate::payment::Payments;

/// What an update may name.
const FIELDS: [&str; 4] = ["allowance_alert_percents", "auto_top_up", "billing_profile", "time_zone"];

/// The longest etag that is compared, in bytes.
const ETAG_BYTES: usize = 64;

/// What an update asks for, with every bad field noted.
pub(super) fn change(
    payments: &Payments,
    message: &pb::UpdateAccountSettingsRequest,
    bad: &mut Violations,
) -> SettingsChange {
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &FIELDS, bad);
    let to = message.settings.clone().unwrap_or_default();
    let percents = &to.allowance_alert_percents;
    let allowance_alert_percents = mask
        .changes("allowance_alert_percents", percents.is_empty())
        .then(|| bad.check("settings.allowance_alert_percents", AlertPercents::new(percents)))
        .flatten();
    let top_up = mask
        .changes("auto_top_up", to.auto_top_up.is_none())
        .then(|| top_up(payments, &to.auto_top_up.clone().unwrap_or_default(), bad))
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
    SettingsChange { allowance_alert_percents, profile, zone, top_up, etag: message.etag.clone() }
}

/// A top-up; `None` within for one that says nothing. Who sets it, the use case knows.
#[expect(clippy::option_option, reason = "bad, taken back and given are three things")]
fn top_up(payments: &Payments, message: &pb::AutoTopUp, bad: &mut Violations) -> Option<Option<AutoTopUp>> {
    let at = |field: &str| format!("settings.auto_top_up.{field}");
    let nothing = pb::AutoTopUp { stopped_by: message.stopped_by.clone(), ..pb::AutoTopUp::default() };
    if *message == nothing {
        return Some(None);
    }
    let threshold: Option<Credits> = bad.check(&at("threshold"), message.threshold.parse());
    bad.require(&at("threshold"), threshold.is_none_or(|it| !it.is_zero()), "must be above zero");
    let pack = ProductId::parse(&message.pack_id);
    bad.require(&at("pack_id"), pack.is_some(), "must name a pack of the catalog");
    let ceiling = bad.check(&at("monthly_ceiling"), required_price(message.monthly_ceiling.as_ref()));
    let positive = ceiling.is_none_or(|it| !it.is_zero() && !it.is_negative());
    bad.require(&at("monthly_ceiling"), positive, "must be above zero");
    let method = bad.check(&at("payment_method"), payments.method(&message.payment_method));
    method?;
    Some(Some(AutoTopUp {
        enabled: message.enabled,
        threshold: threshold?,
        pack: pack?,
        ceiling: ceiling?,
        method: message.payment_method.clone(),
        set_by: String::new(),
        stopped: None,
    }))
}

fn required_price(message: Option<&Money>) -> Result<Price, ConvertError> {
    price(message.ok_or(ConvertError::Missing)?)
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
        auto_top_up: settings.top_up.as_ref().map(to_top_up),
        allowance_alert_percents: settings.allowance_alert_percents.as_slice().to_vec(),
        billing_profile: Some(to_profile(&settings.profile)),
        time_zone: settings.zone.name().to_owned(),
        etag: settings.etag(),
    }
}

fn to_top_up(it: &AutoTopUp) -> pb::AutoTopUp {
    pb::AutoTopUp {
        enabled: it.enabled,
        threshold: it.threshold.to_string(),
        pack_id: it.pack.to_string(),
        monthly_ceiling: Some(to_money(it.ceiling)),
        payment_method: it.method.clone(),
        stopped_by: it.stopped.map(|stop| stop.to_string()).unwrap_or_default(),
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
