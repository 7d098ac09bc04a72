//! Projects: what work and charges belong to. These use cases take the token's own context.

use bursar_id::{OwnerId, ProjectId, UserId};
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Problem, UserCaller};
use prost::Message;

use super::{Asked, Begun, Organization};
use crate::Error;
use crate::domain::description::Description;
use crate::domain::name::Name;
use crate::domain::{Refusal, etag, project};
use crate::store::memberships;
use crate::store::projects::{self, ProjectRow};

/// A project to make.
pub struct NewProject {
    /// Its name.
    pub name: Name,
    /// What it is about.
    pub description: Description,
}

/// What to change about a project; `None` stays as it is.
pub struct ProjectChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Description>,
    /// The state that the change is meant for.
    pub etag: String,
}

/// Who shall be responsible for a project.
pub struct Reassignment {
    /// The member.
    pub user: UserId,
    /// The state that the change is meant for.
    pub etag: String,
}

impl Organization {
    /// Makes a project; whoever makes it is responsible for it.
    pub async fn create_project<R: Message + Default>(
        &self,
        caller: &UserCaller,
        owner: OwnerId,
        asked: Asked<NewProject>,
        answer: impl FnOnce(ProjectRow) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        self.authorize_context(&mut tx, caller, owner).await?;
        let asked = asked?;
        let project = ProjectRow {
            id: self.new_id(now),
            owner,
            name: asked.what.name.into(),
            description: asked.what.description.as_str().to_owned(),
            created_by: caller.user,
            assigned_to: caller.user,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        projects::insert(&mut tx, &project).await?;
        let answer = answer(project);
        self.finish(tx, &asked.key, &answer, Vec::new()).await?;
        Ok(answer)
    }

    /// A project of the token's context.
    pub async fn get_project(&self, caller: &UserCaller, id: Result<ProjectId, Problem>) -> Result<ProjectRow, Error> {
        let mut tx = self.0.db.read().await?;
        self.authorize_context(&mut tx, caller, caller.context).await?;
        let project = projects::by_id(&mut tx, caller.context, id?).await?;
        Ok(project.ok_or(Refusal::ProjectNotFound)?)
    }

    /// The projects of a context, the latest first.
    pub async fn list_projects(
        &self,
        caller: &UserCaller,
        owner: OwnerId,
        page: Result<PageRequest<ProjectId>, Problem>,
    ) -> Result<Page<ProjectRow>, Error> {
        let mut tx = self.0.db.read().await?;
        self.authorize_context(&mut tx, caller, owner).await?;
        let page = page?;
        let rows = projects::list(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |row| row.id)?)
    }

    /// Changes a project's name or description. What is the same already is no change.
    pub async fn update_project<R: Message + Default>(
        &self,
        caller: &UserCaller,
        asked: Asked<(ProjectId, ProjectChange)>,
        answer: impl FnOnce(ProjectRow) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let owner = caller.context;
        self.authorize_context(&mut tx, caller, owner).await?;
        let asked = asked?;
        let (id, change) = asked.what;
        let row = projects::by_id_locked(&mut tx, owner, id).await?;
        let row = row.ok_or(Refusal::ProjectNotFound)?;
        etag::demand(&change.etag, row.version)?;
        let mut changed = row.clone();
        if let Some(name) = change.name {
            changed.name = name.into();
        }
        if let Some(description) = change.description {
            description.as_str().clone_into(&mut changed.description);
        }
        if changed != row {
            changed.version += 1;
            changed.updated_at = now;
            projects::update(&mut tx, &changed, now).await?;
        }
        let answer = answer(changed);
        self.finish(tx, &asked.key, &answer, Vec::new()).await?;
        Ok(answer)
    }

    /// Makes a member responsible for a project of the organization.
    pub async fn reassign_project<R: Message + Default>(
        &self,
        caller: &UserCaller,
        asked: Asked<(ProjectId, Reassignment)>,
        answer: impl FnOnce(ProjectRow) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let owner = caller.context;
        self.authorize_context(&mut tx, caller, owner).await?;
        let asked = asked?;
        let (id, to) = asked.what;
        let row = projects::by_id_locked(&mut tx, owner, id).await?;
        let mut row = row.ok_or(Refusal::ProjectNotFound)?;
        let organization = owner.organization().ok_or(Refusal::PersonalProject)?;
        etag::demand(&to.etag, row.version)?;
        let place = memberships::place(&mut tx, organization, to.user).await?;
        place.role.ok_or(Refusal::MemberNotFound)?;
        if row.assigned_to != to.user {
            row.assigned_to = to.user;
            row.version += 1;
            row.updated_at = now;
            projects::update(&mut tx, &row, now).await?;
        }
        let answer = answer(row);
        self.finish(tx, &asked.key, &answer, Vec::new()).await?;
        Ok(answer)
    }

    /// Deletes a project; `etag` is the state that this is meant for.
    pub async fn delete_project<R: Message + Default>(
        &self,
        caller: &UserCaller,
        asked: Asked<(ProjectId, String)>,
        answer: R,
    ) -> Result<R, Error> {
        let (mut tx, _) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let owner = caller.context;
        let role = self.authorize_context(&mut tx, caller, owner).await?;
        let asked = asked?;
        let (id, etag) = asked.what;
        let row = projects::by_id_locked(&mut tx, owner, id).await?;
        let row = row.ok_or(Refusal::ProjectNotFound)?;
        project::delete(caller.user, role, row.assigned_to)?;
        etag::demand(&etag, row.version)?;
        projects::delete(&mut tx, id).await?;
        self.finish(tx, &asked.key, &answer, Vec::new()).await?;
        Ok(answer)
    }
}
