//! `LibraryService`.

use std::mem::take;

use bursar_id::ItemId;
use bursar_proto::organization::v1::library_service_server::LibraryService;
use bursar_proto::organization::v1::{
    CopyItemRequest, CopyItemResponse, CreateItemRequest, CreateItemResponse, DeleteItemRequest, DeleteItemResponse,
    DownloadContentRequest, GetItemRequest, GetItemResponse, Item, ListItemsRequest, ListItemsResponse,
    ListKindsRequest, ListKindsResponse, RevealSecretsRequest, RevealSecretsResponse, UpdateItemRequest,
    UpdateItemResponse, UploadContentRequest, UploadContentResponse,
};
use bursar_rpc::convert::UpdateMask;
use bursar_rpc::document::to_struct;
use bursar_rpc::{Answer, Asked, Call, Caller, PageRequest, Problem, Violations};
use prost_types::Struct;
use tonic::{Request, Response, Status, Streaming};

use super::{Handlers, convert, document, transfer};
use crate::domain::item::MAX_TOUCHED;
use crate::domain::name::Name;
use crate::usecase::{self, Children, ItemChange, ItemCopy, ItemDeletion, ItemFilter, NewItem};

#[tonic::async_trait]
impl LibraryService for Handlers {
    async fn list_kinds(&self, request: Request<ListKindsRequest>) -> Result<Response<ListKindsResponse>, Status> {
        let message = request.into_inner();
        let list = self.0.parts().pages.list("ListKinds", []);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_kinds(&page)?.messages(convert::kind);
        Ok(Response::new(ListKindsResponse { kinds: page.rows, next_page_token: page.next_page_token }))
    }

    async fn create_item(&self, request: Request<CreateItemRequest>) -> Result<Response<CreateItemResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = convert::owner(&message.owner)?;
        let request_id = take(&mut message.request_id);
        let sent = self.printed(&mut message.document);
        let read = |message: &CreateItemRequest, violations: &mut Violations| new(message, sent.as_ref(), violations);
        let asked = Asked::read(call, &request_id, &message, read);
        let created = self.0.create_item(owner, &asked).await?;
        Ok(Response::new(CreateItemResponse { item: Some(self.item(created).await?) }))
    }

    async fn get_item(&self, request: Request<GetItemRequest>) -> Result<Response<GetItemResponse>, Status> {
        let caller = Caller::of(&request)?;
        let id = convert::field::<ItemId>("item_id", &request.into_inner().item_id);
        let item = self.0.get_item(&caller, id).await?;
        Ok(Response::new(GetItemResponse { item: Some(convert::item(item)) }))
    }

    async fn list_items(&self, request: Request<ListItemsRequest>) -> Result<Response<ListItemsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let owner = convert::owner(&message.owner)?;
        let arguments = [&message.owner, &message.kind, &message.parent, &message.project];
        let list = self.0.parts().pages.list("ListItems", arguments.map(String::as_str));
        let page = PageRequest::parse(message.page_size, &message.page_token, list);
        let asked = filter(&message).and_then(|filter| Ok((filter, page?)));
        let page = self.0.list_items(&caller, owner, asked).await?.messages(convert::item);
        Ok(Response::new(ListItemsResponse { items: page.rows, next_page_token: page.next_page_token }))
    }

    async fn update_item(&self, request: Request<UpdateItemRequest>) -> Result<Response<UpdateItemResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let sent = self.printed(&mut message.document);
        let read =
            |message: &UpdateItemRequest, violations: &mut Violations| change(message, sent.as_ref(), violations);
        let asked = Asked::read(call, &request_id, &message, read);
        let updated = self.0.update_item(&asked).await?;
        Ok(Response::new(UpdateItemResponse { item: Some(self.item(updated).await?) }))
    }

    async fn delete_item(&self, request: Request<DeleteItemRequest>) -> Result<Response<DeleteItemResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, deletion);
        self.0.delete_item(&asked).await?;
        Ok(Response::new(DeleteItemResponse {}))
    }

    async fn copy_item(&self, request: Request<CopyItemRequest>) -> Result<Response<CopyItemResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let to = convert::field("to_owner", &message.to_owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, copy);
        let copied = self.0.copy_item(to, &asked).await?;
        Ok(Response::new(CopyItemResponse { item: Some(self.item(copied).await?) }))
    }

    async fn upload_content(
        &self,
        request: Request<Streaming<UploadContentRequest>>,
    ) -> Result<Response<UploadContentResponse>, Status> {
        let call = Call::of(&request)?;
        let idle = self.0.parts().config.library.idle;
        let (mut first, rest) = transfer::begun(request.into_inner(), idle).await?;
        let chunk = take(&mut first.chunk);
        let asked = Asked::read(call, "", &first, transfer::start);
        let uploaded = self.0.upload_content(&asked, transfer::chunks(chunk, rest)).await?;
        Ok(Response::new(UploadContentResponse { item: Some(self.item(uploaded).await?) }))
    }

    type DownloadContentStream = transfer::Parts;

    async fn download_content(
        &self,
        request: Request<DownloadContentRequest>,
    ) -> Result<Response<Self::DownloadContentStream>, Status> {
        let caller = Caller::of(&request)?;
        let asked = transfer::wanted(&request.into_inner());
        let download = self.0.download_content(&caller, asked).await?;
        Ok(Response::new(transfer::parts(download)))
    }

    async fn reveal_secrets(
        &self,
        request: Request<RevealSecretsRequest>,
    ) -> Result<Response<RevealSecretsResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let read = |message: &RevealSecretsRequest, violations: &mut Violations| {
            violations.check("item_id", message.item_id.parse())
        };
        let asked = Asked::read(call, "", &message, read);
        let revealed = self.0.reveal_secrets(&asked).await?.made();
        let secrets = revealed.map(|revealed| to_struct(revealed.0));
        Ok(Response::new(RevealSecretsResponse { secrets }))
    }
}

impl Handlers {
    /// Takes a document out of a request, and leaves a print of it there for comparing requests by.
    fn printed(&self, document: &mut Option<Struct>) -> Option<Struct> {
        let print = document.as_ref().map(|sent| document::print(&self.0.parts().prints, sent));
        std::mem::replace(document, print)
    }

    /// What a change of an item is answered with. A repetition is told of the item as it is then; of one that is gone, or not to be
    /// seen at the moment, which one it was.
    async fn item(&self, answer: Answer<usecase::Item>) -> Result<Item, Status> {
        let kept = match answer {
            Answer::New(item) => return Ok(convert::item(item)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let (Ok(owner), Ok(id)) = (kept.owner.parse(), kept.id.parse()) else {
            return Err(Problem::internal(&"a stored answer names no item").into());
        };
        let now = self.0.item_as_is(owner, id).await?;
        // Earlier programs have kept all of it.
        Ok(now.map_or_else(|| convert::item_alone(kept), convert::item))
    }
}

fn new(message: &CreateItemRequest, sent: Option<&Struct>, violations: &mut Violations) -> Option<NewItem> {
    violations.require("kind", !message.kind.is_empty(), "is required");
    let name = violations.check("name", Name::parse(&message.name));
    let document = violations.check("document", bursar_rpc::document::document(sent));
    let parent = violations.check_optional("parent", &message.parent, str::parse);
    let member = violations.check_optional("member", &message.member, str::parse);
    let kind = message.kind.clone();
    Some(NewItem { kind, name: name?, document: document?, parent: parent?, member: member? })
}

fn change(message: &UpdateItemRequest, sent: Option<&Struct>, violations: &mut Violations) -> Option<ItemChange> {
    let item = violations.check("item_id", message.item_id.parse());
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &["name", "document"], violations);
    let name = mask.read("name", &message.name, Name::parse, violations);
    let empty = sent.is_none_or(|sent| sent.fields.is_empty());
    let document =
        mask.changes("document", empty).then(|| violations.check("document", bursar_rpc::document::document(sent)));
    let member = violations.check_optional("member", &message.member, str::parse);
    Some(ItemChange { item: item?, name, document: document.flatten(), etag: message.etag.clone(), member: member? })
}

fn deletion(message: &DeleteItemRequest, violations: &mut Violations) -> Option<ItemDeletion> {
    let item = violations.check("item_id", message.item_id.parse());
    let member = violations.check_optional("member", &message.member, str::parse);
    let with_children = message.with_children;
    Some(ItemDeletion { item: item?, with_children, etag: message.etag.clone(), member: member? })
}

fn copy(message: &CopyItemRequest, violations: &mut Violations) -> Option<ItemCopy> {
    let item = violations.check("item_id", message.item_id.parse());
    let to_parent = violations.check_optional("to_parent", &message.to_parent, str::parse);
    let member = violations.check_optional("member", &message.member, str::parse);
    let children = if message.with_children {
        violations.require("child_ids", message.child_ids.is_empty(), "must be empty where with_children is set");
        Some(Children::All)
    } else if message.child_ids.is_empty() {
        Some(Children::None)
    } else {
        child_ids(&message.child_ids, violations).map(Children::These)
    };
    Some(ItemCopy { item: item?, to_parent: to_parent?, children: children?, member: member? })
}

fn child_ids(texts: &[String], violations: &mut Violations) -> Option<Vec<ItemId>> {
    if texts.len() > MAX_TOUCHED as usize {
        violations.add("child_ids", format!("has {} ids, at most {MAX_TOUCHED} may be", texts.len()));
        return None;
    }
    let parsed = texts.iter().enumerate().map(|(n, text)| violations.check(&format!("child_ids[{n}]"), text.parse()));
    parsed.collect::<Vec<_>>().into_iter().collect()
}

fn filter(message: &ListItemsRequest) -> Result<ItemFilter, Problem> {
    let mut violations = Violations::new();
    let parent = violations.check_optional("parent", &message.parent, str::parse);
    let project = violations.check_optional("project", &message.project, str::parse);
    let kind = Some(message.kind.clone()).filter(|kind| !kind.is_empty());
    violations.finish()?;
    Ok(ItemFilter { kind, parent: parent.flatten(), project: project.flatten() })
}
