//! Exports as the API streams them.

use std::pin::Pin;

use bursar_proto::organization::v1 as proto;
use bursar_rpc::Violations;
use futures::{Stream, StreamExt as _};
use tonic::Status;

use crate::domain::export::{ExportKind, ExportKinds};
use crate::usecase::Outflow;

/// What goes down.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<proto::ExportOrganizationResponse, Status>> + Send>>;

/// What an export shall have.
pub(super) fn kinds(message: &proto::ExportOrganizationRequest, violations: &mut Violations) -> Option<ExportKinds> {
    let known = message.kinds.iter().enumerate().map(|(n, number)| {
        let kind = proto::ExportKind::try_from(*number).ok().and_then(kind);
        violations.require(&format!("kinds[{n}]"), kind.is_some(), "must be a kind of what can be exported");
        kind
    });
    let known: Vec<Option<ExportKind>> = known.collect();
    known.into_iter().collect::<Option<Vec<_>>>().map(ExportKinds::named)
}

fn kind(kind: proto::ExportKind) -> Option<ExportKind> {
    Some(match kind {
        proto::ExportKind::Unspecified => return None,
        proto::ExportKind::Members => ExportKind::Members,
        proto::ExportKind::Projects => ExportKind::Projects,
        proto::ExportKind::Library => ExportKind::Library,
        proto::ExportKind::Content => ExportKind::Content,
        proto::ExportKind::Audit => ExportKind::Audit,
        proto::ExportKind::Usage => ExportKind::Usage,
    })
}

/// What goes down of an export.
pub(super) fn chunks(export: Outflow) -> Chunks {
    export.stream().map(|chunk| Ok(proto::ExportOrganizationResponse { chunk: chunk?.to_vec() })).boxed()
}
