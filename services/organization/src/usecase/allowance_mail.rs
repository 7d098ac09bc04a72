//! The mail about an allowance of which so much is used; its words are in `templates/`, too.

use askama::Template;
use bursar_mail::{Mail, quoted};
use bursar_members::CreditUnit;
use bursar_proto::event::v1::AllowanceAlert;
use bursar_rpc::convert::required_timestamp;

use crate::config::Config;

/// What the mail about an allowance says.
pub(super) struct AllowanceMail<'a> {
    /// The address of somebody who manages billing.
    pub(super) to: &'a str,
    /// The organization's name.
    pub(super) organization: &'a str,
    /// What billing told.
    pub(super) alert: &'a AllowanceAlert,
    /// What a credit is called.
    pub(super) unit: CreditUnit,
}

#[derive(Template)]
#[template(path = "allowance_alert.txt")]
struct AllowanceAlertText<'a> {
    product: &'a str,
    organization: &'a str,
    used: &'a str,
    granted: &'a str,
    unit: &'a str,
    percent: u32,
    ends_at: &'a str,
}

#[derive(Template)]
#[template(path = "allowance_alert.html")]
struct AllowanceAlertHtml<'a> {
    product: &'a str,
    organization: &'a str,
    used: &'a str,
    granted: &'a str,
    unit: &'a str,
    percent: u32,
    ends_at: &'a str,
}

/// Tells somebody who manages billing that so much of the period's allowance is used.
pub(super) fn allowance_alert(about: &AllowanceMail<'_>, config: &Config) -> Mail {
    let AllowanceMail { to, organization, alert, unit } = *about;
    let ends_at = required_timestamp(alert.period_ends_at).map_or_else(|_| "its end".to_owned(), |at| at.to_string());
    let organization = quoted(organization);
    let unit = unit.called(alert.granted == "1");
    let (product, organization, ends_at) = (config.product.as_str(), organization.as_str(), ends_at.as_str());
    let (used, granted, unit) = (alert.used.as_str(), alert.granted.as_str(), unit.as_str());
    let percent = alert.percents.last().copied().unwrap_or_default();
    Mail::of(
        to,
        &AllowanceAlertText { product, organization, used, granted, unit, percent, ends_at },
        &AllowanceAlertHtml { product, organization, used, granted, unit, percent, ends_at },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_runtime::Settings;
    use bursar_time::Timestamp;

    #[test]
    fn an_allowances_alert_names_credits_as_the_deployment_does() {
        for (unit, granted, says) in [
            (CreditUnit::CREDITS, "1500", "used 1200.5 of the 1500 credits"),
            (CreditUnit::WORDS, "1500", "used 1200.5 of the 1500 words"),
            (CreditUnit::WORDS, "1", "used 1200.5 of the 1 word that"),
        ] {
            let alert = AllowanceAlert {
                percents: vec![50, 80],
                used: "1200.5".to_owned(),
                granted: granted.to_owned(),
                period_ends_at: Some(bursar_rpc::convert::to_timestamp(Timestamp::EPOCH)),
                ..Default::default()
            };
            let about = AllowanceMail { to: "ada@example.com", organization: "<b>Acme</b>", alert: &alert, unit };
            let mail = allowance_alert(&about, &Config::of(&Settings::for_test("/nowhere")));
            assert!(mail.subject.starts_with("80 % of the allowance is used in"), "{}", mail.subject);
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(says) && part.contains("80 %"), "{part}");
                assert!(part.contains("1970-01-01T00:00:00Z"), "{part}");
            }
            assert!(!mail.html.contains("<b>"), "{}", mail.html);
        }
    }
}
