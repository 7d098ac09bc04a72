//! SIGKILL while content comes and archives go: an item has what it had before or all that was sent, an archive is whole or
//! breaks off with an error, and nothing of either is left lying about.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::sync::Arc;
use std::time::Duration;

use bursar_proto::organization::v1::download_content_response::Part;
use bursar_proto::organization::v1::{
    CreateItemRequest, DownloadContentRequest, ExportOrganizationRequest, ExportOrganizationResponse,
    UploadContentRequest,
};
use bursar_runtime::Service;
use bursar_testkit::{Client, Deployment, Person, Topology};
use bursar_time::Span;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream as stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use zip::ZipArchive;

use crate::callers::may_be_lost;
use crate::creations::{kill, restart};
use crate::support::stores::{Store, clean, content_files, fsck};
use crate::support::{
    clocks::leap,
    given, programs,
    waiting::{PATIENCE, eventually, settles},
    world::{self, World},
};

const MIB: usize = 1 << 20;
/// What the organization has, in bytes of each item.
const SIZES: [usize; 3] = [9 * MIB, 12 * MIB, 100];
/// What an upload sends that is cut off: more than one part of an object.
const SENT: usize = 6 * MIB;
/// How many parts of an object that is.
const PARTS: usize = 2;
/// An archive is cut off when so much of it has come.
pub(crate) const TAKEN: [usize; 5] = [0, 1, 64 * 1024, 4 * MIB, 20 * MIB];

/// So long what is nobody's any more is kept for whoever still reads it, and a bit.
pub(crate) const KEPT: Span = Span::from_hours(4);

/// Bytes that are no other number's.
fn bytes_of(number: usize, length: usize) -> Vec<u8> {
    let seed = Sha256::digest(number.to_be_bytes());
    seed.iter().copied().cycle().take(length).collect()
}

fn start(item: &str, bytes: &[u8]) -> UploadContentRequest {
    UploadContentRequest {
        item_id: item.to_owned(),
        size: i64::try_from(bytes.len()).expect("few"),
        sha256: hex::encode(Sha256::digest(bytes)),
        ..UploadContentRequest::default()
    }
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = UploadContentRequest> {
    bytes.chunks(MIB).map(|chunk| UploadContentRequest { chunk: chunk.to_vec(), ..UploadContentRequest::default() })
}

/// Gives an item content.
pub(crate) async fn upload(client: &Client, item: &str, bytes: &[u8]) -> Result<(), Status> {
    let parts: Vec<_> = std::iter::once(start(item, bytes)).chain(chunks(bytes)).collect();
    client.libraries().upload_content(stream::iter(parts)).await.map(drop)
}

async fn download(client: &Client, item: &str) -> Vec<u8> {
    let request = DownloadContentRequest { item_id: item.to_owned(), offset: 0 };
    let mut parts = given(client.libraries().download_content(request).await);
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.expect("the next part") {
        if let Some(Part::Chunk(chunk)) = part.part {
            bytes.extend(chunk);
        }
    }
    bytes
}

/// A deployment with an organization that has content.
pub(crate) struct Stage {
    pub(crate) deployment: Deployment,
    owner: String,
    pub(crate) organization: String,
    /// Whose content is sent anew.
    item: String,
    /// Where the programs put what they need for a moment.
    temporary: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn set(topology: Topology) -> Option<Self> {
        let plan = world::plan(topology).await?;
        programs::build();
        let temporary = tempfile::tempdir().expect("a folder");
        let plan = plan.arg("--test-clock").env("TMPDIR", temporary.path().display().to_string());
        let world = World::of(Arc::new(plan.start().await));
        let team = world.team().assemble().await;
        let (owner, organization) = (team.owner.email.clone(), team.id.clone());
        let mut item = String::new();
        for (number, size) in SIZES.into_iter().enumerate() {
            let (kind, name) = ("brand_asset".to_owned(), format!("Asset {number}"));
            let create = CreateItemRequest { owner: organization.clone(), kind, name, ..CreateItemRequest::default() };
            item = given(team.owner.client().libraries().create_item(create).await).item.expect("an item").id;
            upload(team.owner.client(), &item, &bytes_of(number, size)).await.expect("uploaded");
        }
        drop(team);
        Some(Self { deployment: world.into_deployment(), owner, organization, item, temporary })
    }

    /// The owner, at work in the organization.
    pub(crate) async fn owner(&self) -> Person {
        let signed_in = eventually("billing and organization answer", PATIENCE, async || {
            let person = Person::sign_in(&Client::of(&self.deployment), &self.owner).await;
            Some(person.in_context(&self.organization).await)
        });
        signed_in.await
    }

    async fn store(&self) -> Store {
        Store::of(&self.deployment, Service::Organization).await
    }

    /// Nothing of what was cut off lies about: the object store has so many files, and where programs put what they need for a
    /// moment there is none.
    #[track_caller]
    pub(crate) fn is_tidy(&self, files: usize, when: &str) {
        assert_eq!(content_files(&self.deployment), files, "{when}: nothing is left of it");
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).expect("a folder").flatten().collect();
        assert!(left.is_empty(), "{when}: {left:?}");
    }

    /// When nobody reads what was replaced any more, nothing lies in the store that is nobody's content.
    pub(crate) async fn collected(&self, files: usize) {
        leap(&Client::of(&self.deployment), KEPT).await;
        let mut store = self.store().await;
        settles("what is nobody's is collected", PATIENCE, async || {
            let loose = store.count("SELECT COUNT(*) FROM objects WHERE refs = 0 AND id <> $1", "").await;
            match (loose, content_files(&self.deployment)) {
                (0, found) if found == files => Ok(()),
                found => Err(format!("{found:?}, and not {files} files")),
            }
        })
        .await;
    }
}

/// An archive that is being taken.
pub(crate) struct Taking {
    parts: Streaming<ExportOrganizationResponse>,
    pub(crate) bytes: Vec<u8>,
}

impl Taking {
    /// Asks for one.
    pub(crate) async fn ask(client: &Client, organization: &str) -> Result<Self, Status> {
        let request = ExportOrganizationRequest { organization_id: organization.to_owned(), kinds: Vec::new() };
        let parts = client.organizations().export_organization(request).await?.into_inner();
        Ok(Self { parts, bytes: Vec::new() })
    }

    pub(crate) async fn begin(client: &Client, organization: &str) -> Self {
        Self::ask(client, organization).await.unwrap_or_else(|status| panic!("an export is refused: {status:?}"))
    }

    /// Takes until there is so much; `true` at its end.
    pub(crate) async fn take(&mut self, length: usize) -> Result<bool, Status> {
        while self.bytes.len() < length {
            let Some(part) = self.parts.message().await? else { return Ok(true) };
            self.bytes.extend(part.chunk);
        }
        Ok(false)
    }
}

/// What a whole archive has of the library, by the names of its files, each read to its end.
pub(crate) fn library(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).expect("an archive");
    let mut files = BTreeMap::new();
    let mut names = Vec::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).expect("a file");
        let (name, mut bytes) = (file.name().expect("a name").into_owned(), Vec::new());
        file.read_to_end(&mut bytes).expect("whole");
        if name.starts_with("library/") {
            files.insert(name.clone(), Sha256::digest(&bytes).to_vec());
        }
        names.push(name);
    }
    assert!(names.iter().any(|name| name == "manifest.json"), "whole archives say so: {names:?}");
    files
}

pub(crate) async fn export(client: &Client, organization: &str) -> Vec<u8> {
    let mut taking = Taking::begin(client, organization).await;
    assert!(taking.take(usize::MAX).await.expect("the next chunk"));
    taking.bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_on_sqlite_survive_kills_at_every_step() {
    cut_exports_off(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_on_postgres_survive_kills_at_every_step() {
    cut_exports_off(Topology::Split).await;
}

async fn cut_exports_off(topology: Topology) {
    const AUDITED: &str = "SELECT COUNT(*) FROM audit WHERE owner IS NOT NULL AND target = $1 AND outcome = 'DONE' \
        AND method LIKE '%/ExportOrganization'";
    let Some(mut stage) = Stage::set(topology).await else {
        return;
    };
    let organization = stage.organization.clone();
    let reference = export(stage.owner().await.client(), &organization).await;
    let (files, reference) = (content_files(&stage.deployment), (library(&reference), reference.len()));
    let last = reference.1 - 64 * 1024;
    let of_organization = TAKEN.into_iter().chain([last]).map(|taken| (taken, Service::Organization));
    // It is asked for usage first of all.
    let rounds: Vec<_> = match topology {
        Topology::Suite => of_organization.collect(),
        Topology::Split => of_organization.chain([(0, Service::Billing)]).collect(),
    };
    for (taken, service) in rounds {
        let owner = stage.owner().await;
        let before = stage.store().await.count(AUDITED, &organization).await;
        let mut taking = Taking::begin(owner.client(), &organization).await;
        assert!(!taking.take(taken).await.expect("the next chunk"), "{taken}: nothing is left to cut off");
        let killed = kill(&mut stage.deployment, service);
        match taking.take(usize::MAX).await {
            Ok(_) => assert_eq!(library(&taking.bytes), reference.0, "{taken}: an end that is none"),
            Err(status) => assert!(may_be_lost(&status), "{taken}: {status:?}"),
        }
        restart(&mut stage.deployment, killed).await;
        assert_eq!(stage.store().await.count(AUDITED, &organization).await, before + 1, "{taken}: it is known");
        let again = export(stage.owner().await.client(), &organization).await;
        assert_eq!(library(&again), reference.0, "{taken}");
        stage.is_tidy(files, &format!("after {taken} bytes"));
    }
    stage.collected(files).await;
    clean(fsck(&stage.deployment, &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_on_sqlite_survive_kills_at_every_step() {
    cut_uploads_off(Topology::Suite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_on_postgres_survive_kills_at_every_step() {
    cut_uploads_off(Topology::Split).await;
}

async fn cut_uploads_off(topology: Topology) {
    let Some(mut stage) = Stage::set(topology).await else {
        return;
    };
    let [.., old] = SIZES;
    let (item, files) = (stage.item.clone(), content_files(&stage.deployment));
    let old = bytes_of(SIZES.len() - 1, old);
    for sent in 0..=SENT / MIB {
        let owner = stage.owner().await;
        let bytes = bytes_of(100 + sent, SENT);
        let (sender, receiver) = mpsc::channel(1);
        let uploading = tokio::spawn({
            let client = owner.client().clone();
            async move { client.libraries().upload_content(ReceiverStream::new(receiver)).await.map(drop) }
        });
        for part in std::iter::once(start(&item, &bytes)).chain(chunks(&bytes).take(sent)) {
            sender.send(part).await.expect("it is taken");
        }
        if sent > 4 {
            eventually("a part of the object is written", PATIENCE, async || {
                (content_files(&stage.deployment) > files).then_some(())
            })
            .await;
        }
        let killed = kill(&mut stage.deployment, Service::Organization);
        let outcome = tokio::time::timeout(Duration::from_secs(5), uploading).await.expect("it hears of it");
        assert!(may_be_lost(&outcome.expect("no panic").expect_err("it did not end")), "{sent}");
        drop(sender);
        restart(&mut stage.deployment, killed).await;
        assert!(download(stage.owner().await.client(), &item).await == old, "{sent}: it has what it had");
        stage.collected(files).await;
        stage.is_tidy(files, &format!("after {sent} chunks"));
    }
    let new = bytes_of(200, SENT);
    upload(stage.owner().await.client(), &item, &new).await.expect("uploaded");
    assert!(download(stage.owner().await.client(), &item).await == new);
    stage.collected(files - 1 + PARTS).await;
    clean(fsck(&stage.deployment, &[]).await);
}
