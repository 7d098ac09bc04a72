//! The mail that organization sends: its words and its link.

use bursar_id::Role;
use bursar_mail::Mail;
use bursar_secret::Token;
use bursar_time::Timestamp;

/// What an invitation's mail says.
pub(super) struct InvitationMail<'a> {
    /// The invited address.
    pub(super) to: &'a str,
    /// Who invites.
    pub(super) from: &'a str,
    /// The organization's name.
    pub(super) organization: &'a str,
    /// As what.
    pub(super) role: Role,
    /// Until when.
    pub(super) expires_at: Timestamp,
}

/// Invites somebody. The token stands here and nowhere else.
pub(super) fn invitation(about: &InvitationMail<'_>, link_base_url: &str, token: &Token) -> Mail {
    let InvitationMail { to, from, organization, role, expires_at } = about;
    let role = match role {
        Role::Owner | Role::Admin => "an admin",
        Role::Member => "a member",
    };
    let token = token.to_text();
    let token = token.expose();
    Mail {
        to: (*to).to_owned(),
        subject: format!("Join {organization}"),
        text: format!(
            "{from} invites you to join {organization} as {role}.\n\n\
             Open this link and sign in with this address to accept:\n\n\
             {link_base_url}/accept-invitation?token={token}\n\n\
             The link works once, until {expires_at}. If you do not want to join, ignore this mail.\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_secret::Entropy;

    #[test]
    fn the_link_stands_on_a_line_of_its_own() {
        let token = Token::generate(&Entropy::seeded(1));
        let about = InvitationMail {
            to: "ben@example.com",
            from: "ada@example.com",
            organization: "Acme",
            role: Role::Member,
            expires_at: Timestamp::from_unix_secs(0).expect("a time"),
        };
        let mail = invitation(&about, "https://app.example", &token);
        let text = token.to_text();
        let link = format!("https://app.example/accept-invitation?token={}", text.expose());
        assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
        assert!(mail.text.contains("as a member"), "{}", mail.text);
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ben@example.com", "Join Acme"));
    }
}
