//! Names that somebody chose, in mails to somebody else.

/// The longest name that a mail repeats, in characters.
const MOST: usize = 60;

/// A name as a mail may repeat it: in quotation marks, so that it reads as a name and not as the sender's words; cut to a
/// bearable length; and without anything that a mail program makes a link of.
pub fn quoted(name: &str) -> String {
    let letters: Vec<char> = name.chars().map(plain).collect();
    let is_word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|letter| !letter.is_whitespace());
    // What holds the parts of an address together is nothing to a name: `evil.example/win` becomes three words.
    let loosened = letters.iter().enumerate().map(|(at, letter)| {
        let joins = is_joint(*letter) && is_word(at.checked_sub(1)) && is_word(at.checked_add(1));
        if joins { ' ' } else { *letter }
    });
    let words: String = loosened.collect();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut characters = words.chars();
    let mut kept: String = characters.by_ref().take(MOST).collect();
    if characters.next().is_some() {
        kept.truncate(kept.trim_end().len());
        kept.push('…');
    }
    format!("\"{kept}\"")
}

/// Control characters and whatever could end the quotation are something harmless instead.
fn plain(letter: char) -> char {
    match letter {
        '"' | '“' | '”' | '„' | '‟' | '«' | '»' => '\'',
        letter if letter.is_control() => ' ',
        letter => letter,
    }
}

/// What stands between the parts of an address, in any of the forms that programs take for it.
fn is_joint(letter: char) -> bool {
    matches!(letter, '.' | '/' | '\\' | ':' | '@' | '․' | '。' | '．' | '｡' | '／' | '：' | '＠' | '⁄' | '∕')
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
            ("one\r\nBcc: two", "one Bcc: two"),
            (" \t", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(quoted(name), format!("\"{expected}\""), "{name:?}");
        }
        let long = quoted(&"ж".repeat(500));
        assert_eq!(long, format!("\"{}…\"", "ж".repeat(60)));
    }
}
