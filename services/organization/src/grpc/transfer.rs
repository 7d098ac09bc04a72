//! Content as the API streams it: up in chunks after a first message that says what comes, down in chunks after one that says
//! what it is.

use std::pin::Pin;
use std::time::Duration;

use bursar_id::ItemId;
use bursar_proto::organization::v1::{
    DownloadContentRequest, DownloadContentResponse, UploadContentRequest, download_content_response::Part,
};
use bursar_rpc::{Problem, Violations};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tonic::{Status, Streaming};

use super::convert;
use crate::Error;
use crate::domain::Refusal;
use crate::domain::media::MediaType;
use crate::usecase::{Download, UploadStart};

/// What goes down.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<DownloadContentResponse, Status>> + Send>>;

/// The first message of an upload, and what follows it.
pub(super) async fn begun(
    mut sent: Streaming<UploadContentRequest>,
    idle: Duration,
) -> Result<(UploadContentRequest, Streaming<UploadContentRequest>), Status> {
    let first = tokio::time::timeout(idle, sent.message()).await.map_err(|_| Error::from(Refusal::UploadStalled))?;
    let missing = || Problem::invalid_field("item_id", "is required: the first message says what comes");
    Ok((first?.ok_or_else(missing)?, sent))
}

/// What the first message says.
pub(super) fn start(message: &UploadContentRequest, violations: &mut Violations) -> Option<UploadStart> {
    let item = violations.check("item_id", message.item_id.parse());
    let media_type = violations.check_optional("media_type", &message.media_type, MediaType::parse);
    violations.require("size", message.size >= 0, "must not be negative");
    let sha256 = sha256(&message.sha256);
    violations.require("sha256", sha256.is_some(), "must be the SHA-256 of the content, 64 hexadecimal digits");
    let member = violations.check_optional("member", &message.member, str::parse);
    let size = message.size;
    Some(UploadStart { item: item?, media_type: media_type?, size, sha256: sha256?, member: member? })
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

/// The bytes of an upload: those of the first message, and those of the others.
pub(super) fn chunks(
    first: Vec<u8>,
    rest: Streaming<UploadContentRequest>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin {
    let rest = rest.map(|message| {
        let message = message.map_err(|status| Error::Sent(Box::new(status)))?;
        if !message.item_id.is_empty() {
            return Err(Problem::invalid_field("item_id", "is said by the first message alone").into());
        }
        Ok(Bytes::from(message.chunk))
    });
    stream::iter([Ok(Bytes::from(first))]).chain(rest)
}

/// What a download asks for.
pub(super) fn wanted(message: &DownloadContentRequest) -> Result<(ItemId, u64), Problem> {
    let mut violations = Violations::new();
    let item = violations.check("item_id", message.item_id.parse());
    let offset = violations.check("offset", u64::try_from(message.offset).map_err(|_| "must not be negative"));
    match (item, offset) {
        (Some(item), Some(offset)) => Ok((item, offset)),
        _ => Err(violations.into_problem()),
    }
}

/// What goes down: what it is, then its bytes.
pub(super) fn parts(download: Download) -> Parts {
    let info = Part::Info(convert::content(download.content));
    let chunks = download.bytes.stream().map(|part| Ok(Part::Chunk(part?.to_vec())));
    let parts = stream::iter([Ok(info)]).chain(chunks);
    parts.map(|part| part.map(|part| DownloadContentResponse { part: Some(part) })).boxed()
}
