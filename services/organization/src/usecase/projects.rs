//! Projects: what work and charges belong to. These use cases take the token's own context.

use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Problem, UserCaller};

use super::access::{acting, demand_served, hold_open, power};
use super::{Organization, events};
use crate::Error;
use crate::domain::description::Description;
use crate::domain::name::Name;
use crate::domain::{Refusal, etag, project};
use crate::store::projects::{self, ProjectRow};
use crate::store::{memberships, users};

/// Of how many projects one transaction tells at most that were not told of.
const UNTOLD: i64 = 200;

/// A project to make.
pub struct NewProject {
    /// Its name.
    pub name: Name,
    /// What it is about.
    pub description: Description,
    /// The item whose children are copied into it.
    pub template: Option<ItemId>,
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
    /// Makes a project, from a template if one is named; whoever makes it is responsible for it.
    pub async fn create_project(&self, owner: OwnerId, asked: &Asked<NewProject>) -> Result<Answer<ProjectRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.make_project(&mut m, owner, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn make_project(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<NewProject>,
    ) -> Result<Done<ProjectRow, Payload>, Error> {
        let caller = asked.user()?;
        self.admit_context(m, caller, owner).await?;
        let Some(new) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.demand_workspace(m.tx(), owner).await?;
        // Whoever deletes the account meanwhile finds the project.
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        hold_open(m.tx(), owner).await?;
        let now = m.now();
        let project = ProjectRow {
            id: self.new_id(now),
            owner,
            name: new.name.as_str().to_owned(),
            description: new.description.as_str().to_owned(),
            created_by: caller.user,
            assigned_to: caller.user,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        m.about(&project.id);
        projects::insert(m.tx(), &project).await?;
        if let Some(template) = new.template {
            self.fill_project(m, owner, (project.id, template), caller.user).await?;
        }
        let told = events::projects(owner, [project.id]);
        Ok(Done::New(project, vec![told]))
    }

    /// Tells of some projects that programs made that told of none, the latest first. Such a program may run beside this one for
    /// a while.
    pub async fn tell_of_projects(&self) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        let mut untold = projects::tell(&mut tx, UNTOLD).await?;
        untold.sort_unstable();
        Ok(self.0.outbox.commit(tx, events::projects_by_owner(&untold)).await?)
    }

    /// A project of the token's context, or for a service of any.
    pub async fn get_project(&self, caller: &Caller, id: Result<ProjectId, Problem>) -> Result<ProjectRow, Error> {
        let mut tx = self.0.db.read().await?;
        if let Some(user) = acting(caller)? {
            self.authorize_context(&mut tx, user, user.context).await?;
            let project = projects::by_id(&mut tx, user.context, id?).await?;
            return Ok(project.ok_or(Refusal::ProjectNotFound)?);
        }
        let project = projects::anywhere(&mut tx, id?).await?.ok_or(Refusal::ProjectNotFound)?;
        demand_served(&mut tx, project.owner).await?;
        Ok(project)
    }

    /// A project of a context in which the caller has changed it: `None` where it is gone, or the context is closed at the moment.
    pub async fn project_as_is(&self, owner: OwnerId, id: ProjectId) -> Result<Option<ProjectRow>, Error> {
        let mut tx = self.0.db.read().await?;
        match demand_served(&mut tx, owner).await {
            Err(Error::Refused(_)) => return Ok(None),
            served => served?,
        }
        Ok(projects::by_id(&mut tx, owner, id).await?)
    }

    /// The projects of a context, the latest first.
    pub async fn list_projects(
        &self,
        caller: &Caller,
        owner: OwnerId,
        page: Result<PageRequest<ProjectId>, Problem>,
    ) -> Result<Page<ProjectRow>, Error> {
        let mut tx = self.0.db.read().await?;
        self.look_into(&mut tx, caller, owner).await?;
        let page = page?;
        let rows = projects::list(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |row| row.id)?)
    }

    /// Changes a project's name or description. What is the same already is no change.
    pub async fn update_project(&self, asked: &Asked<(ProjectId, ProjectChange)>) -> Result<Answer<ProjectRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.change_project(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn change_project(
        &self,
        m: &mut Mutation,
        asked: &Asked<(ProjectId, ProjectChange)>,
    ) -> Result<Done<ProjectRow, Payload>, Error> {
        let caller = asked.user()?;
        self.admit_context(m, caller, caller.context).await?;
        let Some((id, change)) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.demand_workspace(m.tx(), caller.context).await?;
        let row = self.locked_project(m, caller, *id).await?;
        etag::demand(&change.etag, row.version)?;
        let mut changed = row.clone();
        if let Some(name) = &change.name {
            name.as_str().clone_into(&mut changed.name);
        }
        if let Some(description) = &change.description {
            description.as_str().clone_into(&mut changed.description);
        }
        if changed != row {
            let now = m.now();
            changed.version += 1;
            changed.updated_at = now;
            projects::update(m.tx(), &changed, now).await?;
        }
        Ok(Done::New(changed, Vec::new()))
    }

    /// Makes a member responsible for a project of the organization.
    pub async fn reassign_project(
        &self,
        asked: &Asked<(ProjectId, Reassignment)>,
    ) -> Result<Answer<ProjectRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.reassign(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn reassign(
        &self,
        m: &mut Mutation,
        asked: &Asked<(ProjectId, Reassignment)>,
    ) -> Result<Done<ProjectRow, Payload>, Error> {
        let caller = asked.user()?;
        self.admit_context(m, caller, caller.context).await?;
        let Some((id, to)) = m.open(asked).await? else { return Ok(Done::Replay) };
        let person = users::lock_known(m.tx(), to.user).await?;
        let mut row = self.locked_project(m, caller, *id).await?;
        let organization = row.owner.organization().ok_or(Refusal::PersonalProject)?;
        etag::demand(&to.etag, row.version)?;
        let place = memberships::place(m.tx(), organization, to.user).await?;
        place.role.ok_or(Refusal::MemberNotFound)?;
        person.unwrap_or_default().standing().demand_to_stay()?;
        // Of a project that is assigned anew somebody shall take care; those that the suspended have stay theirs.
        self.demand_able(m.tx(), to.user).await?;
        if row.assigned_to != to.user {
            let now = m.now();
            row.assigned_to = to.user;
            row.version += 1;
            row.updated_at = now;
            projects::update(m.tx(), &row, now).await?;
        }
        Ok(Done::New(row, Vec::new()))
    }

    /// Deletes a project with the items that belong to it; the text is the etag of the state that this is meant for.
    pub async fn delete_project(&self, asked: &Asked<(ProjectId, String)>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.drop_project(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn drop_project(
        &self,
        m: &mut Mutation,
        asked: &Asked<(ProjectId, String)>,
    ) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        let role = self.admit_context(m, caller, caller.context).await?;
        let Some((id, etag)) = m.open(asked).await? else { return Ok(Done::Replay) };
        let row = self.locked_project(m, caller, *id).await?;
        project::delete(caller.user, power(caller, role), row.assigned_to)?;
        etag::demand(etag, row.version)?;
        projects::delete(m.tx(), *id).await?;
        self.empty_project(m, row.owner, *id).await?;
        Ok(Done::New((), vec![events::projects_deleted(row.owner, [*id])]))
    }

    /// A project of the token's context, locked; the context is open until the transaction ends.
    async fn locked_project(&self, m: &mut Mutation, caller: &UserCaller, id: ProjectId) -> Result<ProjectRow, Error> {
        m.about(&id);
        hold_open(m.tx(), caller.context).await?;
        let row = projects::by_id_locked(m.tx(), caller.context, id).await?;
        Ok(row.ok_or(Refusal::ProjectNotFound)?)
    }
}
