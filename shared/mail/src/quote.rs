//! Names and addresses that somebody chose, in mails to somebody else.

use std::iter;

use unicode_normalization::{UnicodeNormalization as _, is_nfkc};

/// The longest name that a mail repeats, in characters.
const MOST: usize = 60;

/// A name as a mail may repeat it: in quotation marks, so that it reads as a name and not as the sender's words; cut to a
/// bearable length; and without anything that a mail program makes a link of.
pub fn quoted(name: &str) -> String {
    loosened(name, is_joint)
}

/// What somebody chose, in quotation marks, with a space for each of these joints that holds two parts together.
fn loosened(text: &str, holds: impl Fn(char) -> bool) -> String {
    let letters: Vec<char> = text.chars().map(plain).collect();
    let is_word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|letter| !letter.is_whitespace());
    // What holds the parts of an address together is nothing to a name: `evil.example/win` becomes three words.
    let words = letters.iter().enumerate().map(|(at, letter)| {
        let joins = holds(*letter) && is_word(at.checked_sub(1)) && is_word(at.checked_add(1));
        if joins { ' ' } else { *letter }
    });
    let words: String = words.collect();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut characters = words.chars();
    let mut kept: String = characters.by_ref().take(MOST).collect();
    if characters.next().is_some() {
        kept.truncate(kept.trim_end().len());
        kept.push('…');
    }
    format!("\"{kept}\"")
}

/// An address as a mail may repeat it: as it is where nothing makes a link of a part of it, and otherwise in quotation marks,
/// without what makes one, but with its `@`, so that it still reads as the address that it is. Programs take the whole of
/// `ada.love+x@mail.example` for an address to write to, but of `evil.example/win@mail.example` and
/// `www.evil.example@mail.example` they may make a way to a site that its holder chose.
pub fn quoted_address(address: &str) -> String {
    let in_domain = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '+' | '-');
    let is_whole = address.split_once('@').is_some_and(|(local, domain)| {
        let is_local = |letter: char| in_domain(letter) || letter == '\'';
        !local.is_empty() && !domain.is_empty() && local.chars().all(is_local) && domain.chars().all(in_domain)
    });
    // What folds to something else may be a dot or a `www` to a program.
    if is_whole && is_nfkc(address) && !begins_a_site(address) && !ends_a_site(address) {
        return address.to_owned();
    }
    loosened(address, |letter| letter != '@' && is_joint(letter))
}

/// Whether something before an apostrophe in an address reads as the name of a site, which may end there for a program: a dot
/// and a part of more than one letter. `j.o'hara@mail.example` has none, `evil.example'x@mail.example` has.
fn ends_a_site(address: &str) -> bool {
    let mut parts = address.split('\'');
    parts.next_back();
    parts.any(|part| part.split('.').skip(1).any(|label| label.chars().nth(1).is_some()))
}

/// Whether something in an address begins as the name of a site does, which programs take for one without its `https://`.
fn begins_a_site(address: &str) -> bool {
    let folded = address.to_ascii_lowercase();
    let mut labels = folded.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
    labels.any(|label| matches!(label, "www." | "ftp."))
}

/// Control characters and whatever could end the quotation are something harmless instead.
fn plain(letter: char) -> char {
    match alone(letter) {
        Some(
            '"' | '“' | '”' | '„' | '‟' | '«' | '»' | '❝' | '❞' | '❠' | '〝' | '〞' | '〟' | '〃' | '⹂' | '״' | 'ˮ'
            | 'ʺ' | '˵' | '˶',
        ) => '\'',
        // These fold to several characters each.
        _ if matches!(letter, '″' | '‶' | '‴' | '‷' | '⁗' | '˝') => '\'',
        _ if ('\u{1f676}'..='\u{1f678}').contains(&letter) => '\'',
        _ if letter.is_control() => ' ',
        _ => letter,
    }
}

/// What stands between the parts of an address, in any of the forms that programs take for it, or that look like it.
fn is_joint(letter: char) -> bool {
    let is_plain = |letter: char| matches!(letter, '.' | '/' | '\\' | ':' | '@');
    match alone(letter) {
        Some(letter) => is_plain(letter) || matches!(letter, '。' | '⁄' | '∕' | '⧸' | '∖' | '⧵' | '∶' | '꞉'),
        // Dots in a row are a pause, and no address has them.
        None if matches!(letter, '…' | '‥') => false,
        // `⒈` is a digit and a dot to whoever folds it.
        None => iter::once(letter).nfkc().any(is_plain),
    }
}

/// What a character is by its compatibility form, which programs may take for it (`．` is a dot, `＂` a quotation mark);
/// `None` where that is more than one.
fn alone(letter: char) -> Option<char> {
    let mut folded = iter::once(letter).nfkc();
    folded.next().filter(|_| folded.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_bounded_and_no_link() {
        let cases = [
            ("Acme", "Acme"),
            ("Acme Inc.", "Acme Inc."),
            ("Ada & Sons: Films", "Ada & Sons: Films"),
            ("https://evil.example/win", "https evil example win"),
            ("www.evil.example", "www evil example"),
            ("mail eve@evil.example now", "mail eve evil example now"),
            ("evil。example／win", "evil example win"),
            ("evil..example", "evil example"),
            ("Acme\" – your account is closed “", "Acme' – your account is closed '"),
            ("Acme＂ – your account is closed 〝", "Acme' – your account is closed '"),
            ("Acme❞ – your account is closed ❝", "Acme' – your account is closed '"),
            ("Acme〞 – your account is closed ″", "Acme' – your account is closed '"),
            ("Acmeʺ – your account is closed ˶", "Acme' – your account is closed '"),
            ("Acme‴ – your account is closed ⁗", "Acme' – your account is closed '"),
            ("Acme‷ – your account is closed ˵", "Acme' – your account is closed '"),
            ("Wait…what‥no", "Wait…what‥no"),
            ("evil․example", "evil example"),
            ("evil﹒example﹨win", "evil example win"),
            ("https﹕evil", "https evil"),
            ("eve﹫evil⒈example", "eve evil example"),
            ("вечер.example", "вечер example"),
            ("évil．example", "évil example"),
            ("Acme™ ½ price", "Acme™ ½ price"),
            ("one\r\nBcc: two", "one Bcc: two"),
            (" \t", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(quoted(name), format!("\"{expected}\""), "{name:?}");
        }
        let long = quoted(&"ж".repeat(500));
        assert_eq!(long, format!("\"{}…\"", "ж".repeat(60)));
    }

    #[test]
    fn an_address_stands_as_it_is_unless_a_part_of_it_reads_as_a_link() {
        let as_they_are = [
            "ada@example.com",
            "Ada.Love+films_1-x@Sub-1.Example.COM",
            "evil.example@mail.example",
            "awww.ada@mail.example",
            "www@mail.example",
            "ada@ftpserver.example",
            "a@b",
            "o'hara@mail.example",
            "J.O'Hara+x@Sub-1.Example.COM",
            "d'evil.example@mail.example",
            "jürgen.groß@müller.example",
            "иван@почта.example",
            "太郎@例え.example",
        ];
        for address in as_they_are {
            assert_eq!(quoted_address(address), address);
        }
        let cases = [
            ("evil.example/win@mail.example", "evil example win@mail example"),
            ("https//evil.example@mail.example", "https evil example@mail example"),
            ("https://evil.example@mail.example", "https evil example@mail example"),
            ("win?at=evil.example@mail.example", "win?at=evil example@mail example"),
            ("~win#evil.example@mail.example", "~win#evil example@mail example"),
            ("www.evil.example@mail.example", "www evil example@mail example"),
            ("WWW.evil.example@mail.example", "WWW evil example@mail example"),
            ("ada+www.evil.example@mail.example", "ada+www evil example@mail example"),
            ("ada.www.evil.example@mail.example", "ada www evil example@mail example"),
            ("o'www.evil.example@mail.example", "o'www evil example@mail example"),
            ("evil.example'x@mail.example", "evil example'x@mail example"),
            ("evil.example.'x@mail.example", "evil example 'x@mail example"),
            ("ada@b'evil.example", "ada@b'evil example"),
            ("ada@www.evil.example", "ada@www evil example"),
            ("ftp.evil.example@mail.example", "ftp evil example@mail example"),
            ("ada!x@mail.example", "ada!x@mail example"),
            ("ada", "ada"),
            ("@mail.example", "@mail example"),
            ("ada@b@mail.example", "ada@b@mail example"),
            ("ada love@mail.example", "ada love@mail example"),
            ("evil。example@mail.example", "evil example@mail example"),
            ("evil＠evil.example", "evil evil example"),
            ("ｗｗｗ.evil.example@mail.example", "ｗｗｗ evil example@mail example"),
            ("ada⒈evil@mail.example", "ada evil@mail example"),
            ("éwww.evil.example@mail.example", "éwww evil example@mail example"),
            ("", ""),
        ];
        for (address, expected) in cases {
            assert_eq!(quoted_address(address), format!("\"{expected}\""), "{address:?}");
        }
        let long = quoted_address(&format!("{}/x@mail.example", "a".repeat(62)));
        assert_eq!(long, format!("\"{}…\"", "a".repeat(60)));
    }
}
