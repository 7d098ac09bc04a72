//! Projects from templates: what stands under a template is copied into the project, and ends with it.

use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_rpc::{Mutation, Problem};

use super::super::Organization;
use super::Children;
use super::copying::{Target, chosen};
use super::erasing::Erasure;
use crate::Error;
use crate::domain::item::{MAX_TOUCHED, Root};
use crate::domain::kind::PROJECT_TEMPLATE;
use crate::domain::{Refusal, item};
use crate::store::items::{self, By};
use crate::store::libraries;

impl Organization {
    /// Copies everything under a template into a project of the same owner. What stood right under the template stands under
    /// nothing in the project, whatever its kind: the project is in the template's place. Nothing secret goes along.
    pub(in crate::usecase) async fn fill_project(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        (project, template): (ProjectId, ItemId),
        created_by: UserId,
    ) -> Result<(), Error> {
        let taken = libraries::lock(m.tx(), owner).await?;
        let row = items::by_id(m.tx(), owner, template).await?.ok_or(Refusal::ItemNotFound)?;
        if row.kind != PROJECT_TEMPLATE {
            let what = format!("must be a {PROJECT_TEMPLATE}; it is a {}", row.kind);
            return Err(Problem::invalid_field("template_item", what).into());
        }
        // The template counts, though it stays where it is: so many can be copied with it elsewhere.
        let children = chosen(m.tx(), &row, &Children::All, MAX_TOUCHED - 1).await?;
        let target = Target { owner, parent: None, project: Some(project), created_by };
        let copied = self.copy_all(m, owner, &children, &target).await?;
        libraries::set(m.tx(), owner, item::within(self.0.config.library.quota, taken, copied.bytes)?).await?;
        Ok(())
    }

    /// Removes everything that belongs to a project, whoever made it: at once where it is not much, and otherwise by a job.
    pub(in crate::usecase) async fn empty_project(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        project: ProjectId,
    ) -> Result<(), Error> {
        // Nothing comes to a project that has nothing: items are made under others of it.
        if items::keys(m.tx(), owner, &By::Project(project), None, 1).await?.is_empty() {
            return Ok(());
        }
        let taken = libraries::lock(m.tx(), owner).await?;
        let limit = i64::from(MAX_TOUCHED) + 1;
        let keys = items::keys(m.tx(), owner, &By::Project(project), None, limit).await?;
        if keys.len() > MAX_TOUCHED as usize {
            return self.erase_later(m, Erasure { owner, root: Root::Project(project) }).await;
        }
        let all: Vec<_> = keys.iter().map(|key| (key.id, key.bytes)).collect();
        let now = m.now();
        self.remove_items(m.tx(), owner, taken, &all, now).await
    }
}
