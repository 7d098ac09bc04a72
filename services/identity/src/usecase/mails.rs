//! The mails that identity sends. Their words are in `templates/`, a text and an HTML form of each; here is what they
//! are filled with. What billing tells is mailed by letters of [`bursar_notices`].

use askama::Template;
use bursar_mail::Mail;
use bursar_secret::Token;
use bursar_time::Span;

use crate::config::Config;

#[derive(Template)]
#[template(path = "verification.txt")]
struct VerificationText<'a> {
    product: &'a str,
    link: &'a str,
    life: &'a str,
}

#[derive(Template)]
#[template(path = "verification.html")]
struct VerificationHtml<'a> {
    product: &'a str,
    link: &'a str,
    life: &'a str,
}

/// Asks the holder of an address to confirm it.
pub(super) fn verification(to: &str, config: &Config, token: &Token) -> Mail {
    let (base, token) = (config.link_base_url.trim_end_matches('/'), token.to_text());
    let link = format!("{base}/verify-email?token={}", token.expose());
    let (product, link, life) = (config.product.as_str(), link.as_str(), in_words(config.verification_ttl));
    let life = life.as_str();
    Mail::of(to, &VerificationText { product, link, life }, &VerificationHtml { product, link, life })
}

#[derive(Template)]
#[template(path = "already_registered.txt")]
struct AlreadyRegisteredText<'a> {
    product: &'a str,
}

#[derive(Template)]
#[template(path = "already_registered.html")]
struct AlreadyRegisteredHtml<'a> {
    product: &'a str,
}

/// Tells the holder of an address that somebody tried to sign up with it again.
pub(super) fn already_registered(to: &str, config: &Config) -> Mail {
    let product = config.product.as_str();
    Mail::of(to, &AlreadyRegisteredText { product }, &AlreadyRegisteredHtml { product })
}

#[derive(Template)]
#[template(path = "sign_up_again.txt")]
struct SignUpAgainText<'a> {
    product: &'a str,
}

#[derive(Template)]
#[template(path = "sign_up_again.html")]
struct SignUpAgainHtml<'a> {
    product: &'a str,
}

/// Tells whoever wants a new link for an address with more than one sign-up how to get one of their own.
pub(super) fn sign_up_again(to: &str, config: &Config) -> Mail {
    let product = config.product.as_str();
    Mail::of(to, &SignUpAgainText { product }, &SignUpAgainHtml { product })
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
    use bursar_runtime::Settings;
    use bursar_secret::Entropy;

    fn config() -> Config {
        let mut settings = Settings::for_test("/nowhere");
        settings.mail.link_base_url = "https://app.example/".to_owned();
        settings.mail.product = "Flik & Co".to_owned();
        Config::of(&settings)
    }

    #[test]
    fn the_link_stands_alone_on_its_line() {
        let token = Token::generate(&Entropy::seeded(1));
        let mail = verification("ada@example.com", &config(), &token);
        let link = format!("https://app.example/verify-email?token={}", token.to_text().expose());
        assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
        assert!(mail.text.contains("Welcome to Flik & Co") && mail.text.contains("for 24 hours"), "{}", mail.text);
        assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
        assert!(mail.html.contains("Welcome to Flik &#38; Co"), "{}", mail.html);
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("ada@example.com", "Confirm your email address"));
    }

    #[test]
    fn whoever_has_an_account_is_told_so_without_a_link() {
        let mail = already_registered("ada@example.com", &config());
        assert_eq!(mail.subject, "You already have an account");
        assert!(mail.text.starts_with("Somebody tried to sign up at Flik & Co"), "{}", mail.text);
        assert!(!mail.text.contains("token=") && !mail.html.contains("href"), "{mail:?}");
    }

    #[test]
    fn after_several_sign_ups_a_mail_has_no_link() {
        let mail = sign_up_again("ada@example.com", &config());
        assert_eq!(mail.subject, "Sign up again");
        assert!(!mail.text.contains("token=") && !mail.html.contains("href"), "{mail:?}");
    }

    #[test]
    fn lives_are_told_in_words() {
        assert_eq!(in_words(Span::from_mins(90)), "90 minutes");
        assert_eq!(in_words(Span::from_hours(36)), "36 hours");
    }
}
