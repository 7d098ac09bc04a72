//! Where the content of library items lies, as one writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where the content of library items lies: `file://FOLDER`, or a bucket, as `s3://BUCKET` and `s3://BUCKET/PREFIX`, or with
/// `gs://` or `az://`. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentUrl {
    /// A folder. Every replica needs the same one.
    Folder(PathBuf),
    /// A bucket.
    Bucket {
        /// Whose it is.
        cloud: Cloud,
        /// Its name.
        bucket: String,
        /// What the names of all objects begin with, without slashes around it; empty for none.
        prefix: String,
    },
}

/// Who keeps a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon S3, or a server that speaks like it; `[s3]` says how it is reached.
    S3,
    /// Google Cloud Storage; `[gcs]` says how it is reached.
    Google,
    /// Azure Blob Storage, whose buckets are called containers; `[azure]` says how it is reached.
    Azure,
}

impl Cloud {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::S3, Self::Google, Self::Azure];

    /// What a URL of a bucket begins with, before `://`.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// Whether a bucket can be called so.
    fn names(self, name: &str) -> bool {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let within = |c: char| match self {
            Self::S3 => matches!(c, '.' | '-'),
            Self::Google => matches!(c, '.' | '-' | '_'),
            Self::Azure => c == '-',
        };
        (3..=63).contains(&name.len())
            && name.chars().all(|c| plain(c) || within(c))
            && name.starts_with(plain)
            && name.ends_with(plain)
            && !(self == Self::Azure && name.contains("--"))
    }
}

/// Why a text names no place for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentUrlError {
    /// It is neither a folder nor a bucket.
    #[error("is not of the form file://FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    Form,
    /// No bucket can be called so: Amazon's rules for names, Google's for short ones, Azure's for containers.
    #[error(
        "names no bucket: 3 to 63 small letters, digits and hyphens (and dots, but for az://; and for gs:// underscores), of which \
         the first and the last are letters or digits, with az:// without two hyphens in a row"
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
        let (scheme, rest) = text.split_once("://").ok_or(ContentUrlError::Form)?;
        let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.scheme() == scheme).ok_or(ContentUrlError::Form)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        if !cloud.names(&bucket) {
            return Err(ContentUrlError::Bucket);
        }
        if !prefix.is_empty() && (prefix.len() > PREFIX_MAX || !prefix.split('/').all(is_part)) {
            return Err(ContentUrlError::Prefix);
        }
        Ok(Self::Bucket { cloud, bucket, prefix })
    }
}

fn is_part(part: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && part.chars().all(fits) && !part.chars().all(|c| c == '.')
}

impl fmt::Display for ContentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file://{}", folder.display()),
            Self::Bucket { cloud, bucket, prefix } if prefix.is_empty() => write!(f, "{}://{bucket}", cloud.scheme()),
            Self::Bucket { cloud, bucket, prefix } => write!(f, "{}://{bucket}/{prefix}", cloud.scheme()),
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
            ("gs://acme_content.test/bursar", "gs://acme_content.test/bursar"),
            ("az://acme-content/bursar/v1/", "az://acme-content/bursar/v1"),
        ] {
            assert_eq!(text.parse::<ContentUrl>().expect(text).to_string(), printed);
        }
        for (text, error) in [
            ("", ContentUrlError::Form),
            ("file://", ContentUrlError::Form),
            ("/var/lib/content", ContentUrlError::Form),
            ("https://acme-content", ContentUrlError::Form),
            ("gcs://acme-content", ContentUrlError::Form),
            ("az:/acme-content", ContentUrlError::Form),
            ("s3://", ContentUrlError::Bucket),
            ("s3://acme_content", ContentUrlError::Bucket),
            ("gs://_acme", ContentUrlError::Bucket),
            ("az://acme.content", ContentUrlError::Bucket),
            ("az://acme--content", ContentUrlError::Bucket),
            ("az://acme-content/a b", ContentUrlError::Prefix),
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
