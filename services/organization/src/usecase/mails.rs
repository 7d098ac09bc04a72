//! The mail that organization sends. Its words are in `templates/`, in a text and an HTML form; here is what they are
//! filled with. What billing tells is mailed by letters of [`bursar_notices`].

use askama::Template;
use bursar_id::Role;
use bursar_mail::{Mail, quoted, quoted_address};
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
    let (from, organization) = (quoted_address(from), quoted(organization));
    let (from, organization) = (from.as_str(), organization.as_str());
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
    let (name, owner) = (quoted(&about.organization.name), quoted_address(about.owner));
    let link = about.link(config);
    let (product, owner, organization, link) = (config.product.as_str(), owner.as_str(), name.as_str(), link.as_str());
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
    let (name, nominee) = (quoted(&about.organization.name), quoted_address(about.nominee));
    let link = about.link(config);
    let (product, nominee, organization, link) =
        (config.product.as_str(), nominee.as_str(), name.as_str(), link.as_str());
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
    let (said, said_before) = (quoted_address(about.owner), about.former.map(quoted_address));
    let (owner, former) = (said.as_str(), said_before.as_deref());
    let text = NewOwnerText { product, owner, former, organization };
    let html = NewOwnerHtml { product, owner, former, organization };
    about.former.into_iter().chain([about.owner]).map(|to| Mail::of(to, &text, &html)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_id::{OrganizationId, UserId};
    use bursar_runtime::Settings;
    use bursar_secret::Entropy;

    use crate::store::standings::Life;

    fn organization(name: &str) -> OrganizationRow {
        OrganizationRow {
            id: OrganizationId::from_parts(1, [0; 10]),
            name: name.to_owned(),
            slug: "acme".to_owned(),
            owner_user_id: UserId::from_parts(1, [0; 10]),
            version: 1,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            life: Life::ACTIVE,
        }
    }

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

    /// What stands before the @ is its holder's choice, as a name is.
    #[test]
    fn an_address_reaches_a_mail_without_links_and_is_written_to_as_it_is() {
        const SENDER: &str = "evil.example/win@mail.example";
        const OTHER: &str = "www.evil.example@mail.example";
        let config = Config::of(&Settings::for_test("/nowhere"));
        let until = Timestamp::from_unix_secs(0).expect("a time");
        let token = Token::generate(&Entropy::seeded(1));
        let organization = organization("Acme");
        let invited =
            InvitationMail { to: OTHER, from: SENDER, organization: "Acme", role: Role::Member, expires_at: until };
        let about = OwnershipMail { organization: &organization, owner: SENDER, nominee: OTHER };
        let changed = NewOwnerMail { organization: &organization, owner: OTHER, former: Some(SENDER) };
        let mut mails = vec![
            invitation(&invited, &config, &token),
            nomination(&about, until, &config),
            nominated(&about, until, &config),
        ];
        mails.extend(new_owner(&changed, &config));
        let to: Vec<&str> = mails.iter().map(|mail| mail.to.as_str()).collect();
        assert_eq!(to, [OTHER, OTHER, SENDER, SENDER, OTHER]);
        for mail in &mails {
            for part in [&mail.text, &mail.html] {
                assert!(part.contains("evil example") && part.contains("mail example"), "{part}");
            }
            for part in [&mail.subject, &mail.text, &mail.html] {
                assert!(!part.contains("evil.example") && !part.contains("mail.example"), "{part}");
            }
        }
    }

    #[test]
    fn an_ordinary_address_reaches_a_mail_as_it_is() {
        let config = Config::of(&Settings::for_test("/nowhere"));
        let organization = organization("Acme");
        let changed = NewOwnerMail {
            organization: &organization,
            owner: "ben@example.com",
            former: Some("ada.love+x@example.com"),
        };
        for mail in new_owner(&changed, &config) {
            let said = "ben@example.com owns \"Acme\" on Bursar now. ada.love+x@example.com, who owned it before";
            assert!(mail.text.contains(said), "{}", mail.text);
        }
    }
}
