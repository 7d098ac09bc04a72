//! The master key's file: reading it, and making it once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Entropy, Secret};

/// Bytes of a key: 256 bits.
pub(crate) const KEY_BYTES: usize = 32;
/// The largest file that is read; a key's is far smaller, so a wrong path is noticed soon.
const MAX_FILE_BYTES: u64 = 1024;
/// Reads both padded and unpadded text.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Why there is no master key. No message repeats what the file holds.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The text is not a key.
    #[error("the key must be 32 bytes as 64 hexadecimal digits or as base64")]
    Malformed,
    /// The file's text is not a key.
    #[error("{path}: the key must be 32 bytes as 64 hexadecimal digits or as base64")]
    MalformedFile {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file, or the one that was to become it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl KeyError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Reads a key from its text.
pub(crate) fn parse(text: &str) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    let text = text.trim();
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    // Base64 of 32 bytes has 43 or 44 characters, so 64 can only be hexadecimal.
    if text.len() == 2 * KEY_BYTES {
        hex::decode_to_slice(text, key.as_mut_slice()).map_err(|_| KeyError::Malformed)?;
        return Ok(Secret::new(*key));
    }
    for alphabet in [STANDARD, URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, LENIENT);
        if engine.decode_slice(text, key.as_mut_slice()) == Ok(KEY_BYTES) {
            return Ok(Secret::new(*key));
        }
    }
    Err(KeyError::Malformed)
}

/// Reads the key in a file.
pub(crate) fn load(path: &Path) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
        .map_err(KeyError::io(path))?;
    parse(&text).map_err(|_| KeyError::MalformedFile { path: path.to_owned() })
}

/// Reads the key in a file, making the file first if there is none.
pub(crate) fn load_or_create(path: &Path, entropy: &Entropy) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    match load(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    // The name is random, so that racing processes never write to one file.
    let draft = path.with_extension(format!("{}.tmp", hex::encode(entropy.bytes::<8>())));
    let written = write_new(&draft, entropy)
        // A hard link refuses to replace an existing file, where a rename would not: the first wins.
        .and_then(|()| fs::hard_link(&draft, path))
        .or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if path.exists() => Ok(()),
            _ => Err(error),
        });
    let removed = fs::remove_file(&draft);
    written.map_err(KeyError::io(path))?;
    removed.and_then(|()| sync_folder(path)).map_err(KeyError::io(path))?;
    load(path)
}

/// Writes a new key, durable before it gets its name.
fn write_new(path: &Path, entropy: &Entropy) -> io::Result<()> {
    let key = Zeroizing::new(entropy.bytes::<KEY_BYTES>());
    let mut text = Zeroizing::new(hex::encode(key.as_slice()));
    text.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes the file's name durable, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
