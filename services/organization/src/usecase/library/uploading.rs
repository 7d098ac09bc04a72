//! Giving an item content: a first mutation looks whether it may be, the bytes are received without any lock, and a second
//! mutation gives them to the item, if that is still there.
//!
//! What is received lies in an object of its own, noted in the database before its first byte is written. Whatever happens
//! then, the object either becomes somebody's content or is removed by a job. What is held meanwhile, a place and room, is held
//! by what writes it (`writing.rs`).

use bursar_id::{ItemId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Problem};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use super::super::Organization;
use super::Item;
use super::contents::{attach, detach};
use super::writing::{LEASE, RENEW_EVERY, Writer};
use crate::Error;
use crate::content::SEGMENT;
use crate::domain::media::{MediaType, Shown, settle};
use crate::domain::{Refusal, item};
use crate::store::contents::{self, Attached};
use crate::store::objects::{self, NewObject};
use crate::store::{items, libraries};

/// How much of the beginning is looked at for what it is.
const HEAD: usize = 8 * 1024;

/// What an upload begins with.
#[derive(Clone, Debug)]
pub struct UploadStart {
    /// The item.
    pub item: ItemId,
    /// What it is said to be.
    pub media_type: Option<MediaType>,
    /// How many bytes there will be.
    pub size: i64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// For whom a service uploads.
    pub member: Option<UserId>,
}

/// An upload that is under way.
struct Upload {
    owner: OwnerId,
    object: String,
    writer: Writer,
}

impl Organization {
    /// Receives content and gives it to an item in place of what it had.
    pub async fn upload_content<S>(&self, asked: &Asked<UploadStart>, chunks: S) -> Result<Answer<Item>, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        let m = self.0.mutations.begin(asked).await?;
        let upload = match self.look_for_upload(m, asked).await? {
            Looked::On(owner) => self.begin_upload(owner, asked.command()?).await?,
            Looked::Before(answer) => return Ok(answer),
        };
        let uploaded = self.receive_and_give(&upload, asked, chunks).await;
        upload.writer.end().await;
        uploaded
    }

    async fn receive_and_give<S>(
        &self,
        upload: &Upload,
        asked: &Asked<UploadStart>,
        chunks: S,
    ) -> Result<Answer<Item>, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        let media_type = self.receive(upload, asked.command()?, chunks).await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.give_content(&mut m, asked, upload, &media_type).await;
        self.0.mutations.end(m, done).await
    }

    /// Whether anything stands against it as things are; whose item it is.
    async fn look_for_upload(
        &self,
        mut m: Mutation,
        asked: &Asked<UploadStart>,
    ) -> Result<Looked<OwnerId, Item>, Error> {
        let looked = async {
            let visitor = self.visit_for_item(&mut m, asked.caller()).await?;
            let Some(start) = m.open(asked).await? else { return Ok(None) };
            let row = self.item(m.tx(), asked.caller(), start.item).await?;
            self.demand_workspace(m.tx(), row.owner).await?;
            self.writer(m.tx(), visitor, row.owner, start.member).await?;
            self.demand_content(&row.kind)?;
            Ok::<_, Error>(Some(row.owner))
        }
        .await;
        self.0.mutations.look(m, looked).await
    }

    fn demand_content(&self, kind: &str) -> Result<(), Refusal> {
        let kind = self.0.kinds.get(kind).ok_or(Refusal::KindUnknown)?;
        if kind.has_content { Ok(()) } else { Err(Refusal::KindHasNoContent) }
    }

    /// Takes a place and notes the object, as far as there is room for it.
    async fn begin_upload(&self, owner: OwnerId, start: &UploadStart) -> Result<Upload, Error> {
        let bounds = self.0.config.library;
        if start.size > bounds.upload {
            return Err(Refusal::ContentTooLarge { limit: bounds.upload }.into());
        }
        let place = self.0.uploads.take(owner).ok_or(Refusal::TooManyTransfers)?;
        let object = hex::encode(self.0.entropy.bytes::<16>());
        let mut tx = self.0.db.begin().await?;
        let taken = libraries::lock(&mut tx, owner).await?;
        let now = self.believed()?;
        let reserved = objects::reserved(&mut tx, owner, now).await?;
        item::within(bounds.quota, taken.saturating_add(reserved), start.size)?;
        let new = NewObject {
            id: &object,
            uploader: owner,
            size: start.size,
            segment: i64::from(SEGMENT),
            lease_until: now.saturating_add(LEASE),
        };
        objects::insert(&mut tx, &new).await?;
        tx.commit().await?;
        let writer = Writer::begin(self, &object, place);
        Ok(Upload { owner, object, writer })
    }

    /// Receives the bytes and holds them against what was said of them.
    async fn receive<S>(&self, upload: &Upload, start: &UploadStart, mut chunks: S) -> Result<MediaType, Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        let mut received = Received::default();
        let mut renewed = self.now();
        loop {
            let next = tokio::time::timeout(self.0.config.library.idle, chunks.next()).await;
            let Some(mut chunk) = next.map_err(|_| Refusal::UploadStalled)?.transpose()? else { break };
            received.look_at(&chunk, start.size)?;
            while !chunk.is_empty() {
                let room = (SEGMENT as usize).saturating_sub(received.segment.len());
                received.segment.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
                if received.segment.len() >= SEGMENT as usize {
                    received.write(upload).await?;
                }
            }
            if self.now() >= renewed.saturating_add(RENEW_EVERY) {
                renewed = self.now();
                if !self.renew(&upload.object).await? {
                    return Err(Refusal::UploadLapsed.into());
                }
            }
        }
        if !received.segment.is_empty() {
            received.write(upload).await?;
        }
        received.settle(start)
    }

    /// Gives what was received to the item, whatever became of the item, of the caller's standing and of the policies
    /// meanwhile.
    async fn give_content(
        &self,
        m: &mut Mutation,
        asked: &Asked<UploadStart>,
        upload: &Upload,
        media_type: &MediaType,
    ) -> Result<Done<Item, Payload>, Error> {
        let visitor = self.visit_for_item(m, asked.caller()).await?;
        let Some(start) = m.open(asked).await? else { return Ok(Done::Replay) };
        let owner = upload.owner;
        m.about(&start.item);
        m.admit(owner);
        self.demand_workspace(m.tx(), owner).await?;
        self.writer(m.tx(), visitor, owner, start.member).await?;
        let taken = libraries::lock(m.tx(), owner).await?;
        let mut row = items::by_id(m.tx(), owner, start.item).await?.ok_or(Refusal::ItemNotFound)?;
        self.demand_content(&row.kind)?;
        let now = m.now();
        let had = contents::of_item(m.tx(), owner, row.id).await?;
        if had.is_some_and(|had| had.sha256 == start.sha256 && had.media_type == media_type.as_str()) {
            objects::abandon(m.tx(), &upload.object, now).await?;
            return Ok(Done::New(self.shown(row)?, Vec::new()));
        }
        let freed = detach(m.tx(), owner, &[row.id], now).await?;
        let attached =
            Attached { owner, item: row.id, sha256: &start.sha256, size: start.size, media_type: media_type.as_str() };
        let more = attach(m.tx(), &attached, &upload.object, now).await?.saturating_sub(freed);
        libraries::set(m.tx(), owner, item::within(self.0.config.library.quota, taken, more)?).await?;
        row.version = row.version.saturating_add(1);
        row.updated_at = now;
        items::update(m.tx(), &row).await?;
        let row = items::by_id(m.tx(), owner, row.id).await?.ok_or(Refusal::ItemNotFound)?;
        Ok(Done::New(self.shown(row)?, Vec::new()))
    }
}

/// What was received so far.
#[derive(Default)]
struct Received {
    size: i64,
    hash: Sha256,
    head: Vec<u8>,
    /// What is not written yet.
    segment: BytesMut,
    /// How many segments are written.
    segments: u32,
}

impl Received {
    fn look_at(&mut self, chunk: &Bytes, expected: i64) -> Result<(), Refusal> {
        self.size = self.size.saturating_add(i64::try_from(chunk.len()).unwrap_or(i64::MAX));
        if self.size > expected {
            return Err(Refusal::ContentSizeMismatch);
        }
        self.hash.update(chunk);
        let room = HEAD.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(chunk.get(..room).unwrap_or_default());
        Ok(())
    }

    /// Writes what is not written yet.
    async fn write(&mut self, upload: &Upload) -> Result<(), Error> {
        upload.writer.write(self.segments, self.segment.split().freeze()).await?;
        self.segments = self.segments.saturating_add(1);
        Ok(())
    }

    /// The media type, if size, hash and type are as was said.
    fn settle(self, start: &UploadStart) -> Result<MediaType, Error> {
        if self.size != start.size {
            return Err(Refusal::ContentSizeMismatch.into());
        }
        if <[u8; 32]>::from(self.hash.finalize()) != start.sha256 {
            return Err(Refusal::ContentHashMismatch.into());
        }
        let shown = Shown {
            mark: infer::get(&self.head).map(|found| found.mime_type()),
            said_has_mark: start.media_type.as_ref().is_some_and(|said| infer::is_mime_supported(said.as_str())),
            is_text: is_text(&self.head, self.head.len() >= HEAD),
        };
        let contradicted = |error| Problem::invalid_field("media_type", format!("the content {error}"));
        settle(start.media_type.clone(), shown)
            .map_err(|error| contradicted(error).with_reason(MEDIA_TYPE_MISMATCH).into())
    }
}

/// The reason of content that is not what it is said to be.
const MEDIA_TYPE_MISMATCH: &str = "MEDIA_TYPE_MISMATCH";

/// Whether bytes are text as far as they go; `cut`: more follows, perhaps in the middle of a character.
fn is_text(head: &[u8], cut: bool) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use bursar_runtime::{Service, Settings};
    use bursar_secret::Secret;
    use bursar_testkit::{TestDb, id};
    use tokio::net::TcpListener;

    use super::*;

    /// Longer than anything here takes; only a test that fails waits for it.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Organization with its content in a bucket at an address.
    async fn with_a_bucket(store: &TestDb, directory: &tempfile::TempDir, bucket: SocketAddr) -> Organization {
        let mut settings = Settings::for_test(directory.path());
        settings.stores[Service::Organization] = store.store_url();
        settings.content_url = "s3://acme-content".parse().expect("a bucket");
        settings.s3.endpoint = Some(format!("http://{bucket}"));
        "acme".clone_into(&mut settings.s3.access_key_id);
        settings.s3.secret_access_key = Some(Secret::new("hidden".to_owned()));
        crate::migrate(&settings, None).await.expect("migrated");
        crate::at_rest(&settings).await.expect("opened")
    }

    async fn reserved(organization: &Organization, owner: OwnerId) -> i64 {
        let mut tx = organization.0.db.read().await.expect("a snapshot");
        objects::reserved(&mut tx, owner, organization.now()).await.expect("read")
    }

    async fn until(what: &str, reached: impl AsyncFn() -> bool) {
        let wait = async {
            while !reached().await {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never reached: {what}");
    }

    bursar_testkit::engines! {
        /// Kind C: what nobody waits for any more is still at work.
        async fn an_upload_that_was_given_up_keeps_its_place_and_its_room_until_its_work_has_ended(store: TestDb) {
            // It takes whatever comes, and says nothing.
            let bucket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let directory = tempfile::tempdir().expect("a folder");
            let organization = with_a_bucket(&store, &directory, bucket.local_addr().expect("bound")).await;
            let owner = OwnerId::User(id::<bursar_id::kinds::User>(1));
            let start = UploadStart { item: id(2), media_type: None, size: 1_000, sha256: [0; 32], member: None };
            let mut asked = Vec::new();
            for _ in 0..4 {
                let upload = organization.begin_upload(owner, &start).await.expect("there is a place");
                let mut writing = Box::pin(async move { upload.writer.write(0, Bytes::from_static(b"bytes")).await });
                tokio::select! {
                    written = &mut writing => panic!("nothing was answered: {written:?}"),
                    connected = bucket.accept() => asked.push(connected.expect("connected")),
                }
                drop(writing);
            }
            let another = organization.begin_upload(owner, &start).await.map(drop);
            assert!(matches!(another, Err(Error::Refused(Refusal::TooManyTransfers))), "four are at work: {another:?}");
            assert_eq!(reserved(&organization, owner).await, 4_000, "and what they write has its room");
            // It hangs up, and so there is nothing to wait for any more.
            drop((bucket, asked));
            until("all is given back", async || {
                reserved(&organization, owner).await == 0 && organization.begin_upload(owner, &start).await.is_ok()
            }).await;
        }

        async fn what_was_given_away_is_not_taken_back_by_what_wrote_it(store: TestDb) {
            let directory = tempfile::tempdir().expect("a folder");
            let mut settings = Settings::for_test(directory.path());
            settings.stores[Service::Organization] = store.store_url();
            crate::migrate(&settings, None).await.expect("migrated");
            let organization = crate::at_rest(&settings).await.expect("opened");
            let owner = OwnerId::User(id::<bursar_id::kinds::User>(1));
            let start = UploadStart { item: id(2), media_type: None, size: 5, sha256: [0; 32], member: None };
            let upload = organization.begin_upload(owner, &start).await.expect("there is a place");
            upload.writer.write(0, Bytes::from_static(b"bytes")).await.expect("written");
            let mut tx = organization.0.db.begin().await.expect("begins");
            assert!(objects::adopt(&mut tx, &upload.object, organization.now()).await.expect("adopted"));
            tx.commit().await.expect("committed");
            upload.writer.end().await;
            let mut tx = organization.0.db.begin().await.expect("begins");
            assert!(objects::share(&mut tx, &upload.object).await.expect("looked for"), "it is somebody's");
            tx.rollback().await.expect("undone");
            let upload = organization.begin_upload(owner, &start).await.expect("there is a place");
            assert_eq!(reserved(&organization, owner).await, 5);
            upload.writer.end().await;
            assert_eq!(reserved(&organization, owner).await, 0, "given back before whoever waits is answered");
        }
    }

    /// Whatever is sent shows itself to be something, and of that there is a name.
    #[test]
    fn fuzz_contents() {
        let samples: [&[u8]; 6] = [
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
            b"PK\x03\x04\x14\0\0\0\0\0mimetypeapplication/vnd.oasis.opendocument.text",
            b"\0\0\0\x18ftypmp42\0\0\0\0",
            b"<?xml version=\"1.0\"?><svg/>",
            "Ä text of no type in particular".as_bytes(),
        ];
        bursar_fuzz::fuzz("contents", &samples, |bytes| {
            let mut received = Received::default();
            received.look_at(&Bytes::copy_from_slice(bytes), i64::MAX).expect("no longer than was said");
            let head = &received.head;
            assert!(head.len() <= HEAD, "{} bytes are looked at", head.len());
            let mark = infer::get(head).map(|found| found.mime_type());
            let shown = Shown { mark, said_has_mark: false, is_text: is_text(head, head.len() >= HEAD) };
            let found = settle(None, shown).expect("nothing was said that it could contradict");
            assert_eq!(MediaType::parse(found.as_str()), Ok(found));
        });
    }
}
