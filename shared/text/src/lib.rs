//! Texts for people that are what they seem: names and descriptions without characters that nobody sees, that turn the
//! text around, or that are none.
//!
//! [`name`] follows the nickname profile of PRECIS (RFC 8266: spaces are one sort of space, none at the ends, never two;
//! NFC) and the general security profile of UTS #39 where the two leave something open: default-ignorable and bidirectional
//! controls are refused. What joins letters (ZERO WIDTH JOINER and NON-JOINER) stays where it has a meaning: after a
//! virama (RFC 5892, appendix A) and the joiner between emoji. [`line()`] is the same for texts whose spaces are kept as they are,
//! and [`prose`] for texts of several lines.
//!
//! Letters that look like others (confusables: the Cyrillic `а` in place of the Latin `a`, `l` of `I`, `０` of `0`) are letters,
//! and several scripts may be in one text: firms are called `Łódź 株式会社`, and of two alphabets that share most shapes a whole
//! word can be written in either, so no rule about a text by itself would tell the two words apart. What is kept is what was
//! written, NFC and no further. A name is therefore no proof of anybody and unique nowhere: who that is, an id, a proven address
//! or an organization's slug says, which has `a` to `z`, digits and hyphens alone.
//!
//! Characters are Unicode's code points, after normalization; nothing here counts bytes.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeEmoji as _, UnicodeGeneralCategory as _};

const JOINER: char = '\u{200d}';
const NON_JOINER: char = '\u{200c}';
/// Asks for an emoji's picture in colour.
const PICTURE: char = '\u{fe0f}';
/// The combining class of viramas.
const VIRAMA: u8 = 9;
/// How many marks may sit on one letter: more are a tower that covers its neighbours.
const MARKS: usize = 4;
/// What a text may have before normalization for each character that it may have after: bounds the work for any input.
const BEFORE: usize = 8;

/// Why a text is refused. No message repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is there.
    #[error("must not be empty")]
    Empty,
    /// Too many characters.
    #[error("must have at most {most} characters")]
    TooLong {
        /// How many there may be.
        most: usize,
    },
    /// A line break, a tab or another control character.
    #[error("must have no control characters (U+{:04X})", u32::from(*.0))]
    Control(char),
    /// A character that nobody sees, or that turns the text around it.
    #[error("must have no invisible characters or marks of direction (U+{:04X})", u32::from(*.0))]
    Invisible(char),
    /// A code point that is no character: private, unassigned or a replacement for one that was lost.
    #[error("must have characters only (U+{:04X} is none)", u32::from(*.0))]
    NoCharacter(char),
    /// A mark without a letter, or more on one letter than can be read.
    #[error("must have at most {MARKS} combining marks on a letter, and none without a letter")]
    Marks,
}

/// A name of 1 to `most` characters: in NFC, every space a plain one, single, and none at the ends.
pub fn name(text: &str, most: usize) -> Result<String, TextError> {
    bounded(text, most)?;
    let mut spaced = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match is_space(c) {
            true if spaced.ends_with(' ') => {}
            true => spaced.push(' '),
            false => spaced.push(c),
        }
    }
    let name = checked(&spaced, most, |_| false)?;
    if name.is_empty() { Err(TextError::Empty) } else { Ok(name) }
}

/// A text of up to `most` characters, in NFC, that may be empty: on one line, with its spaces as they are.
pub fn line(text: &str, most: usize) -> Result<String, TextError> {
    bounded(text, most)?;
    checked(text, most, |_| false)
}

/// A text of up to `most` characters, in NFC, that may be empty and have line breaks and tabs.
pub fn prose(text: &str, most: usize) -> Result<String, TextError> {
    bounded(text, most)?;
    checked(text, most, |c| matches!(c, '\n' | '\r' | '\t'))
}

fn bounded(text: &str, most: usize) -> Result<(), TextError> {
    let room = most.saturating_mul(BEFORE);
    let is_longer = text.len() > room && text.chars().nth(room).is_some();
    if is_longer { Err(TextError::TooLong { most }) } else { Ok(()) }
}

fn is_space(c: char) -> bool {
    c == ' ' || (!c.is_ascii() && c.general_category() == GeneralCategory::SpaceSeparator)
}

/// The text in NFC, if every character of it may stand where it stands. Of the printable ones of ASCII each may, as it is:
/// most texts have no others, and need none of Unicode's tables.
fn checked(text: &str, most: usize, control_allowed: impl Fn(char) -> bool) -> Result<String, TextError> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return looked_up(text, most, control_allowed);
    }
    if text.len() > most { Err(TextError::TooLong { most }) } else { Ok(text.to_owned()) }
}

/// The same for texts of any script.
fn looked_up(text: &str, most: usize, control_allowed: impl Fn(char) -> bool) -> Result<String, TextError> {
    let text: String = text.nfc().collect();
    let (mut before, mut marks) = (None, None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !control_allowed(c) {
            stands(before, c, rest.peek().copied())?;
        }
        marks = match (marks, is_combining_mark(c) && c != PICTURE) {
            (_, false) => (!c.is_whitespace()).then_some(0),
            (None | Some(MARKS), true) => return Err(TextError::Marks),
            (Some(marks), true) => Some(marks + 1),
        };
        before = Some(c);
    }
    if text.chars().count() > most { Err(TextError::TooLong { most }) } else { Ok(text) }
}

/// Whether a character may stand between these two.
fn stands(before: Option<char>, c: char, after: Option<char>) -> Result<(), TextError> {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    match c.general_category() {
        Control | LineSeparator | ParagraphSeparator => Err(TextError::Control(c)),
        PrivateUse | Surrogate | Unassigned => Err(TextError::NoCharacter(c)),
        Format if joins(before, c, after) => Ok(()),
        Format => Err(TextError::Invisible(c)),
        _ if matches!(c, '\u{fffc}' | '\u{fffd}') => Err(TextError::NoCharacter(c)),
        _ if c == PICTURE && before.is_some_and(is_picture) => Ok(()),
        _ if is_hidden(c) => Err(TextError::Invisible(c)),
        _ => Ok(()),
    }
}

/// Whether a joiner has a meaning here: it shapes the letters of scripts with viramas, and makes one picture of two.
fn joins(before: Option<char>, c: char, after: Option<char>) -> bool {
    let shapes = before.is_some_and(|before| canonical_combining_class(before) == VIRAMA);
    let pictures =
        before.is_some_and(|before| before == PICTURE || is_picture(before)) && after.is_some_and(is_picture);
    match c {
        NON_JOINER => shapes,
        JOINER => shapes || pictures,
        _ => false,
    }
}

/// Digits and signs that begin emoji of several characters are none by themselves.
fn is_picture(c: char) -> bool {
    !c.is_ascii() && c.is_emoji_char()
}

/// What draws nothing and is no format character: Unicode's default-ignorable letters and marks (fillers, selectors of
/// variants, the grapheme joiner), and the blank of Braille.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{1d159}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(text: &str) -> Result<String, TextError> {
        name(text, 100)
    }

    #[test]
    fn names_of_many_scripts_are_names() {
        let same = [
            "Ada",
            "Ada Lovelace",
            "李小龍",
            "株式会社",
            "Łódź & Söhne",
            "Мария",
            "محمد",
            "דָּוִד",
            "ราชา",
            "O’Hara",
            "Team 🚀",
            "❤️",
            // Joiners that mean something: after a virama, and in a picture of two.
            "शक्\u{200d}ति",
            "ශ්\u{200d}රී",
            "👩\u{200d}💻 Ada",
            "🏳️\u{200d}🌈",
            "x² + y²",
        ];
        for text in same {
            assert_eq!(named(text).as_deref(), Ok(text), "{text}");
        }
    }

    #[test]
    fn names_are_normalized() {
        let table = [
            ("  Ada \t", "Ada"),
            ("Cafe\u{301}", "Caf\u{e9}"),
            ("A\u{30a}sa", "\u{c5}sa"),
            ("Ada\u{a0}Lovelace", "Ada Lovelace"),
            ("Ada\u{3000}\u{2003}  Lovelace", "Ada Lovelace"),
            ("\u{212b}sa", "\u{c5}sa"),
        ];
        for (text, name) in table {
            assert_eq!(named(text).as_deref(), Ok(name), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_what_it_seems_is_refused() {
        use TextError::{Control, Invisible, Marks, NoCharacter};
        let invisible = "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2061}\
            \u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{ad}\u{61c}\u{180e}\u{34f}\u{115f}\u{1160}\u{3164}\u{ffa0}\u{2800}\
            \u{fe00}\u{fe0f}\u{e0100}\u{e0001}\u{e0041}\u{fff9}\u{1d173}\u{17b4}";
        for c in invisible.chars() {
            assert_eq!(named(&format!("a{c}b")), Err(Invisible(c)), "U+{:04X}", u32::from(c));
        }
        for c in "\u{0}\u{7}\u{1b}\n\r\t\u{7f}\u{85}\u{2028}\u{2029}".chars() {
            assert_eq!(named(&format!("a{c}b")), Err(Control(c)), "U+{:04X}", u32::from(c));
        }
        for c in "\u{fffe}\u{ffff}\u{fdd0}\u{1ffff}\u{10ffff}\u{e000}\u{f0000}\u{fffd}\u{fffc}\u{378}".chars() {
            assert_eq!(named(&format!("a{c}b")), Err(NoCharacter(c)), "U+{:04X}", u32::from(c));
        }
        assert_eq!(named("\u{200b}"), Err(Invisible('\u{200b}')), "nothing but what nobody sees");
        assert_eq!(named("\u{202e}nimda"), Err(Invisible('\u{202e}')));
        assert_eq!(named("👩\u{200d}"), Err(Invisible(JOINER)), "nothing is joined");
        assert_eq!(named("1\u{fe0f}"), Err(Invisible(PICTURE)));
        assert_eq!(named("\u{301}a"), Err(Marks));
        assert_eq!(named(&format!("z{}", "\u{316}".repeat(5))), Err(Marks));
        assert_eq!(named(&"\u{316}".repeat(90)), Err(Marks));
        for empty in ["", "  ", "\u{3000}", "\t"] {
            assert_eq!(named(empty), Err(TextError::Empty), "{empty:?}");
        }
    }

    /// Each two are read as one and are two: neither is refused, and neither becomes the other.
    #[test]
    fn letters_that_look_like_others_are_letters() {
        let table = [
            // One letter of another script, all of them, and letters of one script.
            ("Acme", "\u{410}cme"),
            ("admin", "\u{430}dmin"),
            ("Google", "G\u{43e}\u{43e}gle"),
            ("Acme", "\u{410}\u{441}\u{43c}\u{435}"),
            ("Ohm", "\u{39f}hm"),
            ("Il", "ll"),
            ("m", "rn"),
            // Digits, dashes and other shapes of the same letters, which only a compatible form would fold.
            ("Studio 0", "Studio O"),
            ("Acme", "\u{ff21}\u{ff43}\u{ff4d}\u{ff45}"),
            ("Acme", "\u{1d400}cme"),
            ("A-B", "A\u{2010}B"),
        ];
        for (one, other) in table {
            assert_eq!((named(one).as_deref(), named(other).as_deref()), (Ok(one), Ok(other)));
            assert_ne!(one, other);
        }
        for mixed in ["\u{141}\u{f3}d\u{17a} 株式会社", "IKEA Химки", "Team \u{3a9}"] {
            assert_eq!(named(mixed).as_deref(), Ok(mixed), "scripts may be mixed");
        }
    }

    #[test]
    fn lengths_are_characters() {
        for c in ["x", "ж", "🚀", "\u{e9}"] {
            assert!(name(&c.repeat(100), 100).is_ok(), "{c}");
            assert_eq!(name(&c.repeat(101), 100), Err(TextError::TooLong { most: 100 }), "{c}");
        }
        assert_eq!(name(&"e\u{301}".repeat(100), 100).map(|name| name.chars().count()), Ok(100), "as they are kept");
        assert_eq!(name(&" ".repeat(1_000_000), 100), Err(TextError::TooLong { most: 100 }), "before any work");
    }

    #[test]
    fn prose_keeps_its_lines() {
        for text in ["", "One line", "Two\r\nlines\tand a tab", " kept  as it is "] {
            assert_eq!(prose(text, 100).as_deref(), Ok(text));
        }
        assert_eq!(prose("a\u{1b}[31mb", 100), Err(TextError::Control('\u{1b}')));
        assert_eq!(prose("a\u{202e}b", 100), Err(TextError::Invisible('\u{202e}')));
        assert_eq!(prose(&"x".repeat(101), 100), Err(TextError::TooLong { most: 100 }));
    }

    #[test]
    fn a_line_keeps_its_spaces_and_has_no_second() {
        for text in ["", " ", "a  b ", "x=1;  y=2"] {
            assert_eq!(line(text, 100).as_deref(), Ok(text));
        }
        assert_eq!(line("Cafe\u{301} ", 5).as_deref(), Ok("Caf\u{e9} "));
        assert_eq!(line("a\nb", 100), Err(TextError::Control('\n')));
        assert_eq!(line("a\u{200b}b", 100), Err(TextError::Invisible('\u{200b}')));
        assert_eq!(line(&"x".repeat(101), 100), Err(TextError::TooLong { most: 100 }));
    }

    #[test]
    fn refusals_name_the_code_point_and_nothing_else() {
        let said = named("secret\u{202e}").map_err(|error| error.to_string());
        assert_eq!(said, Err("must have no invisible characters or marks of direction (U+202E)".to_owned()));
    }

    #[test]
    fn the_spaces_of_ascii_are_those_of_the_table() {
        for c in '\0'..='\u{ff}' {
            assert_eq!(is_space(c), c.general_category() == GeneralCategory::SpaceSeparator, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn fuzz_texts() {
        let samples = ["Ada Lovelace", "क्‍ष", "👩‍🚀 crew", "e\u{301}\u{323}", "Line\nand\tline", "العربية"];
        bursar_fuzz::fuzz("texts", &samples, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(name) = name(&text, 40) {
                assert_eq!(super::name(&name, 40).as_ref(), Ok(&name), "a name that is not its own spelling");
                assert!(!name.chars().any(char::is_control), "{name:?}");
                assert!((1..=40).contains(&name.chars().count()), "{name:?}");
            }
            if let Ok(prose) = prose(&text, 200) {
                assert_eq!(super::prose(&prose, 200).as_ref(), Ok(&prose), "a text that is not its own spelling");
            }
        });
    }

    proptest! {
        #[test]
        fn a_name_is_its_own_name(text in "\\PC{0,40}") {
            if let Ok(once) = named(&text) {
                prop_assert_eq!(named(&once), Ok(once));
            }
        }

        /// What needs no tables comes to the same by them.
        #[test]
        fn plain_texts_are_what_the_tables_make_of_them(text in "[ -~]{0,40}|[\\x00-\\x7f]{0,40}|\\PC{0,40}", most in 0_usize..50) {
            let lines = |c: char| matches!(c, '\n' | '\r' | '\t');
            prop_assert_eq!(checked(&text, most, |_| false), looked_up(&text, most, |_| false));
            prop_assert_eq!(checked(&text, most, lines), looked_up(&text, most, lines));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), most in 0_usize..50) {
            let _ = (name(&text, most), prose(&text, most));
        }
    }
}
