//! Limits on projects: one service makes them, another one limits them.

use bursar_id::kinds;
use bursar_proto::billing::v1::{
    ChargeRequest, LimitMode, LimitSubject, LimitWindow, SetLimitRequest, limit_subject::Subject,
};
use bursar_proto::organization::v1::CreateProjectRequest;
use bursar_testkit::{Client, id, refused};
use tonic::Code;

use crate::support::{given, spend, world::World};

fn on(owner: &str, project: &str) -> SetLimitRequest {
    SetLimitRequest {
        owner: owner.to_owned(),
        subject: Some(LimitSubject { subject: Some(Subject::Project(project.to_owned())) }),
        window: LimitWindow::Day.into(),
        amount: "5".to_owned(),
        mode: LimitMode::Hard.into(),
        ..Default::default()
    }
}

async fn make(client: &Client, owner: &str) -> String {
    let request = CreateProjectRequest { owner: owner.to_owned(), name: "Film".to_owned(), ..Default::default() };
    given(client.projects().create_project(request).await).project.expect("a project").id
}

pub(crate) async fn a_project_is_limited_as_soon_as_it_is_made(world: World) {
    let team = world.team().with_credits("100").assemble().await;
    let (at_work, operator) = (&team.owner, world.operator().await);
    let at_home = at_work.in_context(&at_work.user).await;
    world.grant(&at_work.user, "100").await;
    let contexts = [(at_work, &team.id, &at_work.user), (&at_home, &at_work.user, &team.id)];
    for (person, owner, other) in contexts {
        for by in [person.client(), &operator] {
            let project = make(person.client(), owner).await;
            let set = given(by.limits().set_limit(on(owner, &project)).await).limit.expect("a limit");
            assert_eq!((set.owner.as_str(), set.used.as_str()), (owner.as_str(), "0"));
            let film = |amount: &str| ChargeRequest { project: project.clone(), ..spend(owner, amount) };
            given(person.client().credits().charge(film("5")).await);
            let more = person.client().credits().charge(film("0.000001")).await;
            refused(more, Code::FailedPrecondition, "LIMIT_REACHED");
            refused(operator.limits().set_limit(on(other, &project)).await, Code::NotFound, "NOT_FOUND");
        }
        let nobodys = id::<kinds::Project>(77).to_string();
        for unknown in [nobodys.as_str(), "flim"] {
            let outcome = person.client().limits().set_limit(on(owner, unknown)).await;
            refused(outcome, Code::NotFound, "NOT_FOUND");
        }
    }
}
