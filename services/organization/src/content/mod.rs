//! Where the content of items lies: an object store (a folder, or a bucket of Amazon's, Google's or Azure's), in segments of a
//! few megabytes.
//!
//! An object is written once, by whoever made its name, and read and removed by it; which of them count is the
//! database's to say. Each segment is put whole or not at all, so that nothing is left half-written, whenever the program
//! dies; in a bucket each is an object by itself, so that nothing lies there that a list does not show, as the parts of S3's
//! and Google's own uploads and the blocks of Azure's do. No names of owners, no hashes, no rules here.

mod bucket;
mod identity;
mod places;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bursar_runtime::{ContentUrl, Settings};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutOptions, PutPayload};

pub(crate) use places::{Place, Places};

/// How long a segment is, in bytes; the last one of an object is what is left. Each upload holds one in memory.
pub(crate) const SEGMENT: u32 = 4 * 1024 * 1024;
/// The object by which it is seen whether a bucket can be written and read. No other one is called so.
const MARK: &str = "mark";
/// What lies there.
const MARKED: &[u8] = b"the content of a Bursar's libraries";
/// How long the store may take to show that it is there.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to do one thing, with everything that is tried again meanwhile: longer than a bucket is asked again for.
const DONE_WITHIN: Duration = Duration::from_secs(90);

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ContentError(#[from] object_store::Error);

/// The object store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Contents {
    store: Arc<dyn ObjectStore>,
    layout: Layout,
    /// What the settings call it.
    url: ContentUrl,
    /// Whether it answered when it was last looked for.
    reached: Arc<AtomicBool>,
}

/// How objects lie.
#[derive(Clone, Debug)]
enum Layout {
    /// In this folder, in one of their own: the store does not list what is written beside a segment before it takes its
    /// name.
    Folder(PathBuf),
    /// In a bucket, by names that begin so.
    Bucket(Path),
}

/// Without what the store says of itself, in which keys are.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("url", &self.url).field("reached", &self.reached).finish_non_exhaustive()
    }
}

/// Looks whether a bucket can be reached as the settings say, as far as this is seen without asking anybody.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    match settings.content_url {
        ContentUrl::Folder(_) => Ok(()),
        ContentUrl::Bucket { .. } => Contents::open(settings).map(drop),
    }
}

impl Contents {
    /// The store that the settings name. Of a bucket nothing is known before [`Contents::begin`].
    pub(crate) fn open(settings: &Settings) -> anyhow::Result<Self> {
        Self::open_where(settings, |name| std::env::var(name).ok())
    }

    /// The same where `told` says what a variable of the environment is.
    fn open_where(settings: &Settings, told: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let url = settings.content_url.clone();
        let (store, layout): (Arc<dyn ObjectStore>, _) = match &url {
            ContentUrl::Folder(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true).with_automatic_cleanup(true);
                (Arc::new(store), Layout::Folder(folder.clone()))
            }
            ContentUrl::Bucket { cloud, bucket, prefix } => {
                let store =
                    bucket::open(*cloud, bucket, settings, told).with_context(|| format!("content_url: {url}"))?;
                (store, Layout::Bucket(Path::from(prefix.as_str())))
            }
        };
        Ok(Self { store, layout, url, reached: Arc::new(AtomicBool::new(true)) })
    }

    /// Whether the store can be used, when a service starts. One that refuses what is asked of it (the key, the bucket) is
    /// an error; one that cannot be reached is logged, since teams go on without content.
    pub(crate) async fn begin(&self) -> anyhow::Result<()> {
        match self.look(true).await {
            Ok(()) => Ok(()),
            Err(error) if is_refusal(&error) => {
                Err(error).with_context(|| format!("content_url: {} refuses to keep content", self.url))
            }
            Err(error) => {
                self.missed(&error);
                Ok(())
            }
        }
    }

    /// Looks whether the store is there, and remembers it.
    pub(crate) async fn look_for(&self) -> bool {
        match self.look(false).await {
            Ok(()) => {
                if !self.reached.swap(true, Ordering::Relaxed) {
                    tracing::info!(url = %self.url, "content is reached again");
                }
                true
            }
            Err(error) => {
                self.missed(&error);
                false
            }
        }
    }

    /// A word for `/readyz`.
    pub(crate) fn describe(&self) -> String {
        let how = if self.reached.load(Ordering::Relaxed) { "reached" } else { "NOT REACHED" };
        format!("content: {how}")
    }

    fn missed(&self, error: &ContentError) {
        self.reached.store(false, Ordering::Relaxed);
        tracing::error!(url = %self.url, %error, "content cannot be reached: no library can be read or filled");
    }

    /// Asks the store for everything that will be asked of it; `all`: for writing and removing, too.
    async fn look(&self, all: bool) -> Result<(), ContentError> {
        let looking = async {
            if let Layout::Folder(folder) = &self.layout {
                tokio::fs::metadata(folder).await.map_err(of_folder)?;
                return Ok(());
            }
            let mark = self.place(MARK, 0);
            if all {
                // Nothing is there, and nothing is lost; whether it may be removed and listed is said all the same.
                forgive(self.store.delete(&self.place("nothing", 0)).await)?;
                self.remove("nothing").await?;
                self.write(MARK, 0, Bytes::from_static(MARKED)).await?;
            }
            match self.store.head(&mark).await {
                // The bucket was away when services started, or somebody has cleared it. Where there is no bucket this fails, too.
                Err(object_store::Error::NotFound { .. }) => self.write(MARK, 0, Bytes::from_static(MARKED)).await,
                found => Ok(found.map(drop)?),
            }
        };
        within(SHOWN_WITHIN, looking).await
    }

    /// Writes a segment of an object.
    pub(crate) async fn write(&self, object: &str, segment: u32, bytes: Bytes) -> Result<(), ContentError> {
        let place = self.place(object, segment);
        let writing = async {
            self.store.put_opts(&place, PutPayload::from_bytes(bytes), PutOptions::default()).await?;
            Ok::<_, ContentError>(())
        };
        match self.layout {
            // It goes on by itself: whoever left it alone would call it over too early.
            Layout::Folder(_) => writing.await,
            Layout::Bucket(_) => within(DONE_WITHIN, writing).await,
        }
    }

    /// The bytes of a segment from `offset` on.
    pub(crate) async fn read(
        &self,
        object: &str,
        segment: u32,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, ContentError>>, ContentError> {
        let options = GetOptions { range: (offset > 0).then_some(GetRange::Offset(offset)), ..GetOptions::default() };
        let place = self.place(object, segment);
        let found = within(DONE_WITHIN, async { Ok(self.store.get_opts(&place, options).await?) }).await?;
        // What is broken off is asked for again on the way, which takes its time, too.
        let bytes = stream::try_unfold(found.into_stream(), |mut found| async move {
            let next = within(DONE_WITHIN, async { Ok(found.try_next().await?) }).await?;
            Ok::<_, ContentError>(next.map(|bytes| (bytes, found)))
        });
        Ok(bytes.boxed())
    }

    /// Removes whatever there is of an object: its segments, and what a write that died left of one.
    pub(crate) async fn remove(&self, object: &str) -> Result<(), ContentError> {
        match &self.layout {
            Layout::Folder(folder) => match tokio::fs::remove_dir_all(folder.join(object)).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(of_folder(error)),
                // Somebody else was faster, perhaps.
                Ok(()) | Err(_) => Ok(()),
            },
            Layout::Bucket(beginning) => {
                let found = self.store.list(Some(&beginning.clone().join(object)));
                let mut removed = self.store.delete_stream(found.map_ok(|segment| segment.location).boxed());
                while let Some(removed) = within(DONE_WITHIN, async { Ok(removed.next().await) }).await? {
                    forgive(removed.map(drop))?;
                }
                Ok(())
            }
        }
    }

    fn place(&self, object: &str, segment: u32) -> Path {
        let beginning = match &self.layout {
            Layout::Folder(_) => Path::default(),
            Layout::Bucket(beginning) => beginning.clone(),
        };
        beginning.join(object).join(format!("{segment:06}"))
    }
}

fn of_folder(error: std::io::Error) -> ContentError {
    ContentError(object_store::Error::Generic { store: "folder", source: Box::new(error) })
}

/// What is not there any more is removed.
fn forgive(removed: object_store::Result<()>) -> Result<(), ContentError> {
    match removed {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// By what a key, a bucket or a region is refused, by S3, by Google and by Azure; lists of what is there, and Azure's ways of
/// removing it, fail without a kind of their own, the latter for each object by a number alone.
const REFUSALS: [&str; 16] = [
    "(code: 401)",
    "(code: 403)",
    "AccessDenied",
    "AccountIsDisabled",
    "AuthenticationFailed",
    "AuthenticationRequired",
    "AuthorizationFailure",
    "AuthorizationHeaderMalformed",
    "AuthorizationPermissionMismatch",
    "ContainerNotFound",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "NoSuchBucket",
    "SignatureDoesNotMatch",
    "redirect without LOCATION",
];

/// Whether the store answered that it will not: trying again changes nothing.
fn is_refusal(ContentError(error): &ContentError) -> bool {
    match error {
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. }
        | object_store::Error::NotFound { .. } => true,
        other => {
            let said = other.to_string();
            REFUSALS.iter().any(|refusal| said.contains(refusal))
        }
    }
}

/// What the store answers, or that it took too long.
async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, ContentError>>,
) -> Result<T, ContentError> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
        let late = format!("no answer within {} seconds", patience.as_secs());
        Err(ContentError(object_store::Error::Generic { store: "bucket", source: late.into() }))
    })
}
