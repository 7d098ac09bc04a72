//! Content and exports of whole deployments, however large they are, and in buckets.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of a test fails by panicking and says what it saw"
)]

mod support;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use bursar_proto::organization::v1::download_content_response::Part;
use bursar_proto::organization::v1::{
    CreateItemRequest, CreateOrganizationRequest, DownloadContentRequest, ExportOrganizationRequest,
    UploadContentRequest,
};
use bursar_runtime::{Cloud, Service};
use bursar_testkit::{Bucket, Client, Deployment, Engine, Person, Plan, Process, Topology};
use sha2::{Digest as _, Sha256};
use tokio_stream as stream;

/// How much content there is, in MiB, unless `BURSAR_TEST_CONTENT_MIB` says otherwise.
const MIB: u64 = 128;
/// How much more memory it may take.
const ALLOWED_KIB: u64 = 64 * 1024;
/// How often the memory is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reads an archive piece by piece, however large it is: says of one file what its SHA-256 is and how long it is.
const READ: &str = "
import hashlib, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
digest, size = hashlib.sha256(), 0
with archive.open(sys.argv[2]) as content:
    while piece := content.read(1 << 20):
        digest.update(piece)
        size += len(piece)
print(digest.hexdigest(), size)
";

/// What Python's `zipfile` finds of an item's content in an archive.
fn content_in(archive: &Path, item: &str) -> String {
    let file = format!("library/content/{item}");
    let python = Command::new("python3").args(["-c", READ]).arg(archive).arg(file).output().expect("python3 runs");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    String::from_utf8(python.stdout).expect("text")
}

fn mib() -> u64 {
    let said = std::env::var("BURSAR_TEST_CONTENT_MIB").ok();
    said.map_or(MIB, |mib| mib.parse().expect("BURSAR_TEST_CONTENT_MIB: a number"))
}

/// Does something, and fails if the process had more memory meanwhile than `before` and what is allowed.
async fn within<T>(what: &str, process: &Process, before: Option<u64>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut most = before;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = look.tick() => most = most.max(process.memory_kib()),
        }
    };
    println!("{what}: {before:?} KiB before, at most {most:?} KiB");
    let more = most.zip(before).map(|(most, before)| most.saturating_sub(before));
    assert!(more.is_none_or(|kib| kib <= ALLOWED_KIB), "{what}: {more:?} KiB more");
    done
}

/// A megabyte that no other one is like.
fn megabyte(number: u64) -> Vec<u8> {
    let seed = Sha256::digest(number.to_be_bytes());
    seed.iter().copied().cycle().take(1 << 20).collect()
}

/// The owner of an organization with an item that may have content.
struct Owner {
    ada: Person,
    /// The same in the organization's context.
    at_work: Person,
    organization: String,
    item: String,
}

impl Owner {
    async fn join(deployment: &Deployment) -> Self {
        let ada = Person::join(&Client::of(deployment), deployment.mailbox(), "Ada").await;
        let request = CreateOrganizationRequest { name: "Large".to_owned(), ..Default::default() };
        let made = ada.client().organizations().create_organization(request).await.expect("made").into_inner();
        let organization = made.organization.expect("an organization").id;
        let at_work = ada.in_context(&organization).await;
        let item = CreateItemRequest {
            owner: organization.clone(),
            kind: "brand_asset".to_owned(),
            name: "Large".to_owned(),
            ..Default::default()
        };
        let made = at_work.client().libraries().create_item(item).await.expect("made").into_inner();
        Self { ada, at_work, organization, item: made.item.expect("an item").id }
    }

    /// Sends so many megabytes; their SHA-256.
    async fn uploads(&self, mib: u64) -> Vec<u8> {
        let digest = (0..mib).fold(Sha256::new(), |digest, n| digest.chain_update(megabyte(n))).finalize();
        let start = UploadContentRequest {
            item_id: self.item.clone(),
            size: i64::try_from(mib << 20).expect("small"),
            sha256: hex::encode(digest),
            ..Default::default()
        };
        let chunks = (0..mib).map(|n| UploadContentRequest { chunk: megabyte(n), ..Default::default() });
        let sent = stream::iter(std::iter::once(start).chain(chunks));
        self.at_work.client().libraries().upload_content(sent).await.expect("uploaded");
        digest.to_vec()
    }

    /// The SHA-256 of what comes back.
    async fn downloads(&self) -> Vec<u8> {
        let request = DownloadContentRequest { item_id: self.item.clone(), offset: 0 };
        let mut libraries = self.at_work.client().libraries();
        let mut parts = libraries.download_content(request).await.expect("begun").into_inner();
        let mut found = Sha256::new();
        while let Some(part) = parts.message().await.expect("the next part") {
            if let Some(Part::Chunk(chunk)) = part.part {
                found.update(chunk);
            }
        }
        found.finalize().to_vec()
    }

    /// Takes the organization home into a file.
    async fn exports(&self, path: &Path) {
        let mut archive = BufWriter::new(File::create(path).expect("made"));
        let request = ExportOrganizationRequest { organization_id: self.organization.clone(), kinds: Vec::new() };
        let exporting = self.ada.client().organizations().export_organization(request).await;
        let mut exporting = exporting.expect("begun").into_inner();
        while let Some(part) = exporting.message().await.expect("the next chunk") {
            archive.write_all(&part.chunk).expect("written");
        }
        archive.flush().expect("written");
    }
}

/// Up, down and home, while the process with organization in it is watched.
async fn takes_no_more_memory(deployment: &mut Deployment) {
    let mib = mib();
    let owner = Owner::join(deployment).await;
    let process = &*deployment.process(Service::Organization);
    let before = process.memory_kib();
    let digest = within("upload", process, before, owner.uploads(mib)).await;
    assert_eq!(within("download", process, before, owner.downloads()).await, digest);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("export.zip");
    within("export", process, before, owner.exports(&path)).await;
    let uploaded = format!("{} {}\n", hex::encode(digest), mib << 20);
    assert_eq!(content_in(&path, &owner.item), uploaded, "what is in the archive is what was uploaded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_and_exports_take_no_more_memory_however_much_there_is() {
    let mut suite = Plan::new(Topology::Suite).start().await;
    takes_no_more_memory(&mut suite).await;
}

/// As it is run by many: a process for each service, PostgreSQL, and content in a bucket, of which organization is told how to
/// reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_in_a_bucket_takes_no_more_memory_of_three_processes() {
    let bucket = Bucket::start(Cloud::S3).await.expect("it is in this process");
    let Some(plan) = support::world::plan_on(Topology::Split, Engine::Postgres).await else { return };
    let plan = bucket.environment().into_iter().fold(plan, |plan, (name, value)| plan.env(name, value));
    let mut services = plan.start().await;
    takes_no_more_memory(&mut services).await;
    let segments = usize::try_from(mib().div_ceil(4)).expect("few");
    assert_eq!(bucket.objects(), segments, "it lies there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_key_is_given_google_says_who_the_machine_is() {
    let bucket = Bucket::start(Cloud::Google).await.expect("it is in this process");
    // Where nobody has signed in by hand, which counts before the machine.
    let home = tempfile::tempdir().expect("a folder");
    let plan = Plan::new(Topology::Suite)
        .env("HOME", home.path().display().to_string())
        .env("GCE_METADATA_HOST", bucket.address().to_string());
    let plan = bucket.place().into_iter().fold(plan, |plan, (name, value)| plan.env(name, value));
    let suite = plan.start().await;
    let owner = Owner::join(&suite).await;
    let digest = owner.uploads(5).await;
    assert_eq!(owner.downloads().await, digest);
    assert_eq!(bucket.objects(), 2, "it lies there");
}
