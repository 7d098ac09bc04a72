//! A zip archive that is written as it is taken: what was written goes to whoever takes it, in chunks, before more is.
//!
//! Whatever its size, there are in memory: the chunk under way, and for each file its line of the directory, which comes
//! last. A line takes some 250 bytes while the archive is written and as much again when it ends: 100,000 files 50 MB, a million
//! half a gigabyte, which is why whoever writes one bounds their number. Nothing here knows what is in it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::super::outflow::{Broken, Inlet};
use crate::Error;

/// The most bytes of one chunk.
const CHUNK: usize = 64 * 1024;
/// So many bytes are packed before others have their turn on the thread.
const PIECE: usize = 64 * 1024;
/// A file of fewer bytes needs no fields of 64 bits.
const SMALL: u64 = 0x7fff_ffff;

/// What is packed and not yet on its way.
#[derive(Clone, Default)]
struct Packed(Arc<Mutex<BytesMut>>);

impl Packed {
    fn with<T>(&self, act: impl FnOnce(&mut BytesMut) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next chunk, if there are so many bytes.
    fn chunk(&self, least: usize) -> Option<Bytes> {
        self.with(|packed| {
            let ready = packed.len() >= least && !packed.is_empty();
            ready.then(|| packed.split_to(packed.len().min(CHUNK)).freeze())
        })
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|packed| packed.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive under way.
pub(super) struct Archive {
    zip: ZipWriter<StreamWriter<Packed>>,
    packed: Packed,
    inlet: Inlet,
}

impl Archive {
    /// An archive for somebody.
    pub(super) fn new(inlet: Inlet) -> Self {
        let packed = Packed::default();
        Self { zip: ZipWriter::new_stream(packed.clone()), packed, inlet }
    }

    /// Begins a file of text, which is compressed.
    pub(super) fn begin_text(&mut self, name: &str) -> Result<(), Broken> {
        // How long it will be is not known.
        self.begin(name, CompressionMethod::Deflated, true)
    }

    /// Begins a file of so many bytes, which are kept as they are: most content is compressed already.
    pub(super) fn begin_bytes(&mut self, name: &str, size: u64) -> Result<(), Broken> {
        self.begin(name, CompressionMethod::Stored, size > SMALL)
    }

    fn begin(&mut self, name: &str, method: CompressionMethod, large: bool) -> Result<(), Broken> {
        let options = SimpleFileOptions::default().compression_method(method).compression_level(None).large_file(large);
        Ok(self.zip.start_file(name, options).map_err(broken)?)
    }

    /// Adds bytes to the file that was begun last.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        for piece in bytes.chunks(PIECE) {
            self.zip.write_all(piece).map_err(|_| Error::Internal("an archive takes no more bytes"))?;
            while let Some(chunk) = self.packed.chunk(CHUNK) {
                self.inlet.send(chunk).await?;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Adds lines with one JSON value each to the file that was begun last; says how many.
    pub(super) async fn lines(&mut self, lines: impl IntoIterator<Item = Value>) -> Result<u64, Broken> {
        let (mut text, mut count) = (Vec::new(), 0);
        for line in lines {
            text.extend_from_slice(line.to_string().as_bytes());
            text.push(b'\n');
            count += 1;
        }
        self.write(&text).await?;
        Ok(count)
    }

    /// Adds a file with one JSON value.
    pub(super) async fn document(&mut self, name: &str, value: &Value) -> Result<(), Broken> {
        self.begin_text(name)?;
        self.write(format!("{value:#}\n").as_bytes()).await
    }

    /// Ends the archive with its directory.
    pub(super) async fn finish(self) -> Result<(), Broken> {
        let Self { zip, packed, inlet } = self;
        zip.finish().map_err(broken)?;
        while let Some(chunk) = packed.chunk(1) {
            inlet.send(chunk).await?;
        }
        Ok(())
    }
}

fn broken(_: zip::result::ZipError) -> Error {
    Error::Internal("an archive cannot be written")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::process::Command;
    use std::time::Duration;

    use futures::StreamExt as _;

    use super::*;
    use crate::domain::Refusal;
    use crate::usecase::outflow::{self, Patience};

    /// More than sixteen bits count: the directory's end has fields of 64 bits then.
    const FILES: u32 = 65_536 + 10;

    const READ: &str = "
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
names = archive.namelist()
assert len(names) == int(sys.argv[2]), len(names)
for n in (0, 65534, 65535, 65536, len(names) - 1):
    assert names[n] == f'content/{n}' and archive.read(names[n]) == n.to_bytes(4, 'big'), n
";

    /// Says of each file whether its sizes have 64 bits, in its header, in the directory and behind its bytes; and what it says.
    const READ_SIZES: &str = "
import json, struct, sys, zipfile
data = open(sys.argv[1], 'rb').read()
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
def is_wide(extra):
    while len(extra) >= 4:
        kind, length = struct.unpack_from('<HH', extra)
        if kind == 1:
            return True
        extra = extra[4 + length:]
    return False
found = []
for entry in archive.infolist():
    name, extra = struct.unpack_from('<HH', data, entry.header_offset + 26)
    begin = entry.header_offset + 30 + name
    wide = is_wide(data[begin:begin + extra])
    assert wide == is_wide(entry.extra), entry
    after = struct.unpack_from('<IIQQ' if wide else '<IIII', data, begin + extra + entry.compress_size)
    assert after == (0x08074b50, entry.CRC, entry.compress_size, entry.file_size), (entry, after)
    found.append([entry.filename, wide, archive.read(entry).decode()])
print(json.dumps(found))
";

    /// What Python prints of the archive that is written.
    async fn python<F>(script: &str, argument: &str, write: impl FnOnce(Archive) -> F) -> Vec<u8>
    where
        F: Future<Output = Result<(), Broken>> + Send + 'static,
    {
        let (idle, limit) = (Duration::from_mins(2), Duration::from_mins(10));
        let patience = Patience { idle, limit, over: Refusal::ExportStalled };
        let outflow = outflow::begin(patience, |inlet| write(Archive::new(inlet)));
        let (mut stream, mut bytes) = (pin!(outflow.stream()), Vec::new());
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.expect("a chunk"));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.zip");
        std::fs::write(&path, bytes).expect("written");
        let python = Command::new("python3").args(["-c", script]).arg(&path).arg(argument).output();
        let python = python.expect("python3 runs");
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        python.stdout
    }

    #[tokio::test]
    async fn python_reads_an_archive_of_more_files_than_sixteen_bits_count() {
        python(READ, &FILES.to_string(), |mut archive| async move {
            for n in 0..FILES {
                archive.begin_bytes(&format!("content/{n}"), 4)?;
                archive.write(&n.to_be_bytes()).await?;
            }
            archive.finish().await
        })
        .await;
    }

    #[tokio::test]
    async fn a_file_of_two_gibibytes_has_sizes_of_64_bits_that_python_reads() {
        // How long a file is said to be when it begins decides that, however soon it ends then.
        const SAID: [(u64, bool); 5] =
            [(0, false), ((2 << 30) - 1, false), (2 << 30, true), (5 << 30, true), (u64::MAX, true)];
        let printed = python(READ_SIZES, "", |mut archive| async move {
            for (size, _) in SAID {
                archive.begin_bytes(&size.to_string(), size)?;
                archive.write(format!("of {size} bytes").as_bytes()).await?;
            }
            archive.begin_text("text")?;
            archive.write(b"however long").await?;
            archive.finish().await
        });
        let found: Vec<(String, bool, String)> = serde_json::from_slice(&printed.await).expect("JSON");
        let said = SAID.into_iter().map(|(size, wide)| (size.to_string(), wide, format!("of {size} bytes")));
        let text = ("text".to_owned(), true, "however long".to_owned());
        assert_eq!(found, said.chain([text]).collect::<Vec<_>>());
    }
}
