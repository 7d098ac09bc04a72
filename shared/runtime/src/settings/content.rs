//! Where the content of library items lies, as one writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where the content of library items lies: `file://FOLDER`, or `s3://BUCKET` and `s3://BUCKET/PREFIX`. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentUrl {
    /// A folder. Every replica needs the same one.
    Folder(PathBuf),
    /// A bucket of Amazon S3, or of a server that speaks like it; `[s3]` says how it is reached.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of all objects begin with, without slashes around it; empty for none.
        prefix: String,
    },
}

/// Why a text names no place for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentUrlError {
    /// It is neither a folder nor a bucket.
    #[error("is not of the form file://FOLDER or s3://BUCKET/PREFIX")]
    Form,
    /// No bucket can be called so (Amazon's rules for names).
    #[error(
        "names no bucket: 3 to 63 small letters, digits, dots and hyphens, of which the first and the last are no dot or hyphen"
    )]
    Bucket,
    /// Objects' names cannot begin so.
    #[error(
        "has a prefix with something else than letters, digits, `-`, `_` and `.` between single slashes, or above 200 bytes"
    )]
    Prefix,
}

/// The longest prefix, in bytes: names have 1,024 at most.
const PREFIX_MAX: usize = 200;

impl FromStr for ContentUrl {
    type Err = ContentUrlError;

    fn from_str(text: &str) -> Result<Self, ContentUrlError> {
        if let Some(folder) = text.strip_prefix("file://") {
            return if folder.is_empty() { Err(ContentUrlError::Form) } else { Ok(Self::Folder(folder.into())) };
        }
        let rest = text.strip_prefix("s3://").ok_or(ContentUrlError::Form)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        if !is_bucket(&bucket) {
            return Err(ContentUrlError::Bucket);
        }
        if !prefix.is_empty() && (prefix.len() > PREFIX_MAX || !prefix.split('/').all(is_part)) {
            return Err(ContentUrlError::Prefix);
        }
        Ok(Self::Bucket { bucket, prefix })
    }
}

fn is_bucket(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.chars().all(|c| plain(c) || matches!(c, '.' | '-'))
        && name.starts_with(plain)
        && name.ends_with(plain)
}

fn is_part(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && part.chars().all(fits) && !part.chars().all(|c| c == '.')
}

impl fmt::Display for ContentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl Serialize for ContentUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format_args!("`{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_content_are_read_and_printed() {
        for (text, printed) in [
            ("file:///var/lib/content", "file:///var/lib/content"),
            ("file://./data/content", "file://./data/content"),
            ("s3://acme-content", "s3://acme-content"),
            ("s3://acme-content/", "s3://acme-content"),
            ("s3://acme.content/bursar/v1/", "s3://acme.content/bursar/v1"),
        ] {
            assert_eq!(text.parse::<ContentUrl>().expect(text).to_string(), printed);
        }
        for (text, error) in [
            ("", ContentUrlError::Form),
            ("file://", ContentUrlError::Form),
            ("/var/lib/content", ContentUrlError::Form),
            ("https://acme-content", ContentUrlError::Form),
            ("s3://", ContentUrlError::Bucket),
            ("s3://ab", ContentUrlError::Bucket),
            ("s3://Acme", ContentUrlError::Bucket),
            ("s3://-acme", ContentUrlError::Bucket),
            ("s3://key:secret@acme", ContentUrlError::Bucket),
            ("s3://acme//v1", ContentUrlError::Prefix),
            ("s3://acme/../v1", ContentUrlError::Prefix),
            ("s3://acme/a?b", ContentUrlError::Prefix),
        ] {
            assert_eq!(text.parse::<ContentUrl>().expect_err(text), error, "{text}");
        }
    }
}
