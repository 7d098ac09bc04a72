//! What people do with items of a library, as `cast/calls.rs` for the rest.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bursar_proto::organization::v1::{
    CopyItemRequest, CopyItemResponse, CreateItemRequest, CreateItemResponse, DownloadContentRequest,
    ExportOrganizationRequest, GetItemRequest, GetItemResponse, GetPreferencesRequest, Item, ListItemsRequest,
    ListItemsResponse, UpdatePreferencesRequest, UpdatePreferencesResponse, UploadContentRequest,
    UploadContentResponse, download_content_response::Part,
};
use prost_types::{Struct, Value, value::Kind};
use sha2::{Digest as _, Sha256};

use crate::demo::{
    cast::{Actor, calls::Outcome},
    wire::{answer, part},
};

impl Actor {
    /// An empty parent: it stands alone.
    pub(in crate::demo) async fn make_item(&self, kind: &str, name: &str, parent: &str) -> Outcome<CreateItemResponse> {
        self.make_item_with(kind, name, parent, &[]).await
    }

    /// With a document of these fields.
    pub(in crate::demo) async fn make_item_with(
        &self,
        kind: &str,
        name: &str,
        parent: &str,
        document: &[(&str, &str)],
    ) -> Outcome<CreateItemResponse> {
        let request = CreateItemRequest {
            owner: self.owner.clone(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            document: Some(to_struct(document)),
            parent: parent.to_owned(),
            request_id: self.request_id(),
            ..CreateItemRequest::default()
        };
        self.wire.libraries().create_item(request).await
    }

    pub(in crate::demo) async fn item(&self, id: &str) -> Outcome<GetItemResponse> {
        self.wire.libraries().get_item(GetItemRequest { item_id: id.to_owned() }).await
    }

    /// Of every kind.
    pub(in crate::demo) async fn items(&self) -> Outcome<ListItemsResponse> {
        self.items_under("").await
    }

    /// What stands right under an item.
    pub(in crate::demo) async fn items_under(&self, parent: &str) -> Outcome<ListItemsResponse> {
        let (owner, parent) = (self.owner.clone(), parent.to_owned());
        self.wire.libraries().list_items(ListItemsRequest { owner, parent, ..ListItemsRequest::default() }).await
    }

    /// What belongs to a project.
    pub(in crate::demo) async fn items_of(&self, project: &str) -> Outcome<ListItemsResponse> {
        let (owner, project) = (self.owner.clone(), project.to_owned());
        self.wire.libraries().list_items(ListItemsRequest { owner, project, ..ListItemsRequest::default() }).await
    }

    /// Copies what is named of that which stands under an item of the token's context into an item of the same kind in
    /// another of the actor's contexts.
    pub(in crate::demo) async fn copy_into(
        &self,
        item: &str,
        children: &[&str],
        (to_owner, to_parent): (&str, &str),
    ) -> Outcome<CopyItemResponse> {
        let request = CopyItemRequest {
            item_id: item.to_owned(),
            to_owner: to_owner.to_owned(),
            to_parent: to_parent.to_owned(),
            child_ids: children.iter().map(|id| (*id).to_owned()).collect(),
            request_id: self.request_id(),
            ..CopyItemRequest::default()
        };
        self.wire.libraries().copy_item(request).await
    }

    /// All in one message: this is little.
    pub(in crate::demo) async fn upload(&self, item: &str, bytes: &[u8]) -> Outcome<UploadContentResponse> {
        let request = UploadContentRequest {
            item_id: item.to_owned(),
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            sha256: hex::encode(Sha256::digest(bytes)),
            chunk: bytes.to_vec(),
            ..UploadContentRequest::default()
        };
        self.wire.libraries().upload_content(tokio_stream::once(request)).await
    }

    /// Everything of the organization, as one zip archive.
    pub(in crate::demo) async fn export(&self) -> anyhow::Result<Vec<u8>> {
        let request = ExportOrganizationRequest { organization_id: self.owner.clone(), kinds: Vec::new() };
        let mut parts = answer(self.wire.organizations().export_organization(request).await)?;
        let mut bytes = Vec::new();
        while let Some(next) = parts.message().await.context("the export")? {
            bytes.extend(next.chunk);
        }
        Ok(bytes)
    }

    /// What the actor prefers in the organization, in the place of what was preferred before.
    pub(in crate::demo) async fn prefer(&self, fields: &[(&str, &str)]) -> Outcome<UpdatePreferencesResponse> {
        let request = UpdatePreferencesRequest {
            organization_id: self.owner.clone(),
            preferences: Some(to_struct(fields)),
            request_id: self.request_id(),
            ..UpdatePreferencesRequest::default()
        };
        self.wire.members().update_preferences(request).await
    }

    pub(in crate::demo) async fn preferences(&self) -> anyhow::Result<Struct> {
        let request = GetPreferencesRequest { organization_id: self.owner.clone(), ..GetPreferencesRequest::default() };
        part(answer(self.wire.members().get_preferences(request).await)?.preferences, "preferences")
    }

    /// The whole content of an item.
    pub(in crate::demo) async fn download(&self, item: &str) -> anyhow::Result<Vec<u8>> {
        let request = DownloadContentRequest { item_id: item.to_owned(), offset: 0 };
        let mut parts = answer(self.wire.libraries().download_content(request).await)?;
        let mut bytes = Vec::new();
        while let Some(next) = parts.message().await.context("the download")? {
            if let Some(Part::Chunk(chunk)) = next.part {
                bytes.extend(chunk);
            }
        }
        Ok(bytes)
    }
}

/// The item that was made.
pub(super) fn made(outcome: Outcome<CreateItemResponse>) -> anyhow::Result<Item> {
    part(answer(outcome)?.item, "item")
}

/// A document of texts.
pub(super) fn to_struct(fields: &[(&str, &str)]) -> Struct {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields: BTreeMap<_, _> = fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
    Struct { fields }
}
