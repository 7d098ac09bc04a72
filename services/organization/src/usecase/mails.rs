//! The mail that organization sends. Its words are in `templates/`, in a text and an HTML form; here is what they are
//! filled with.

use askama::Template;
use bursar_id::Role;
use bursar_mail::{Mail, quoted};
use bursar_members::CreditUnit;
use bursar_proto::event::v1::{LimitAlert, TopUpStopped};
use bursar_rpc::convert::required_timestamp;
use bursar_secret::Token;
use bursar_time::Timestamp;

use crate::config::Config;
use crate::store::organizations::OrganizationRow;

/// What an invitation's mail says.
pub(super) struct InvitationMail<'a> {
    /// The invited address.
    pub(super) to: &'a str,
    /// Who invites.
    pub(super) from: &'a str,
    /// The organization's name, as somebody chose it.
    pub(super) organization: &'a str,
    /// As what.
    pub(super) role: Role,
    /// Until when.
    pub(super) expires_at: Timestamp,
}

#[derive(Template)]
#[template(path = "invitation.txt")]
struct InvitationText<'a> {
    product: &'a str,
    from: &'a str,
    organization: &'a str,
    role: &'a str,
    link: &'a str,
    expires_at: Timestamp,
}

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationHtml<'a> {
    product: &'a str,
    from: &'a str,
    organization: &'a str,
    role: &'a str,
    link: &'a str,
    expires_at: Timestamp,
}

/// Invites somebody. The token stands here and nowhere else.
pub(super) fn invitation(about: &InvitationMail<'_>, config: &Config, token: &Token) -> Mail {
    let InvitationMail { to, from, organization, role, expires_at } = *about;
    let organization = quoted(organization);
    let organization = organization.as_str();
    let role = match role {
        Role::Owner | Role::Admin => "an admin",
        Role::Member => "a member",
    };
    let link = format!("{}/accept-invitation?token={}", config.link_base_url, token.to_text().expose());
    let (product, link) = (config.product.as_str(), link.as_str());
    Mail::of(
        to,
        &InvitationText { product, from, organization, role, link, expires_at },
        &InvitationHtml { product, from, organization, role, link, expires_at },
    )
}

/// What the mails about a nomination say.
pub(super) struct OwnershipMail<'a> {
    /// The organization.
    pub(super) organization: &'a OrganizationRow,
    /// The address of whoever owns it.
    pub(super) owner: &'a str,
    /// The address of whoever shall own it.
    pub(super) nominee: &'a str,
}

impl OwnershipMail<'_> {
    /// Where it is accepted, declined and taken back.
    fn link(&self, config: &Config) -> String {
        format!("{}/ownership?organization={}", config.link_base_url, self.organization.id)
    }
}

#[derive(Template)]
#[template(path = "nomination.txt")]
struct NominationText<'a> {
    product: &'a str,
    owner: &'a str,
    organization: &'a str,
    link: &'a str,
    until: Timestamp,
}

#[derive(Template)]
#[template(path = "nomination.html")]
struct NominationHtml<'a> {
    product: &'a str,
    owner: &'a str,
    organization: &'a str,
    link: &'a str,
    until: Timestamp,
}

/// Asks the nominee whether to own the organization.
pub(super) fn nomination(about: &OwnershipMail<'_>, until: Timestamp, config: &Config) -> Mail {
    let (name, link) = (quoted(&about.organization.name), about.link(config));
    let (product, owner, organization, link) = (config.product.as_str(), about.owner, name.as_str(), link.as_str());
    Mail::of(
        about.nominee,
        &NominationText { product, owner, organization, link, until },
        &NominationHtml { product, owner, organization, link, until },
    )
}

#[derive(Template)]
#[template(path = "nominated.txt")]
struct NominatedText<'a> {
    product: &'a str,
    nominee: &'a str,
    organization: &'a str,
    link: &'a str,
    until: Timestamp,
}

#[derive(Template)]
#[template(path = "nominated.html")]
struct NominatedHtml<'a> {
    product: &'a str,
    nominee: &'a str,
    organization: &'a str,
    link: &'a str,
    until: Timestamp,
}

/// Tells the owner whom they have nominated: somebody else may have done so in their name.
pub(super) fn nominated(about: &OwnershipMail<'_>, until: Timestamp, config: &Config) -> Mail {
    let (name, link) = (quoted(&about.organization.name), about.link(config));
    let (product, nominee, organization, link) = (config.product.as_str(), about.nominee, name.as_str(), link.as_str());
    Mail::of(
        about.owner,
        &NominatedText { product, nominee, organization, link, until },
        &NominatedHtml { product, nominee, organization, link, until },
    )
}

/// What the mail about an owner who has become one says.
pub(super) struct NewOwnerMail<'a> {
    /// The organization.
    pub(super) organization: &'a OrganizationRow,
    /// The address of whoever owns it now.
    pub(super) owner: &'a str,
    /// The address of whoever owned it before and is an Admin; `None`: the account was deleted.
    pub(super) former: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "new_owner.txt")]
struct NewOwnerText<'a> {
    product: &'a str,
    owner: &'a str,
    former: Option<&'a str>,
    organization: &'a str,
}

#[derive(Template)]
#[template(path = "new_owner.html")]
struct NewOwnerHtml<'a> {
    product: &'a str,
    owner: &'a str,
    former: Option<&'a str>,
    organization: &'a str,
}

/// Tells everybody concerned who can be reached, each in a mail, that the organization has another owner.
pub(super) fn new_owner(about: &NewOwnerMail<'_>, config: &Config) -> Vec<Mail> {
    let name = quoted(&about.organization.name);
    let (product, organization) = (config.product.as_str(), name.as_str());
    let NewOwnerMail { owner, former, .. } = *about;
    let text = NewOwnerText { product, owner, former, organization };
    let html = NewOwnerHtml { product, owner, former, organization };
    former.into_iter().chain([owner]).map(|to| Mail::of(to, &text, &html)).collect()
}

/// What the mail about a limit says.
pub(super) struct AlertMail<'a> {
    /// The address of somebody who manages billing.
    pub(super) to: &'a str,
    /// The organization's name.
    pub(super) organization: &'a str,
    /// What billing told.
    pub(super) alert: &'a LimitAlert,
    /// The name of the member whose use it is, if it is a member's.
    pub(super) member: Option<&'a str>,
    /// What credits are called.
    pub(super) unit: CreditUnit,
    /// No more like this is mailed today.
    pub(super) is_last: bool,
}

#[derive(Template)]
#[template(path = "limit_alert.txt")]
struct LimitAlertText<'a> {
    product: &'a str,
    organization: &'a str,
    whose: &'a str,
    used: &'a str,
    amount: &'a str,
    unit: &'a str,
    window: &'a str,
    percent: u32,
    consequence: &'a str,
    resets_at: &'a str,
    more: &'a str,
}

#[derive(Template)]
#[template(path = "limit_alert.html")]
struct LimitAlertHtml<'a> {
    product: &'a str,
    organization: &'a str,
    whose: &'a str,
    used: &'a str,
    amount: &'a str,
    unit: &'a str,
    window: &'a str,
    percent: u32,
    consequence: &'a str,
    resets_at: &'a str,
    more: &'a str,
}

/// Tells somebody who manages billing that so much of a limit is used.
pub(super) fn limit_alert(about: &AlertMail<'_>, config: &Config) -> Mail {
    let AlertMail { to, organization, alert, member, unit, is_last } = *about;
    let named = |kind: &str, name: &str| format!("{kind} {}", quoted(name));
    let whose = match (member, alert.subject.split_once(':')) {
        (Some(name), _) => named("The member", name),
        (None, Some(("project", name))) => named("The project", name),
        (None, Some(("model", name))) => named("The model", name),
        (None, Some(("api_key", name))) => named("The API key", name),
        (None, _) => "A member".to_owned(),
    };
    let window = match alert.window.as_str() {
        "HOUR" => "in an hour",
        "DAY" => "in a day",
        "MONTH" => "in a month",
        _ => "in a billing period",
    };
    let consequence =
        if alert.mode == "HARD" { "What would go above the limit is refused." } else { "Nothing is refused." };
    let resets_at = required_timestamp(alert.resets_at).map_or_else(|_| "its end".to_owned(), |at| at.to_string());
    let organization = quoted(organization);
    let (product, organization, whose) = (config.product.as_str(), organization.as_str(), whose.as_str());
    let (used, amount) = (alert.used.as_str(), alert.amount.as_str());
    let unit = unit.called(amount == "1");
    let unit = unit.as_str();
    let (percent, resets_at) = (alert.percents.last().copied().unwrap_or_default(), resets_at.as_str());
    let more = if is_last { " More alerts like this one are not mailed today." } else { "" };
    let text = LimitAlertText {
        product,
        organization,
        whose,
        used,
        amount,
        unit,
        window,
        percent,
        consequence,
        resets_at,
        more,
    };
    let html = LimitAlertHtml {
        product,
        organization,
        whose,
        used,
        amount,
        unit,
        window,
        percent,
        consequence,
        resets_at,
        more,
    };
    Mail::of(to, &text, &html)
}

/// What the mail about a top-up that was switched off says.
pub(super) struct StoppedMail<'a> {
    /// The address of whoever had switched it on.
    pub(super) to: &'a str,
    /// The organization's name.
    pub(super) organization: &'a str,
    /// What billing told.
    pub(super) stopped: &'a TopUpStopped,
    /// What credits are called.
    pub(super) unit: CreditUnit,
}

#[derive(Template)]
#[template(path = "top_up_stopped.txt")]
struct TopUpStoppedText<'a> {
    product: &'a str,
    organization: &'a str,
    pack: &'a str,
    unit: &'a str,
    why: &'a str,
}

#[derive(Template)]
#[template(path = "top_up_stopped.html")]
struct TopUpStoppedHtml<'a> {
    product: &'a str,
    organization: &'a str,
    pack: &'a str,
    unit: &'a str,
    why: &'a str,
}

/// Tells whoever had switched an automatic top-up on that it is off.
pub(super) fn top_up_stopped(about: &StoppedMail<'_>, config: &Config) -> Mail {
    let StoppedMail { to, organization, stopped, unit } = *about;
    let why = match stopped.reason.as_str() {
        "PAYMENT_DECLINED" => "Three payments in a row were declined, or needed you to confirm them.",
        "PACK_NOT_FOUND" => "The pack is not for sale any more.",
        _ => "Its payment method is not there any more.",
    };
    let (organization, pack) = (quoted(organization), quoted(&stopped.pack_id));
    let (product, organization, pack) = (config.product.as_str(), organization.as_str(), pack.as_str());
    let unit = unit.plural.as_str();
    Mail::of(
        to,
        &TopUpStoppedText { product, organization, pack, unit, why },
        &TopUpStoppedHtml { product, organization, pack, unit, why },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_runtime::Settings;
    use bursar_secret::Entropy;

    #[test]
    fn the_link_stands_on_a_line_of_its_own_and_names_are_only_text() {
        let mut settings = Settings::for_test("/nowhere");
        settings.mail.link_base_url = "https://app.example/".to_owned();
        let token = Token::generate(&Entropy::seeded(1));
        let about = InvitationMail {
            to: "ben@example.com",
            from: "ada@example.com",
            organization: "<b>Acme</b>",
            role: Role::Member,
            expires_at: Timestamp::from_unix_secs(0).expect("a time"),
        };
        let mail = invitation(&about, &Config::of(&settings), &token);
        let text = token.to_text();
        let link = format!("https://app.example/accept-invitation?token={}", text.expose());
        assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
        assert!(mail.text.contains("on Bursar as a member"), "{}", mail.text);
        assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ben@example.com", "Join \"<b>Acme< b>\""));
    }

    #[test]
    fn an_alert_says_whose_use_of_which_limit_and_quotes_the_names() {
        let alert = LimitAlert {
            subject: "every_member".to_owned(),
            window: "DAY".to_owned(),
            mode: "HARD".to_owned(),
            amount: "10".to_owned(),
            used: "8.5".to_owned(),
            percents: vec![50, 80],
            resets_at: Some(bursar_rpc::convert::to_timestamp(Timestamp::EPOCH)),
            ..Default::default()
        };
        let of = |alert: &LimitAlert, member: Option<&str>| {
            let (to, organization, is_last) = ("ada@example.com", "<b>Acme</b>", member.is_none());
            let unit = if is_last { CreditUnit::WORDS } else { CreditUnit::CREDITS };
            let about = AlertMail { to, organization, alert, member, unit, is_last };
            limit_alert(&about, &Config::of(&Settings::for_test("/nowhere")))
        };
        let mail = of(&alert, Some("Ben https://evil.example/x"));
        assert!(mail.subject.starts_with("80 % of a limit is used in"), "{}", mail.subject);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("used 8.5 of the 10 credits") && part.contains("in a day"), "{part}");
            assert!(part.contains("refused") && part.contains("1970-01-01T00:00:00Z"), "{part}");
            assert!(part.contains("The member") && !part.contains("evil.example"), "{part}");
            assert!(!part.contains("are not mailed today"), "{part}");
        }
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        let project = LimitAlert { subject: "project:film".to_owned(), mode: "WARN".to_owned(), ..alert };
        let mail = of(&project, None);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("used 8.5 of the 10 words") && !part.contains("credit"), "{part}");
        }
        assert!(mail.text.contains("The project") && mail.text.contains("Nothing is refused."), "{}", mail.text);
        assert!(
            mail.text.contains("are not mailed today") && mail.html.contains("are not mailed today"),
            "{}",
            mail.text
        );
        let one = of(&LimitAlert { amount: "1".to_owned(), used: "0.5".to_owned(), ..project }, None);
        assert!(one.text.contains("used 0.5 of the 1 word that"), "{}", one.text);
    }

    #[test]
    fn a_stopped_top_up_says_why_and_quotes_the_names() {
        for (reason, why) in [
            ("PAYMENT_DECLINED", "Three payments in a row"),
            ("PACK_NOT_FOUND", "not for sale any more"),
            ("PAYMENT_METHOD_REQUIRED", "payment method is not there"),
        ] {
            let stopped =
                TopUpStopped { reason: reason.to_owned(), pack_id: "starter".to_owned(), ..Default::default() };
            let (to, organization, unit) = ("ada@example.com", "<b>Acme</b>", CreditUnit::WORDS);
            let about = StoppedMail { to, organization, stopped: &stopped, unit };
            let mail = top_up_stopped(&about, &Config::of(&Settings::for_test("/nowhere")));
            assert!(mail.subject.starts_with("The automatic top-up of"), "{}", mail.subject);
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(why) && part.contains("starter"), "{part}");
                assert!(part.contains("too few words") && !part.contains("credit"), "{part}");
            }
            assert!(!mail.html.contains("<b>"), "{}", mail.html);
        }
    }

    #[test]
    fn a_name_reaches_a_mail_quoted_and_without_links() {
        let token = Token::generate(&Entropy::seeded(1));
        let about = InvitationMail {
            to: "ben@example.com",
            from: "ada@example.com",
            organization: "You have won: https://evil.example/claim",
            role: Role::Member,
            expires_at: Timestamp::from_unix_secs(0).expect("a time"),
        };
        let mail = invitation(&about, &Config::of(&Settings::for_test("/nowhere")), &token);
        assert_eq!(mail.subject, "Join \"You have won: https evil example claim\"");
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(part.contains("You have won: https evil example claim"), "{part}");
            assert!(!part.contains("evil.example"), "{part}");
        }
    }
}
