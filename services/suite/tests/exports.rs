//! An export of the whole program, however large what it exports.

use bursar_proto::organization::v1::{
    CreateItemRequest, CreateOrganizationRequest, ExportOrganizationRequest, UploadContentRequest,
};
use bursar_testkit::{Client, Person, Plan, Topology};
use sha2::{Digest as _, Sha256};
use tokio_stream as stream;

/// How much content there is.
const MIB: u64 = 128;
/// How much more memory it may take.
const ALLOWED_KIB: u64 = 64 * 1024;

/// A megabyte that no other one is like.
fn megabyte(number: u64) -> Vec<u8> {
    let seed = Sha256::digest(number.to_be_bytes());
    seed.iter().copied().cycle().take(1 << 20).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_takes_no_more_memory_however_much_there_is() {
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
    let digest = (0..MIB).fold(Sha256::new(), |digest, n| digest.chain_update(megabyte(n))).finalize();
    let start = UploadContentRequest {
        item_id: made.item.expect("an item").id,
        size: i64::try_from(MIB << 20).expect("small"),
        sha256: hex::encode(digest),
        ..Default::default()
    };
    let chunks = (0..MIB).map(|n| UploadContentRequest { chunk: megabyte(n), ..Default::default() });
    let sent = stream::iter(std::iter::once(start).chain(chunks));
    at_work.client().libraries().upload_content(sent).await.expect("uploaded");

    let before = suite.processes()[0].memory_kib();
    let request = ExportOrganizationRequest { organization_id: organization, kinds: Vec::new() };
    let exporting = ada.client().organizations().export_organization(request).await;
    let mut exporting = exporting.expect("begun").into_inner();
    let (mut bytes, mut most) = (0_u64, before);
    while let Some(part) = exporting.message().await.expect("the next chunk") {
        // As often as a megabyte comes.
        if bytes >> 20 != (bytes + part.chunk.len() as u64) >> 20 {
            most = most.max(suite.processes()[0].memory_kib());
        }
        bytes += part.chunk.len() as u64;
    }
    println!("{bytes} bytes; {before:?} KiB before, at most {most:?} KiB");
    assert!(bytes > MIB << 20, "{bytes} bytes");
    let more = most.zip(before).map(|(most, before)| most.saturating_sub(before));
    assert!(more.is_none_or(|kib| kib <= ALLOWED_KIB), "{more:?} KiB more");
}
