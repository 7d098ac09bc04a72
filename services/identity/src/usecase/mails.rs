//! The mails that identity sends: their words and their links.

use bursar_mail::Mail;
use bursar_secret::Token;
use bursar_time::Span;

/// Asks the holder of an address to confirm it.
pub(super) fn verification(to: &str, link_base_url: &str, token: &Token, ttl: Span) -> Mail {
    Mail {
        to: to.to_owned(),
        subject: "Confirm your email address".to_owned(),
        text: format!(
            "Welcome.\n\nPlease confirm that this address is yours by opening this link:\n\n\
             {}/verify-email?token={}\n\nThe link works once, for {}. If you did not sign up, ignore this mail.\n",
            link_base_url.trim_end_matches('/'),
            token.to_text().expose(),
            in_words(ttl),
        ),
    }
}

/// Tells the holder of an address that somebody tried to sign up with it again.
pub(super) fn already_registered(to: &str) -> Mail {
    Mail {
        to: to.to_owned(),
        subject: "You already have an account".to_owned(),
        text: "Somebody tried to sign up with this address, which has an account already.\n\n\
               If it was you: sign in with the password you chose then.\n\
               If it was not: nothing has changed, and you can ignore this mail.\n"
            .to_owned(),
    }
}

/// Whole hours, or minutes below two hours.
fn in_words(ttl: Span) -> String {
    match ttl.as_secs() / 60 {
        minutes if minutes < 120 => format!("{minutes} minutes"),
        minutes => format!("{} hours", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_secret::Entropy;

    #[test]
    fn the_link_stands_alone_on_its_line() {
        let token = Token::generate(&Entropy::seeded(1));
        let mail = verification("ada@example.com", "https://app.example/", &token, Span::DAY);
        let link = format!("https://app.example/verify-email?token={}", token.to_text().expose());
        assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
        assert!(mail.text.contains("for 24 hours"), "{}", mail.text);
        assert_eq!(mail.to, "ada@example.com");
    }

    #[test]
    fn lives_are_told_in_words() {
        assert_eq!(in_words(Span::from_mins(90)), "90 minutes");
        assert_eq!(in_words(Span::from_hours(36)), "36 hours");
    }
}
