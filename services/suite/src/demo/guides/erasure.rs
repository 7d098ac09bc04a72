//! What a deletion leaves of an organization, as those look who need not be members: the product's service and the operator. A
//! member is told `NOT_A_MEMBER` whether anything was erased or not.

use anyhow::ensure;
use bursar_proto::organization::v1::{
    CheckAccessRequest, FindOrganizationsRequest, FoundOrganization, GetItemRequest, GetProjectRequest,
    ListItemsRequest, ListMembersRequest, ListProjectsRequest, Role, find_organizations_request::Query,
};
use tonic::Code;

use crate::demo::{
    cast::{Actor, PATIENCE, Play, eventually, expect, product},
    stage::Stage,
    wire::{Wire, answer, part, refused},
};

/// More than an organization has of anything in these stories.
const ALL: i32 = 1_000;

/// What an organization had, and by whom it is looked for again.
pub(super) struct Inventory {
    product: Wire,
    operator: Wire,
    organization: String,
    owner: String,
    items: Vec<String>,
    projects: Vec<String>,
}

impl Inventory {
    /// Writes down what the organization has of which `owner` is the owner: items of each of these kinds, at least.
    pub(super) async fn take(stage: &mut Stage, play: &Play, owner: &Actor, kinds: &[&str]) -> anyhow::Result<Self> {
        let product = product::hire(stage, play).await?;
        let operator = product::operator(play).await?;
        let (organization, owner) = (owner.owner.clone(), owner.user.clone());
        let all = Self { product, operator, organization, owner, items: Vec::new(), projects: Vec::new() };
        let (items, projects) = stage
            .step("the product finds what there is", "LibraryService/ListItems", async {
                let found = answer(all.product.libraries().list_items(all.all_items()).await)?.items;
                let missing: Vec<_> = kinds.iter().filter(|kind| found.iter().all(|it| it.kind != **kind)).collect();
                ensure!(missing.is_empty(), "there is nothing of the kinds {missing:?}");
                let items: Vec<_> = found.into_iter().map(|it| it.id).collect();
                let projects = all.projects_found().await?;
                expect("whether the owner is a member", &all.owner_is_member().await?, &true)?;
                let shown = format!("{} items, {} projects, and the owner", items.len(), projects.len());
                Ok(((items, projects), shown))
            })
            .await?;
        Ok(Self { items, projects, ..all })
    }

    /// Nothing of it is found any more, by whomever, and the operator finds no more than that it is erased.
    pub(super) async fn is_erased(&self) -> anyhow::Result<()> {
        let left = eventually("the end of the purge", PATIENCE, async || {
            // Refused until it is over.
            Ok(self.product.libraries().list_items(self.all_items()).await.ok())
        })
        .await?;
        let left: Vec<_> = left.into_inner().items.into_iter().map(|it| it.id).collect();
        expect("the items that are left", &left, &Vec::new())?;
        expect("the projects that are left", &self.projects_found().await?, &Vec::new())?;
        for id in &self.items {
            let get = GetItemRequest { item_id: id.clone() };
            refused(self.product.libraries().get_item(get).await, Code::NotFound, "NOT_FOUND")?;
        }
        for id in &self.projects {
            let get = GetProjectRequest { project_id: id.clone() };
            refused(self.product.projects().get_project(get).await, Code::NotFound, "NOT_FOUND")?;
        }
        let list = ListMembersRequest { organization_id: self.organization.clone(), ..ListMembersRequest::default() };
        refused(self.product.members().list_members(list).await, Code::NotFound, "NOT_FOUND")?;
        expect("whether the owner is a member", &self.owner_is_member().await?, &false)?;
        let tombstone = self.sought(Query::OrganizationId(self.organization.clone())).await?.pop();
        let tombstone = part(tombstone, "tombstone")?;
        let name = part(tombstone.organization, "organization")?.name;
        expect("whether it is purged, and its name", &(tombstone.purged, name.as_str()), &(true, ""))?;
        let of_owner = self.sought(Query::OwnerUserId(self.owner.clone())).await?;
        let mut of_owner = of_owner.into_iter().filter_map(|it| it.organization);
        ensure!(of_owner.all(|it| it.id != self.organization), "it is still its owner's");
        Ok(())
    }

    fn all_items(&self) -> ListItemsRequest {
        ListItemsRequest { owner: self.organization.clone(), page_size: ALL, ..ListItemsRequest::default() }
    }

    async fn projects_found(&self) -> anyhow::Result<Vec<String>> {
        let list =
            ListProjectsRequest { owner: self.organization.clone(), page_size: ALL, ..ListProjectsRequest::default() };
        let found = answer(self.product.projects().list_projects(list).await)?.projects;
        Ok(found.into_iter().map(|it| it.id).collect())
    }

    async fn owner_is_member(&self) -> anyhow::Result<bool> {
        let (organization_id, user_id) = (self.organization.clone(), self.owner.clone());
        let access = self.product.members().check_access(CheckAccessRequest { organization_id, user_id }).await;
        let access = answer(access)?;
        expect("whether the role is that of an owner", &(access.role() == Role::Owner), &access.member)?;
        Ok(access.member)
    }

    /// What the operator finds.
    async fn sought(&self, query: Query) -> anyhow::Result<Vec<FoundOrganization>> {
        let find = FindOrganizationsRequest { query: Some(query), ..FindOrganizationsRequest::default() };
        Ok(answer(self.operator.organizations().find_organizations(find).await)?.organizations)
    }
}
