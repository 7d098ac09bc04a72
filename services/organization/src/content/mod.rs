//! Where the content of items lies: an object store (a folder of the data directory), in segments of a few megabytes.
//!
//! An object is written once, by whoever made its name, and read and removed by it; which of them count is the
//! database's to say. Each segment is put whole or not at all, so that nothing is left half-written, whenever the program
//! dies. No names of owners, no hashes, no rules here.

mod places;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bursar_runtime::Settings;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, PutOptions, PutPayload};

pub(crate) use places::{Place, Places};

/// How long a segment is, in bytes; the last one of an object is what is left. Each upload holds one in memory.
pub(crate) const SEGMENT: u32 = 4 * 1024 * 1024;

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ContentError(#[from] object_store::Error);

/// The object store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    store: Arc<dyn ObjectStore>,
    /// The store's own folder: it does not list what is written beside a segment before it takes its name.
    folder: PathBuf,
}

impl Contents {
    /// The store that the settings name: a folder of the data directory.
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let folder = settings.content_dir();
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store), folder })
    }

    /// Writes a segment of an object.
    pub(crate) async fn write(&self, object: &str, segment: u32, bytes: Bytes) -> Result<(), ContentError> {
        let payload = PutPayload::from_bytes(bytes);
        self.store.put_opts(&place(object, segment), payload, PutOptions::default()).await?;
        Ok(())
    }

    /// The bytes of a segment from `offset` on.
    pub(crate) async fn read(
        &self,
        object: &str,
        segment: u32,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, ContentError>>, ContentError> {
        let options = GetOptions { range: (offset > 0).then_some(GetRange::Offset(offset)), ..GetOptions::default() };
        let found = self.store.get_opts(&place(object, segment), options).await?;
        Ok(found.into_stream().map(|bytes| bytes.map_err(ContentError::from)).boxed())
    }

    /// Removes whatever there is of an object: its segments, and what a write that died left of one.
    pub(crate) async fn remove(&self, object: &str) -> Result<(), ContentError> {
        match tokio::fs::remove_dir_all(self.folder.join(object)).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ContentError(object_store::Error::Generic { store: "folder", source: Box::new(error) }))
            }
            // Somebody else was faster, perhaps.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn place(object: &str, segment: u32) -> Path {
    Path::from(format!("{object}/{segment:06}"))
}
