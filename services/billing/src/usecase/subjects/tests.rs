//! Which projects and models limits may be about, on both engines.

use std::time::Duration;

use bursar_events::{Consumer as _, Feed, Unapplied};
use bursar_id::UserId;
use bursar_members::Members;
use bursar_proto::billing::v1 as pb;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, ProjectsChanged};
use bursar_proto::event_type;
use bursar_rpc::{Asked, Call};
use bursar_testkit::{credits, engines, id, personal};
use bursar_time::Monotonic;

use super::*;
use crate::consume::FromOrganization;
use crate::domain::{
    Actor, Attribution, ChargeCommand, Command, Cost, Labels, LimitMode, LimitWindow, ModelName, Percents, Request,
};
use crate::lane::Job;
use crate::usecase::limits::SetCommand;
use crate::usecase::shop::{Shop, manager};

const NOON: &str = "2026-01-15T12:00:00Z";

fn project(n: u64) -> ProjectId {
    id(n)
}

fn on_name(name: &str) -> Subject {
    Subject::Project(ProjectName::given(name).unwrap())
}

fn on_project(id: ProjectId) -> Subject {
    on_name(&id.to_string())
}

fn on_model(name: &str) -> Subject {
    Subject::Model(ModelName::given(name).unwrap())
}

/// A shop in which the person has credits.
async fn open(db: &bursar_testkit::TestDb) -> Shop {
    let shop = Shop::open(db, NOON).await;
    shop.grants(personal(1), credits("1000")).await;
    shop
}

/// What is said of a thing of which organization alone can tell: nothing was ever heard of it here.
const UNHEARD: &str = "word of organization's";

/// Sets a limit; `Some`: there is no such thing, or it is not known whether there is.
async fn missing(shop: &Shop, owner: OwnerId, subject: &Subject) -> Option<&'static str> {
    let subject = LimitSubject::One(subject.clone());
    let (window, mode) = (LimitWindow::Day, LimitMode::Hard);
    let command = SetCommand { subject, window, mode, amount: credits("10"), alerts: Percents::default() };
    let call = Call::new(manager(owner), "bursar.billing.v1.LimitService/SetLimit");
    let asked = Asked::read(call, "", &pb::SetLimitRequest::default(), |_, _| Some(command.clone()));
    match shop.limits().set(owner, &asked).await {
        Ok(_) => None,
        Err(Error::NotFound(what)) => Some(what),
        Err(Error::Refused(Refusal::FeedStale)) => Some(UNHEARD),
        Err(error) => panic!("{error}"),
    }
}

/// A charge of an amount for a project, with a model.
async fn charges(shop: &Shop, owner: OwnerId, project: &str, model: &str) {
    let attribution = Attribution {
        member: id(1),
        project: Some(ProjectName::given(project).unwrap()),
        model: Some(ModelName::given(model).unwrap()),
    };
    let cost = Cost::Amount(credits("1"));
    let command = Command::Charge(ChargeCommand { cost, attribution, labels: Labels::default(), occurred_at: None });
    let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command).with_renewal_settled() };
    let mut tx = shop.db.begin().await.unwrap();
    shop.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

fn organization(shop: &Shop) -> FromOrganization {
    let feed = Feed::new("organization", &Monotonic::test(), Duration::from_mins(5));
    let members = Members::new(shop.db.clone(), feed);
    FromOrganization { clock: shop.clock.clone(), jobs: shop.subscriptions.cashier.jobs.clone(), members }
}

fn told(owner: OwnerId, id: ProjectId, deleted: bool, incarnation: u64) -> Event {
    told_of_many(owner, &[id], deleted, incarnation)
}

fn told_of_many(owner: OwnerId, ids: &[ProjectId], deleted: bool, incarnation: u64) -> Event {
    let project_ids = ids.iter().map(ToString::to_string).collect();
    let changed = ProjectsChanged { owner: owner.to_string(), project_ids, deleted };
    Event {
        r#type: event_type::PROJECTS_CHANGED.to_owned(),
        owner: owner.to_string(),
        incarnation,
        payload: Some(Payload::ProjectsChanged(changed)),
        ..Event::default()
    }
}

/// Billing hears of a project.
async fn hears(shop: &Shop, event: &Event) -> Result<(), Unapplied> {
    let mut tx = shop.db.begin().await.unwrap();
    organization(shop).apply(&mut tx, event).await?;
    Ok(tx.commit().await?)
}

/// Billing has loaded a snapshot of this incarnation.
async fn has_loaded(shop: &Shop, incarnation: u64) {
    let mut tx = shop.db.begin().await.unwrap();
    organization(shop).forget_before(&mut tx, incarnation).await.unwrap();
    tx.commit().await.unwrap();
}

engines! {
    async fn models_of_the_catalog_and_models_that_were_charged_with_are_known(db: TestDb) {
        let shop = open(&db).await;
        let listed = shop.subscriptions.catalog.current().catalog().models()[0].model.clone();
        assert_eq!(missing(&shop, personal(1), &Subject::Model(listed)).await, None);
        assert_eq!(missing(&shop, personal(1), &on_model("no-such-model")).await, Some("model"));
        charges(&shop, personal(1), "film", "no-such-model").await;
        assert_eq!(missing(&shop, personal(1), &on_model("no-such-model")).await, None);
        assert_eq!(missing(&shop, personal(1), &on_model("no-such-mode")).await, Some("model"));
        assert_eq!(missing(&shop, personal(1), &on_model("film")).await, Some("model"), "it is a project");
        assert_eq!(missing(&shop, personal(2), &on_model("no-such-model")).await, Some("model"), "somebody else's");
    }

    async fn projects_that_were_told_and_names_that_were_charged_to_are_known(db: TestDb) {
        let shop = open(&db).await;
        assert_eq!(missing(&shop, personal(1), &on_name("film")).await, Some("project"));
        charges(&shop, personal(1), "film", "m").await;
        assert_eq!(missing(&shop, personal(1), &on_name("film")).await, None);
        assert_eq!(missing(&shop, personal(2), &on_name("film")).await, Some("project"), "somebody else's");
        assert_eq!(missing(&shop, personal(1), &on_project(project(1))).await, Some(UNHEARD));
        hears(&shop, &told(personal(1), project(1), false, 1)).await.unwrap();
        assert_eq!(missing(&shop, personal(1), &on_project(project(1))).await, None);
        assert_eq!(missing(&shop, personal(2), &on_project(project(1))).await, Some(UNHEARD), "somebody else's");
    }

    async fn of_a_project_that_is_gone_no_new_limit_is_set_and_an_old_one_is_set_again(db: TestDb) {
        let shop = open(&db).await;
        let (gone, limited, charged) = (project(1), project(2), project(3));
        for id in [gone, limited, charged] {
            hears(&shop, &told(personal(1), id, false, 1)).await.unwrap();
        }
        assert_eq!(missing(&shop, personal(1), &on_project(limited)).await, None);
        charges(&shop, personal(1), &charged.to_string(), "m").await;
        for id in [gone, limited, charged] {
            hears(&shop, &told(personal(1), id, true, 1)).await.unwrap();
        }
        assert_eq!(missing(&shop, personal(1), &on_project(gone)).await, Some("project"));
        assert_eq!(missing(&shop, personal(1), &on_project(limited)).await, None);
        assert_eq!(missing(&shop, personal(1), &on_project(charged)).await, None, "it was charged to");
    }

    async fn the_last_word_about_a_project_holds_however_late_another_comes(db: TestDb) {
        let shop = open(&db).await;
        let word = |deleted, incarnation| told(personal(1), project(1), deleted, incarnation);
        // That it was made was set aside, and comes after that it is gone.
        for event in [word(true, 1), word(false, 1)] {
            hears(&shop, &event).await.unwrap();
        }
        assert_eq!(missing(&shop, personal(1), &on_project(project(1))).await, Some("project"));
        // Organization was restored from before that, and knows it; whatever was told before does not count.
        for event in [word(false, 2), word(true, 1)] {
            hears(&shop, &event).await.unwrap();
        }
        has_loaded(&shop, 2).await;
        assert_eq!(missing(&shop, personal(1), &on_project(project(1))).await, None);
        // The next one does not.
        hears(&shop, &told(personal(1), project(2), false, 3)).await.unwrap();
        has_loaded(&shop, 3).await;
        assert_eq!(shop.count("projects").await, 1);
        assert_eq!(missing(&shop, personal(1), &on_project(project(2))).await, None);
    }

    async fn nothing_is_remembered_of_the_projects_of_who_is_gone(db: TestDb) {
        let shop = open(&db).await;
        let user: UserId = id(1);
        hears(&shop, &told(personal(1), project(1), false, 1)).await.unwrap();
        hears(&shop, &told(personal(2), project(2), false, 1)).await.unwrap();
        shop.gone(user).await;
        shop.sees_off(user).await;
        assert_eq!(shop.count("projects").await, 1, "somebody else's");
        // Organization says so when billing has seen the person off.
        let several = [project(1), project(3), project(1)];
        hears(&shop, &told_of_many(personal(1), &several, true, 1)).await.unwrap();
        hears(&shop, &told(personal(2), project(2), true, 1)).await.unwrap();
        assert_eq!(shop.count("projects").await, 1);
    }

    async fn of_projects_that_are_told_at_once_each_has_the_last_word_about_it(db: TestDb) {
        let shop = open(&db).await;
        // As many as one event tells of; one of them is named twice.
        let all: Vec<ProjectId> = (1..=256).chain([7]).map(project).collect();
        hears(&shop, &told_of_many(personal(1), &all, false, 1)).await.unwrap();
        assert_eq!(shop.count("projects").await, 256);
        // Of two of them something else is known: the one was told later, the other is somebody else's, too.
        hears(&shop, &told(personal(1), project(2), false, 2)).await.unwrap();
        hears(&shop, &told(personal(2), project(3), false, 1)).await.unwrap();
        hears(&shop, &told_of_many(personal(1), &all, true, 1)).await.unwrap();
        for gone in [1, 3, 7, 256] {
            assert_eq!(missing(&shop, personal(1), &on_project(project(gone))).await, Some("project"), "{gone}");
        }
        assert_eq!(missing(&shop, personal(1), &on_project(project(2))).await, None);
        assert_eq!(missing(&shop, personal(2), &on_project(project(3))).await, None);
    }

    async fn what_is_told_of_a_project_unreadably_is_set_aside(db: TestDb) {
        let shop = open(&db).await;
        let good = told(personal(1), project(1), false, 1);
        let changed = |owner: OwnerId, id: &str| ProjectsChanged {
            owner: owner.to_string(),
            project_ids: vec![project(2).to_string(), id.to_owned()],
            deleted: false,
        };
        let nameless = changed(personal(1), "");
        let nobodys = ProjectsChanged { owner: String::new(), ..changed(personal(1), &project(1).to_string()) };
        let payloads = [None, Some(Payload::ProjectsChanged(nameless)), Some(Payload::ProjectsChanged(nobodys))];
        for payload in payloads {
            let outcome = hears(&shop, &Event { payload, ..good.clone() }).await;
            assert!(matches!(outcome, Err(Unapplied::Unreadable(_))), "{outcome:?}");
        }
        assert_eq!(shop.count("projects").await, 0);
    }
}
