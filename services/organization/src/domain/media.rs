//! Media types of content: what somebody says that it is, against what it shows itself to be.

use std::fmt;

/// The longest media type, in bytes.
const MAX_BYTES: usize = 127;

/// A media type: `type/subtype` in lower case, without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType(String);

/// Why a text is no media type; a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a media type without parameters, such as image/png")]
pub struct MediaTypeError;

/// What is sent is not what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is {shown}, not {said}")]
pub struct Contradiction {
    /// What was said.
    pub said: String,
    /// What it shows itself to be.
    pub shown: String,
}

/// Bytes of no type in particular.
const ANY: &str = "application/octet-stream";
/// Text of no type in particular.
const TEXT: &str = "text/plain";

impl MediaType {
    /// Reads a media type.
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let text = text.trim().to_ascii_lowercase();
        let token = |part: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
            part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(fits)
        };
        match text.split_once('/') {
            Some((kind, subtype)) if text.len() <= MAX_BYTES && token(kind) && token(subtype) => Ok(Self(text)),
            _ => Err(MediaTypeError),
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the beginning of some content shows it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The type that its first bytes are the mark of, if they are any's.
    pub mark: Option<&'a str>,
    /// Whether bytes of the type that was said would have had a mark.
    pub said_has_mark: bool,
    /// Whether it is text as far as it was looked at.
    pub is_text: bool,
}

/// The type of some content of which something was said, or nothing.
///
/// # Errors
/// The two contradict: it bears another type's mark, or lacks the mark of its own, or is said to be text and is none.
pub fn settle(said: Option<MediaType>, shown: Shown<'_>) -> Result<MediaType, Contradiction> {
    let found = shown.mark.unwrap_or(if shown.is_text { TEXT } else { ANY });
    let Some(said) = said.filter(|said| said.as_str() != ANY) else {
        return Ok(MediaType(found.to_owned()));
    };
    let holds = match shown.mark {
        Some(mark) => mark == said.as_str() || are_kin(said.as_str(), mark),
        None if is_textual(said.as_str()) => shown.is_text,
        None => !shown.said_has_mark,
    };
    if holds { Ok(said) } else { Err(Contradiction { said: said.0, shown: found.to_owned() }) }
}

/// Types that bear one another's marks: formats that are archives or documents of another format inside, and the many
/// names of the same.
fn are_kin(said: &str, mark: &str) -> bool {
    const KIN: [&[&str]; 9] = [
        &["application/x-gzip", "application/gzip"],
        &["application/xml", "text/xml", "image/svg+xml"],
        &["audio/x-wav", "audio/wav", "audio/wave", "audio/vnd.wave"],
        &["audio/x-flac", "audio/flac"],
        &["audio/m4a", "audio/mp4", "audio/x-m4a", "video/mp4", "video/x-m4v", "video/quicktime"],
        &["audio/ogg", "audio/opus", "video/ogg", "application/ogg"],
        &["video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"],
        &["application/font-woff", "font/woff", "font/woff2"],
        &["application/font-sfnt", "font/ttf", "font/otf", "font/sfnt"],
    ];
    let zipped = |said: &str| said.starts_with("application/") && (said.ends_with("+zip") || said.contains("vnd."));
    KIN.iter().any(|kin| kin.contains(&said) && kin.contains(&mark))
        || mark == "application/zip" && zipped(said)
        || mark == "text/xml" && said.ends_with("+xml")
        // A script is text, whatever it runs with.
        || mark == "text/x-shellscript" && is_textual(said)
}

/// Types that are text.
fn is_textual(said: &str) -> bool {
    said.starts_with("text/")
        || said.ends_with("+json")
        || said.ends_with("+xml")
        || matches!(said, "application/json" | "application/xml" | "application/javascript" | "application/yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_from_other_texts() {
        for (text, expected) in [
            ("image/png", "image/png"),
            (" Text/Markdown ", "text/markdown"),
            ("application/vnd.a+json", "application/vnd.a+json"),
        ] {
            assert_eq!(MediaType::parse(text).expect("good").as_str(), expected);
        }
        let long = format!("a/{}", "b".repeat(126));
        for bad in ["", "png", "image/", "/png", "image/png; q=1", "image/p ng", "image/png/x", "image/ж", &long] {
            assert_eq!(MediaType::parse(bad), Err(MediaTypeError), "{bad:?}");
        }
    }

    #[test]
    fn what_is_said_holds_unless_the_bytes_contradict() {
        let png = Shown { mark: Some("image/png"), said_has_mark: true, is_text: false };
        let zip = Shown { mark: Some("application/zip"), said_has_mark: true, is_text: false };
        let text = Shown { mark: None, said_has_mark: false, is_text: true };
        let noise = Shown { mark: None, said_has_mark: false, is_text: false };
        for (said, shown, expected) in [
            ("", png, Some("image/png")),
            ("application/octet-stream", png, Some("image/png")),
            ("image/png", png, Some("image/png")),
            ("image/jpeg", png, None),
            ("text/plain", png, None),
            ("application/vnd.oasis.opendocument.text", zip, Some("application/vnd.oasis.opendocument.text")),
            ("image/png", zip, None),
            ("", text, Some("text/plain")),
            ("text/markdown", text, Some("text/markdown")),
            ("application/json", text, Some("application/json")),
            ("image/png", Shown { said_has_mark: true, ..text }, None),
            ("", noise, Some("application/octet-stream")),
            ("application/x-model", noise, Some("application/x-model")),
            ("text/plain", noise, None),
        ] {
            let said_type = (!said.is_empty()).then(|| MediaType::parse(said).expect("good"));
            let settled = settle(said_type, shown);
            assert_eq!(settled.as_ref().ok().map(MediaType::as_str), expected, "{said} {shown:?}");
        }
    }

    #[test]
    fn fuzz_media_types() {
        bursar_fuzz::fuzz("media types", &["image/png", " Text/Markdown ", "application/vnd.a+json"], |bytes| {
            if let Ok(read) = MediaType::parse(&String::from_utf8_lossy(bytes)) {
                assert_eq!(MediaType::parse(read.as_str()), Ok(read.clone()), "two spellings of one type");
                assert!(read.as_str().len() <= MAX_BYTES && read.as_str().is_ascii(), "{read}");
            }
        });
    }
}
