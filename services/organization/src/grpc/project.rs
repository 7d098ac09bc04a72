//! `ProjectService`.

use std::mem::take;

use bursar_id::ProjectId;
use bursar_proto::organization::v1::project_service_server::ProjectService;
use bursar_proto::organization::v1::{
    CreateProjectRequest, CreateProjectResponse, DeleteProjectRequest, DeleteProjectResponse, GetProjectRequest,
    GetProjectResponse, ListProjectsRequest, ListProjectsResponse, Project, ReassignProjectRequest,
    ReassignProjectResponse, UpdateProjectRequest, UpdateProjectResponse,
};
use bursar_rpc::convert::UpdateMask;
use bursar_rpc::{Answer, Asked, Call, Caller, PageRequest, Problem, Violations};
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::domain::description::Description;
use crate::domain::name::Name;
use crate::store::projects::ProjectRow;
use crate::usecase::{NewProject, ProjectChange, Reassignment};

#[tonic::async_trait]
impl ProjectService for Handlers {
    async fn create_project(
        &self,
        request: Request<CreateProjectRequest>,
    ) -> Result<Response<CreateProjectResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = convert::owner(&message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, new);
        let created = self.0.create_project(owner, &asked).await?;
        Ok(Response::new(CreateProjectResponse { project: Some(self.project(created).await?) }))
    }

    async fn get_project(&self, request: Request<GetProjectRequest>) -> Result<Response<GetProjectResponse>, Status> {
        let caller = Caller::of(&request)?;
        let id = convert::field::<ProjectId>("project_id", &request.into_inner().project_id);
        let project = self.0.get_project(&caller, id).await?;
        Ok(Response::new(GetProjectResponse { project: Some(convert::project(project)) }))
    }

    async fn list_projects(
        &self,
        request: Request<ListProjectsRequest>,
    ) -> Result<Response<ListProjectsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let owner = convert::owner(&message.owner)?;
        let list = self.0.parts().pages.list("ListProjects", [message.owner.as_str()]);
        let page = PageRequest::parse(message.page_size, &message.page_token, list);
        let page = self.0.list_projects(&caller, owner, page).await?.messages(convert::project);
        Ok(Response::new(ListProjectsResponse { projects: page.rows, next_page_token: page.next_page_token }))
    }

    async fn update_project(
        &self,
        request: Request<UpdateProjectRequest>,
    ) -> Result<Response<UpdateProjectResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, change);
        let updated = self.0.update_project(&asked).await?;
        Ok(Response::new(UpdateProjectResponse { project: Some(self.project(updated).await?) }))
    }

    async fn reassign_project(
        &self,
        request: Request<ReassignProjectRequest>,
    ) -> Result<Response<ReassignProjectResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, reassignment);
        let reassigned = self.0.reassign_project(&asked).await?;
        Ok(Response::new(ReassignProjectResponse { project: Some(self.project(reassigned).await?) }))
    }

    async fn delete_project(
        &self,
        request: Request<DeleteProjectRequest>,
    ) -> Result<Response<DeleteProjectResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let read = |message: &DeleteProjectRequest, violations: &mut Violations| {
            let id = violations.check("project_id", message.project_id.parse())?;
            Some((id, message.etag.clone()))
        };
        let asked = Asked::read(call, &request_id, &message, read);
        self.0.delete_project(&asked).await?;
        Ok(Response::new(DeleteProjectResponse {}))
    }
}

impl Handlers {
    /// What a change of a project is answered with. A repetition is told of the project as it is then; of one that is gone, or not
    /// to be seen at the moment, which one it was.
    async fn project(&self, answer: Answer<ProjectRow>) -> Result<Project, Status> {
        let kept = match answer {
            Answer::New(project) => return Ok(convert::project(project)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let (Ok(owner), Ok(id)) = (kept.owner.parse(), kept.id.parse()) else {
            return Err(Problem::internal(&"a stored answer names no project").into());
        };
        let now = self.0.project_as_is(owner, id).await?;
        // Earlier programs have kept all of it.
        Ok(now.map_or_else(|| convert::project_alone(kept), convert::project))
    }
}

fn new(message: &CreateProjectRequest, violations: &mut Violations) -> Option<NewProject> {
    let name = violations.check("name", Name::parse(&message.name));
    let description = violations.check("description", Description::parse(&message.description));
    let template = violations.check_optional("template_item", &message.template_item, str::parse);
    Some(NewProject { name: name?, description: description?, template: template? })
}

fn change(message: &UpdateProjectRequest, violations: &mut Violations) -> Option<(ProjectId, ProjectChange)> {
    let id = violations.check("project_id", message.project_id.parse());
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &["name", "description"], violations);
    let text = &message.description;
    let change = ProjectChange {
        name: mask.read("name", &message.name, Name::parse, violations),
        description: mask.read("description", text, Description::parse, violations),
        etag: message.etag.clone(),
    };
    Some((id?, change))
}

fn reassignment(message: &ReassignProjectRequest, violations: &mut Violations) -> Option<(ProjectId, Reassignment)> {
    let id = violations.check("project_id", message.project_id.parse());
    let user = violations.check("user_id", message.user_id.parse());
    Some((id?, Reassignment { user: user?, etag: message.etag.clone() }))
}
