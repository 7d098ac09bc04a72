//! Slugs: what names an organization in an address.
//!
//! How long nobody else gets what an organization had is another rule (`former_slugs.rs`, `standing.rs`).

use std::fmt;

/// Shortest slug in characters.
pub const MIN: usize = 3;
/// Longest slug in characters.
pub const MAX: usize = 63;

/// What a slug must not be: words that a product puts in the same place of its addresses, or that would let an
/// organization pass for somebody else. One a line, sorted; `#` begins a comment.
const RESERVED: &str = include_str!("reserved_slugs.txt");

/// What addresses begin with that are read as another script: a slug is never the name of another one.
const PUNYCODE: &str = "xn--";

/// What a slug is made from when the name has no letters that this module can write in ASCII.
const FALLBACK: &str = "team";

/// A slug: 3–63 of `a-z`, `0-9` and `-`, no hyphen at either end, not reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slug(String);

/// Why a text is not a slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlugError {
    /// Fewer than [`MIN`] or more than [`MAX`] characters.
    Length,
    /// Something else than letters `a-z`, `0-9` and `-`.
    Character,
    /// A hyphen at an end.
    Hyphen,
    /// A word that no organization may have.
    Reserved,
}

impl fmt::Display for SlugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a slug has 3 to 63 characters",
            Self::Character => "a slug has letters a-z, digits and hyphens only",
            Self::Hyphen => "a slug neither begins nor ends with a hyphen",
            Self::Reserved => "this slug is reserved; choose another one",
        })
    }
}

impl std::error::Error for SlugError {}

impl Slug {
    /// Reads a slug that somebody chose; upper-case letters count as lower-case ones.
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        let slug = Self::given(text)?;
        if slug.is_reserved() { Err(SlugError::Reserved) } else { Ok(slug) }
    }

    /// Reads a slug by which somebody looks for an organization. It may have had it since before the word was reserved.
    pub fn given(text: &str) -> Result<Self, SlugError> {
        let text = text.to_ascii_lowercase();
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            Err(SlugError::Character)
        } else if !(MIN..=MAX).contains(&text.len()) {
            Err(SlugError::Length)
        } else if text.starts_with('-') || text.ends_with('-') {
            Err(SlugError::Hyphen)
        } else {
            Ok(Self(text))
        }
    }

    /// Whether nobody may choose it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(PUNYCODE) || reserved().any(|word| word == self.0)
    }

    /// The slug to try at the `attempt`-th time (from 0) for an organization of this name: first what the
    /// name says, then that with ever more random characters, so that many organizations of one name do not
    /// have to queue up through one another's slugs.
    pub fn generate(name: &str, attempt: u32, random: u64) -> Self {
        let base = base_of(name);
        if attempt == 0
            && let Ok(slug) = Self::parse(&base)
        {
            return slug;
        }
        let tail = random_tail(if attempt <= 1 { 4 } else { 10 }, random);
        let room = MAX - tail.len() - 1;
        let head = base.get(..room.min(base.len())).unwrap_or_default().trim_matches('-');
        let head = if head.is_empty() { FALLBACK } else { head };
        Self(format!("{head}-{tail}"))
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn reserved() -> impl Iterator<Item = &'static str> {
    RESERVED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The name in the characters of a slug, with single hyphens between its words; may be short or empty.
fn base_of(name: &str) -> String {
    let mut base = String::with_capacity(name.len());
    let mut gap = false;
    for c in name.chars().flat_map(char::to_lowercase) {
        let piece = ascii(c);
        if piece == "-" {
            gap = !base.is_empty();
        } else if !piece.is_empty() {
            if std::mem::take(&mut gap) {
                base.push('-');
            }
            base.push_str(piece);
        }
    }
    base.truncate(MAX);
    base.truncate(base.trim_end_matches('-').len());
    base
}

/// How a lower-case character is written in a slug: as itself, as its nearest Latin letters, as `-` where it
/// parts words, or not at all.
fn ascii(c: char) -> &'static str {
    const PLAIN: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    if let Some(at) = PLAIN.find(c) {
        return PLAIN.get(at..=at).unwrap_or_default();
    }
    match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ả' | 'ạ' | 'α' | 'ά' | 'а' => "a",
        'ä' | 'æ' => "ae",
        'β' | 'в' | 'ѵ' => "v",
        'б' => "b",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' | 'δ' | 'д' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẻ' | 'ẽ' | 'ế' | 'ε' | 'έ' | 'е' | 'ё' | 'э' => {
            "e"
        }
        'φ' | 'ф' => "f",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' | 'γ' | 'г' | 'ґ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'η' | 'ή' | 'ι' | 'ί' | 'и' | 'і' | 'ї' => {
            "i"
        }
        'ĵ' => "j",
        'ķ' | 'κ' | 'к' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' | 'λ' | 'л' => "l",
        'μ' | 'м' => "m",
        'ñ' | 'ń' | 'ņ' | 'ň' | 'ν' | 'н' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ο' | 'ό' | 'ω' | 'ώ' | 'о' => "o",
        'ö' | 'œ' => "oe",
        'π' | 'п' => "p",
        'ŕ' | 'ř' | 'ρ' | 'р' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'σ' | 'ς' | 'с' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ț' | 'τ' | 'т' => "t",
        'þ' | 'θ' => "th",
        'ù' | 'ú' | 'û' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'у' => "u",
        'ü' => "ue",
        'ŵ' => "w",
        'ξ' => "x",
        'ý' | 'ÿ' | 'ŷ' | 'υ' | 'ύ' | 'й' | 'ы' => "y",
        'ź' | 'ż' | 'ž' | 'ζ' | 'з' => "z",
        'ж' => "zh",
        'χ' | 'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ψ' => "ps",
        'ю' => "yu",
        'я' => "ya",
        'є' => "ye",
        // An apostrophe does not part a word, and a combining mark belongs to the letter before.
        '\'' | '’' | 'ъ' | 'ь' | '\u{300}'..='\u{36f}' => "",
        _ => "-",
    }
}

/// Characters that cannot be taken for one another.
fn random_tail(length: usize, random: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let letter = |at: usize| char::from(LETTERS[(random >> (5 * at) & 31) as usize]);
    (0..length).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs_are_told_from_other_texts() {
        let cases = [
            ("acme", Ok("acme")),
            ("a-1", Ok("a-1")),
            ("a--b", Ok("a--b")),
            ("007", Ok("007")),
            ("", Err(SlugError::Length)),
            ("ab", Err(SlugError::Length)),
            ("-acme", Err(SlugError::Hyphen)),
            ("acme-", Err(SlugError::Hyphen)),
            ("---", Err(SlugError::Hyphen)),
            ("Acme", Ok("acme")),
            ("ADMIN", Err(SlugError::Reserved)),
            ("Xn--80ak6aa92e", Err(SlugError::Reserved)),
            ("acm\u{212a}", Err(SlugError::Character)),
            ("acme corp", Err(SlugError::Character)),
            ("ac_me", Err(SlugError::Character)),
            ("acmé", Err(SlugError::Character)),
            ("acme\0", Err(SlugError::Character)),
            ("admin", Err(SlugError::Reserved)),
            ("www", Err(SlugError::Reserved)),
            ("xn--80ak6aa92e", Err(SlugError::Reserved)),
            ("xn--", Err(SlugError::Hyphen)),
            ("xn-a", Ok("xn-a")),
        ];
        for (text, expected) in cases {
            let got = Slug::parse(text);
            assert_eq!(got.as_ref().map(Slug::as_str).map_err(|e| *e), expected, "{text:?}");
        }
        assert!(Slug::parse(&"a".repeat(63)).is_ok());
        assert_eq!(Slug::parse(&"a".repeat(64)), Err(SlugError::Length));
    }

    #[test]
    fn reserved_words_are_sorted_and_would_be_slugs() {
        let words: Vec<_> = reserved().collect();
        assert!(words.is_sorted(), "{words:?}");
        for word in &words {
            assert_eq!(Slug::parse(word), Err(SlugError::Reserved), "{word}");
        }
    }

    /// What other products keep to themselves, by what it could be taken for.
    const USUAL: [(&str, &str); 9] = [
        (
            "the product's own places",
            "about account accounts admin admin-panel api app apps blog careers changelog checkout console contact dashboard \
             docs documentation download downloads explore features home invoices jobs legal policies pricing privacy-policy \
             search settings shop status store terms terms-of-service tos wiki",
        ),
        (
            "ways in",
            "auth authn authz forgot-password idp log-in log-out login logout mfa oauth oauth2 oidc otp passkey passwd password \
             password-reset reset-password saml scim session sign-in sign-out sign-up signin signon signup sso token totp \
             two-factor userinfo verify webauthn",
        ),
        ("what links in mails lead to", "accept-invitation invoices ownership verify-email"),
        (
            "who may be trusted",
            "adm admin administrator ceo cfo ciso compliance cto customer-service customer-success customer-support founder \
             help helpdesk internal legal mod moderator official operator owner root security staff super-admin superadmin \
             superuser support support-team sysadmin system team trust-and-safety webmaster",
        ),
        (
            "mailboxes that people trust (RFC 2142, and the authorities')",
            "abuse admin administrator bounce bounces csirt daemon do-not-reply donotreply dpo ftp hostmaster info list listserv \
             mailer-daemon majordomo marketing news no-reply noc noreply nobody postmaster privacy reply root sales security \
             ssladmin ssladministrator sslwebmaster support sysadmin unsubscribe usenet uucp webmaster www",
        ),
        (
            "names that machines ask for by themselves",
            "acme-challenge autoconfig autodiscover broadcasthost crossdomain dkim dmarc favicon ip6-localhost ip6-loopback isatap \
             jwks localdomain localhost loopback manifest mta-sts robots robots-txt security-txt sitemap webfinger well-known wpad",
        ),
        (
            "machines",
            "cdn cert cpanel dns ftp gateway git grafana imap irc kerberos kubernetes ldap mail mail1 mx1 ns1 ns2 ns3 ntp \
             ocsp pki pop pop3 prometheus proxy router sftp smtp ssh stage staging static storage svn sys telnet vpn webmail \
             webroot whois www www-data www1 www2 xmpp",
        ),
        (
            "money",
            "balance bank billing chargeback coupon coupons credit credits discount dispute fraud invoice invoices payment \
             payment-method payments paypal payout plans price pricing purchase receipt refund refunds seats stripe subscription \
             tax top-up topup trial usage voucher wallet",
        ),
        (
            "words that stand for something else",
            "all any anonymous default everyone false named nan new nil none null self true undefined unknown void you",
        ),
    ];

    #[test]
    fn what_other_products_keep_to_themselves_is_no_slug() {
        for (what, words) in USUAL {
            for word in words.split_whitespace() {
                assert_eq!(Slug::parse(word), Err(SlugError::Reserved), "{what}: {word} is free");
            }
        }
    }

    #[test]
    fn an_organization_is_found_by_a_word_that_is_reserved_by_now() {
        for word in reserved().chain(["xn--80ak6aa92e"]) {
            assert_eq!(Slug::given(word).as_ref().map(Slug::as_str), Ok(word));
        }
        for text in ["", "ab", "-acme", "acme corp"] {
            assert_eq!(Slug::given(text).err(), Slug::parse(text).err(), "{text:?}");
        }
    }

    #[test]
    fn names_become_slugs() {
        let cases = [
            ("Acme", "acme"),
            ("  Acme,  Inc. ", "acme-inc"),
            ("Müller & Söhne", "mueller-soehne"),
            ("O'Hara’s Café", "oharas-cafe"),
            ("Cafe\u{301}", "cafe"),
            ("Привет мир", "privet-mir"),
            ("Ελλάδα", "ellada"),
            ("Łódź", "lodz"),
            ("-- a.b.c --", "a-b-c"),
            ("İstanbul", "istanbul"),
        ];
        for (name, slug) in cases {
            assert_eq!(Slug::generate(name, 0, 0).as_str(), slug, "{name:?}");
        }
    }

    #[test]
    fn letters_that_look_like_others_are_in_no_slug() {
        for text in
            ["\u{430}cme", "acm\u{435}", "\u{ff41}cme", "acm\u{e9}", "ac\u{2010}me", "acme\u{200b}", "\u{1d41a}cme"]
        {
            assert_eq!(Slug::parse(text), Err(SlugError::Character), "{text:?}");
        }
        // A name of such letters is written by what they are, and passes for no reserved word, either.
        for (name, slug) in [("\u{410}\u{441}\u{43c}\u{435}", "asme"), ("\u{430}dmin", "admin-0000")] {
            assert_eq!(Slug::generate(name, 0, 0).as_str(), slug, "{name:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_written_still_get_a_slug() {
        for (name, slug) in [("株式会社", "team-0000"), ("🚀", "team-0000"), ("ab", "ab-0000"), ("Admin", "admin-0000")]
        {
            assert_eq!(Slug::generate(name, 0, 0).as_str(), slug, "{name:?}");
        }
        assert_eq!(Slug::generate("Acme", 1, u64::MAX).as_str(), "acme-zzzz");
        assert_eq!(Slug::generate("Acme", 2, 0).as_str(), "acme-0000000000");
    }

    #[test]
    fn fuzz_slugs() {
        bursar_fuzz::fuzz(
            "slugs",
            &["acme", "a--b", "Ärzte & Söhne", "日本語", "xn--acme", "0".repeat(63).as_str()],
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                if let Ok(slug) = Slug::parse(&text) {
                    assert_eq!(slug.as_str(), text.to_ascii_lowercase());
                }
                for attempt in 0..3 {
                    let slug = Slug::generate(&text, attempt, 0x1234_5678_9abc_def0);
                    assert_eq!(Slug::parse(slug.as_str()), Ok(slug), "a slug was made that nobody may choose");
                }
            },
        );
    }

    proptest! {
        #[test]
        fn every_name_gives_a_slug_at_every_attempt(name in "\\PC{1,120}", attempt in 0_u32..5, random: u64) {
            let slug = Slug::generate(&name, attempt, random);
            prop_assert_eq!(Slug::parse(slug.as_str()), Ok(slug));
        }
    }
}
