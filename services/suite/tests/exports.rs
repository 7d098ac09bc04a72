//! Content and exports of the whole program, however large they are.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of a test fails by panicking and says what it saw"
)]

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
use bursar_testkit::{Client, Person, Plan, Process, Topology};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_and_exports_take_no_more_memory_however_much_there_is() {
    let mib = mib();
    let mut suite = Plan::new(Topology::Suite).start().await;
    let ada = Person::join(&Client::of(&suite), suite.mailbox(), "Ada").await;
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
    let item = made.item.expect("an item").id;
    let process = &suite.processes()[0];
    let before = process.memory_kib();
    let digest = (0..mib).fold(Sha256::new(), |digest, n| digest.chain_update(megabyte(n))).finalize();
    let start = UploadContentRequest {
        item_id: item.clone(),
        size: i64::try_from(mib << 20).expect("small"),
        sha256: hex::encode(digest),
        ..Default::default()
    };
    let chunks = (0..mib).map(|n| UploadContentRequest { chunk: megabyte(n), ..Default::default() });
    let sent = stream::iter(std::iter::once(start).chain(chunks));
    let mut libraries = at_work.client().libraries();
    within("upload", process, before, libraries.upload_content(sent)).await.expect("uploaded");

    let downloading = async {
        let request = DownloadContentRequest { item_id: item.clone(), offset: 0 };
        let mut parts = libraries.download_content(request).await.expect("begun").into_inner();
        let mut found = Sha256::new();
        while let Some(part) = parts.message().await.expect("the next part") {
            if let Some(Part::Chunk(chunk)) = part.part {
                found.update(chunk);
            }
        }
        found.finalize()
    };
    assert_eq!(within("download", process, before, downloading).await, digest);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("export.zip");
    let exporting = async {
        let mut archive = BufWriter::new(File::create(&path).expect("made"));
        let request = ExportOrganizationRequest { organization_id: organization, kinds: Vec::new() };
        let exporting = ada.client().organizations().export_organization(request).await;
        let mut exporting = exporting.expect("begun").into_inner();
        while let Some(part) = exporting.message().await.expect("the next chunk") {
            archive.write_all(&part.chunk).expect("written");
        }
        archive.flush().expect("written");
    };
    within("export", process, before, exporting).await;
    let uploaded = format!("{} {}\n", hex::encode(digest), mib << 20);
    assert_eq!(content_in(&path, &item), uploaded, "what is in the archive is what was uploaded");
}
