//! That so much of a limit or of an allowance is used: whether anybody needs to hear of it, and what is mailed.

use askama::Template;
use bursar_mail::{Mail, quoted};
use bursar_proto::event::v1::{AllowanceAlert, LimitAlert};
use bursar_rpc::convert::required_timestamp;
use bursar_time::Timestamp;

use crate::{Reader, Whose};

/// What billing tells of use.
pub trait Alert {
    /// Which percentage it is about: the highest that was reached. `None`: nobody needs to hear of it, since its window or its
    /// period is over.
    fn reached(&self, now: Timestamp) -> Option<u32>;
}

impl Alert for LimitAlert {
    fn reached(&self, now: Timestamp) -> Option<u32> {
        let resets_at = required_timestamp(self.resets_at).ok();
        highest(&self.percents).filter(|_| !is_over(resets_at, now))
    }
}

impl Alert for AllowanceAlert {
    fn reached(&self, now: Timestamp) -> Option<u32> {
        let ends_at = required_timestamp(self.period_ends_at).ok();
        highest(&self.percents).filter(|_| !is_over(ends_at, now))
    }
}

/// They are told in order.
fn highest(percents: &[u32]) -> Option<u32> {
    percents.last().copied()
}

fn is_over(ends_at: Option<Timestamp>, now: Timestamp) -> bool {
    ends_at.is_some_and(|ends_at| ends_at <= now)
}

/// Whether more alerts like one are mailed on the same day: each service bounds them in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// They are.
    Mailed,
    /// Not all of them.
    Fewer,
    /// None of them.
    Stopped,
}

impl More {
    /// What their reader is told of that, after another sentence.
    fn said(self) -> &'static str {
        match self {
            Self::Mailed => "",
            Self::Fewer => " Of more alerts like this one not all are mailed today.",
            Self::Stopped => " More alerts like this one are not mailed today.",
        }
    }
}

/// What the mail about a limit says.
#[derive(Clone, Copy, Debug)]
pub struct LimitMail<'a> {
    /// What billing told.
    pub alert: &'a LimitAlert,
    /// The name of the member whose use it is, if it is a member's.
    pub member: Option<&'a str>,
    /// Whether its reader may see what single members use: else neither whose use it is nor any amount is said.
    pub sees: bool,
    /// Whether more like it are mailed today.
    pub more: More,
}

/// Whether a limit is about what all use together, for a project or with a model. Whatever else it is about is a single
/// member's use; an API key's, too, and that of which nobody has heard yet.
fn is_of_all(alert: &LimitAlert) -> bool {
    matches!(alert.subject.split_once(':'), Some(("project" | "model", _)))
}

/// The words of a letter about a limit.
struct LimitWords<'a> {
    tells: bool,
    account: &'a str,
    whose: &'a str,
    user: &'a str,
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
#[template(path = "limit_alert.txt")]
struct LimitAlertText<'a> {
    product: &'a str,
    it: &'a LimitWords<'a>,
}

#[derive(Template)]
#[template(path = "limit_alert.html")]
struct LimitAlertHtml<'a> {
    product: &'a str,
    it: &'a LimitWords<'a>,
}

/// Tells somebody that so much of a limit is used.
pub fn limit_alert(reader: Reader<'_>, about: &LimitMail<'_>) -> Mail {
    let Reader { addressee, product, unit } = reader;
    let LimitMail { alert, member, sees, more } = *about;
    let account = addressee.whose.called();
    let (whose, user) = match whose_use(&addressee.whose, alert, member) {
        Some(whose) => (format!("{whose} of "), account.clone()),
        None => (String::new(), addressee.whose.called_first()),
    };
    let resets_at = in_words(required_timestamp(alert.resets_at).ok());
    let unit = unit.called(alert.amount == "1");
    let it = LimitWords {
        tells: sees || is_of_all(alert),
        account: &account,
        whose: &whose,
        user: &user,
        used: &alert.used,
        amount: &alert.amount,
        unit: unit.as_str(),
        window: window(&alert.window),
        percent: highest(&alert.percents).unwrap_or_default(),
        consequence: if alert.mode == "HARD" {
            "What would go above the limit is refused."
        } else {
            "Nothing is refused."
        },
        resets_at: &resets_at,
        more: more.said(),
    };
    Mail::of(&addressee.to, &LimitAlertText { product, it: &it }, &LimitAlertHtml { product, it: &it })
}

/// Whose use within the account it is; `None`: that of the account's own reader, who is its only member.
fn whose_use(whose: &Whose, alert: &LimitAlert, member: Option<&str>) -> Option<String> {
    let named = |kind: &str, name: &str| Some(format!("{kind} {}", quoted(name)));
    match (member, alert.subject.split_once(':')) {
        (Some(name), _) => named("The member", name),
        (None, Some(("project", name))) => named("The project", name),
        (None, Some(("model", name))) => named("The model", name),
        (None, Some(("api_key", name))) => named("The API key", name),
        (None, _) if *whose == Whose::Own => None,
        (None, _) => Some("A member".to_owned()),
    }
}

fn window(told: &str) -> &'static str {
    match told {
        "HOUR" => "in an hour",
        "DAY" => "in a day",
        "MONTH" => "in a month",
        _ => "in a billing period",
    }
}

fn in_words(ends_at: Option<Timestamp>) -> String {
    ends_at.map_or_else(|| "its end".to_owned(), |at| at.to_string())
}

/// The words of a letter about an allowance.
struct AllowanceWords<'a> {
    account: &'a str,
    user: &'a str,
    used: &'a str,
    granted: &'a str,
    unit: &'a str,
    percent: u32,
    ends_at: &'a str,
    more: &'a str,
}

#[derive(Template)]
#[template(path = "allowance_alert.txt")]
struct AllowanceAlertText<'a> {
    product: &'a str,
    it: &'a AllowanceWords<'a>,
}

#[derive(Template)]
#[template(path = "allowance_alert.html")]
struct AllowanceAlertHtml<'a> {
    product: &'a str,
    it: &'a AllowanceWords<'a>,
}

/// Tells somebody that so much of the period's allowance is used, and whether more like it are mailed today.
pub fn allowance_alert(reader: Reader<'_>, alert: &AllowanceAlert, more: More) -> Mail {
    let Reader { addressee, product, unit } = reader;
    let (account, user) = (addressee.whose.called(), addressee.whose.called_first());
    let ends_at = in_words(required_timestamp(alert.period_ends_at).ok());
    let unit = unit.called(alert.granted == "1");
    let it = AllowanceWords {
        account: &account,
        user: &user,
        used: &alert.used,
        granted: &alert.granted,
        unit: unit.as_str(),
        percent: highest(&alert.percents).unwrap_or_default(),
        ends_at: &ends_at,
        more: more.said(),
    };
    Mail::of(&addressee.to, &AllowanceAlertText { product, it: &it }, &AllowanceAlertHtml { product, it: &it })
}

#[cfg(test)]
mod tests {
    use bursar_members::CreditUnit;
    use bursar_rpc::convert::to_timestamp;
    use bursar_time::Span;

    use super::*;
    use crate::Addressee;

    fn addressee(whose: Whose) -> Addressee {
        Addressee { to: "ada@example.com".to_owned(), whose }
    }

    fn acme() -> Addressee {
        addressee(Whose::Named("<b>Acme</b>".to_owned()))
    }

    fn reader(addressee: &Addressee, unit: CreditUnit) -> Reader<'_> {
        Reader { addressee, product: "Filmkit", unit }
    }

    /// 8.5 credits of a limit of 10 a day.
    fn limit() -> LimitAlert {
        LimitAlert {
            subject: "every_member".to_owned(),
            window: "DAY".to_owned(),
            mode: "HARD".to_owned(),
            amount: "10".to_owned(),
            used: "8.5".to_owned(),
            percents: vec![50, 80],
            resets_at: Some(to_timestamp(Timestamp::EPOCH)),
            ..LimitAlert::default()
        }
    }

    fn allowance(granted: &str) -> AllowanceAlert {
        AllowanceAlert {
            percents: vec![50, 80],
            used: "1200.5".to_owned(),
            granted: granted.to_owned(),
            period_ends_at: Some(to_timestamp(Timestamp::EPOCH)),
            ..AllowanceAlert::default()
        }
    }

    #[test]
    fn an_alert_says_whose_use_of_which_limit_and_quotes_the_names() {
        let acme = acme();
        let of = |alert: &LimitAlert, member: Option<&str>| {
            let (unit, more) = match member {
                None => (CreditUnit::WORDS, More::Stopped),
                Some(_) => (CreditUnit::CREDITS, More::Mailed),
            };
            limit_alert(reader(&acme, unit), &LimitMail { alert, member, sees: true, more })
        };
        let mail = of(&limit(), Some("Ben https://evil.example/x"));
        assert_eq!(
            (mail.to.as_str(), mail.subject.as_str()),
            ("ada@example.com", "80 % of a limit is used in \"<b>Acme< b>\"")
        );
        let begins =
            "The member \"Ben https evil example x\" of \"<b>Acme< b>\" has used 8.5 of the 10 credits that a limit";
        assert!(mail.text.starts_with(begins), "{}", mail.text);
        assert!(mail.html.contains(" of <strong>&#34;&#60;b&#62;Acme"), "{}", mail.html);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("used 8.5 of the 10 credits") && part.contains("in a day"), "{part}");
            assert!(part.contains("refused") && part.contains("1970-01-01T00:00:00Z"), "{part}");
            assert!(part.contains("The member") && !part.contains("evil.example"), "{part}");
            assert!(part.contains("on Filmkit") && !part.contains("are not mailed today"), "{part}");
        }
        assert!(!mail.html.contains("<b>"), "{}", mail.html);
        let project = LimitAlert { subject: "project:film".to_owned(), mode: "WARN".to_owned(), ..limit() };
        let mail = of(&project, None);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("used 8.5 of the 10 words") && !part.contains("credit"), "{part}");
            assert!(part.contains("are not mailed today"), "{part}");
        }
        assert!(mail.text.contains("The project") && mail.text.contains("Nothing is refused."), "{}", mail.text);
        let one = of(&LimitAlert { amount: "1".to_owned(), used: "0.5".to_owned(), ..project }, None);
        assert!(one.text.contains("used 0.5 of the 1 word that"), "{}", one.text);
        let unknown = of(&limit(), None);
        assert!(unknown.text.starts_with("A member of \"<b>Acme< b>\" has used"), "{}", unknown.text);
    }

    #[test]
    fn whose_use_it_is_and_how_much_is_hidden_from_who_may_not_see_it_but_not_what_all_use_together() {
        let acme = acme();
        let of = |subject: &str, member: Option<&str>| {
            let alert = LimitAlert { subject: subject.to_owned(), ..limit() };
            let about = LimitMail { alert: &alert, member, sees: false, more: More::Stopped };
            limit_alert(reader(&acme, CreditUnit::CREDITS), &about)
        };
        for (subject, member) in [
            ("every_member", Some("Ben")),
            ("every_member", None),
            ("member:usr_ben", Some("Ben")),
            ("member:usr_ben", None),
            ("api_key:key_1", None),
            ("of_tomorrow", None),
        ] {
            let mail = of(subject, member);
            assert_eq!(mail.subject, "80 % of a limit is used in \"<b>Acme< b>\"");
            for part in [&mail.text, &mail.html] {
                for hidden in ["Ben", "usr_ben", "key_1", "8.5", "10 credits"] {
                    assert!(!part.contains(hidden), "{subject}: {hidden} in {part}");
                }
                for told in ["80 % of what a limit on Filmkit allows", "in a day", "refused", "1970-01-01T00:00:00Z"] {
                    assert!(part.contains(told), "{subject}: no {told} in {part}");
                }
                assert!(part.contains("are not mailed today"), "{part}");
            }
        }
        for (subject, says) in [("project:film", "The project \"film\""), ("model:veo", "The model \"veo\"")] {
            let mail = of(subject, None);
            assert!(mail.text.starts_with(says) && mail.text.contains("used 8.5 of the 10 credits"), "{}", mail.text);
        }
    }

    #[test]
    fn an_alert_of_the_own_account_speaks_to_its_reader() {
        let ada = addressee(Whose::Own);
        for (subject, begins) in [
            ("every_member", "Your own account has used 8.5 of the 10 credits"),
            ("member:usr_1", "Your own account has used 8.5 of the 10 credits"),
            ("project:film", "The project \"film\" of your own account has used 8.5 of the 10 credits"),
            ("model:veo", "The model \"veo\" of your own account has used 8.5 of the 10 credits"),
            ("api_key:key_1", "The API key \"key_1\" of your own account has used 8.5 of the 10 credits"),
        ] {
            let alert = LimitAlert { subject: subject.to_owned(), ..limit() };
            let about = LimitMail { alert: &alert, member: None, sees: true, more: More::Mailed };
            let mail = limit_alert(reader(&ada, CreditUnit::CREDITS), &about);
            assert_eq!(mail.subject, "80 % of a limit is used in your own account");
            assert!(mail.text.starts_with(begins), "{}", mail.text);
        }
        let mail = allowance_alert(reader(&ada, CreditUnit::CREDITS), &allowance("1500"), More::Mailed);
        assert_eq!(mail.subject, "80 % of the allowance is used in your own account");
        assert!(mail.text.starts_with("Your own account has used 1200.5 of the 1500 credits"), "{}", mail.text);
    }

    #[test]
    fn an_allowances_alert_names_credits_as_the_deployment_does() {
        let acme = acme();
        for (unit, granted, says) in [
            (CreditUnit::CREDITS, "1500", "used 1200.5 of the 1500 credits"),
            (CreditUnit::WORDS, "1500", "used 1200.5 of the 1500 words"),
            (CreditUnit::WORDS, "1", "used 1200.5 of the 1 word that"),
        ] {
            let mail = allowance_alert(reader(&acme, unit), &allowance(granted), More::Mailed);
            assert_eq!(mail.subject, "80 % of the allowance is used in \"<b>Acme< b>\"");
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(says) && part.contains("80 %"), "{part}");
                assert!(part.contains("1970-01-01T00:00:00Z"), "{part}");
            }
            assert!(mail.html.contains("<strong>&#34;&#60;b&#62;Acme") && !mail.html.contains("<b>"), "{}", mail.html);
        }
    }

    #[test]
    fn every_alert_says_whether_more_like_it_are_mailed_today() {
        let acme = acme();
        for (more, says) in [
            (More::Mailed, None),
            (More::Fewer, Some(". Of more alerts like this one not all are mailed today.")),
            (More::Stopped, Some(". More alerts like this one are not mailed today.")),
        ] {
            let it = reader(&acme, CreditUnit::CREDITS);
            let of_limit = limit_alert(it, &LimitMail { alert: &limit(), member: None, sees: true, more });
            let of_allowance = allowance_alert(it, &allowance("1500"), more);
            for part in [of_limit.text, of_limit.html, of_allowance.text, of_allowance.html] {
                assert!(says.is_none_or(|says| part.contains(says)), "{more:?}: {part}");
                assert_eq!(part.contains("mailed today"), says.is_some(), "{more:?}: {part}");
            }
        }
    }

    #[test]
    fn of_what_is_over_nobody_needs_to_hear() {
        let (now, later) = (Timestamp::EPOCH, Timestamp::EPOCH.saturating_add(Span::SECOND));
        let at = |end: Option<Timestamp>, percents: &[u32]| {
            let (percents, end) = (percents.to_vec(), end.map(to_timestamp));
            let limit = LimitAlert { percents: percents.clone(), resets_at: end, ..LimitAlert::default() };
            let allowance = AllowanceAlert { percents, period_ends_at: end, ..AllowanceAlert::default() };
            [limit.reached(now), allowance.reached(now)]
        };
        for (end, percents, reached) in [
            (Some(later), &[50, 80][..], Some(80)),
            (Some(now), &[50, 80][..], None),
            (Some(later), &[][..], None),
            // Nobody knows.
            (None, &[50][..], Some(50)),
        ] {
            assert_eq!(at(end, percents), [reached; 2], "{end:?} {percents:?}");
        }
    }
}
