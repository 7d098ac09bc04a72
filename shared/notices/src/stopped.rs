//! What is mailed about an automatic top-up that was switched off.

use askama::Template;
use bursar_mail::{Mail, quoted};
use bursar_proto::event::v1::TopUpStopped;

use crate::{Reader, Whose};

/// The words of a letter about a top-up.
struct Words<'a> {
    is_own: bool,
    account: &'a str,
    pack: &'a str,
    unit: &'a str,
    why: &'a str,
}

#[derive(Template)]
#[template(path = "top_up_stopped.txt")]
struct TopUpStoppedText<'a> {
    product: &'a str,
    it: &'a Words<'a>,
}

#[derive(Template)]
#[template(path = "top_up_stopped.html")]
struct TopUpStoppedHtml<'a> {
    product: &'a str,
    it: &'a Words<'a>,
}

/// Tells whoever had switched an automatic top-up on that it is off.
pub fn top_up_stopped(reader: Reader<'_>, stopped: &TopUpStopped) -> Mail {
    let Reader { addressee, product, unit } = reader;
    let (account, pack) = (addressee.whose.called(), quoted(&stopped.pack_id));
    let it = Words {
        is_own: addressee.whose == Whose::Own,
        account: &account,
        pack: &pack,
        unit: unit.plural.as_str(),
        why: match stopped.reason.as_str() {
            "PAYMENT_DECLINED" => "Three payments in a row were declined, or needed you to confirm them.",
            "PACK_NOT_FOUND" => "The pack is not for sale any more.",
            _ => "Its payment method is not there any more.",
        },
    };
    Mail::of(&addressee.to, &TopUpStoppedText { product, it: &it }, &TopUpStoppedHtml { product, it: &it })
}

#[cfg(test)]
mod tests {
    use bursar_members::CreditUnit;

    use super::*;
    use crate::Addressee;

    fn mailed(whose: Whose, reason: &str) -> Mail {
        let stopped =
            TopUpStopped { reason: reason.to_owned(), pack_id: "starter".to_owned(), ..TopUpStopped::default() };
        let addressee = Addressee { to: "ada@example.com".to_owned(), whose };
        top_up_stopped(Reader { addressee: &addressee, product: "Filmkit", unit: CreditUnit::WORDS }, &stopped)
    }

    #[test]
    fn a_stopped_top_up_says_why_and_quotes_the_names() {
        for (reason, why) in [
            ("PAYMENT_DECLINED", "Three payments in a row"),
            ("PACK_NOT_FOUND", "not for sale any more"),
            ("PAYMENT_METHOD_REQUIRED", "payment method is not there"),
        ] {
            let mail = mailed(Whose::Named("<b>Acme</b>".to_owned()), reason);
            assert_eq!(mail.subject, "The automatic top-up of \"<b>Acme< b>\" is switched off");
            for part in [&mail.text, &mail.html] {
                assert!(part.contains(why) && part.contains("starter"), "{part}");
                assert!(part.contains("too few words") && !part.contains("credit"), "{part}");
            }
            assert!(mail.html.contains("<strong>&#34;&#60;b&#62;Acme") && !mail.html.contains("<b>"), "{}", mail.html);
        }
    }

    #[test]
    fn the_own_top_up_that_stopped_is_called_the_readers() {
        let mail = mailed(Whose::Own, "PAYMENT_DECLINED");
        assert_eq!(
            (mail.to.as_str(), mail.subject.as_str()),
            ("ada@example.com", "Your automatic top-up is switched off")
        );
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("The automatic top-up of your own account on Filmkit, which"), "{part}");
            assert!(part.contains("too few words") && !part.contains("credit"), "{part}");
        }
    }
}
