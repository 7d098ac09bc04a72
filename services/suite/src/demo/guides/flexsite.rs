//! `FlexSite`'s guide: everything is in organizations, and one person may have several.
//!
//! Ada has one organization for herself, one for her clients and one beside it; Ben and Cleo help. Nobody here has projects or
//! credits outside of an organization. The checklist:
#![doc = include_str!("flexsite.md")]

use bursar_proto::organization::v1::Role;
use tonic::Code;

use super::{
    fit, roles,
    steps::{
        accept, available, expect_team, found, invite, locked_out, organization_required, pay, stranger, switcher,
        total_usage, wrong_context,
    },
};
use crate::demo::{
    cast::{Actor, Play, expect, expect_text, people},
    stage::Stage,
    wire::{answer, part, refused},
};

/// The checklist.
pub(super) const PAGE: &str = include_str!("flexsite.md");

const OWN: &str = "Personal Projects";
const CLIENTS: &str = "Client Work";
const SIDE: &str = "Side Business";

/// Ada in her own context and in each of her organizations.
struct Ada {
    personal: Actor,
    own: Actor,
    clients: Actor,
    side: Actor,
}

/// The guide, from its first sentence to its last.
pub(super) async fn perform(play: &mut Play, stage: &mut Stage) -> anyhow::Result<()> {
    let ada = organizations(stage, play).await?;
    nothing_outside(stage, &ada).await?;
    let project = projects(stage, play, &ada).await?;
    billing(stage, &ada).await?;
    let (ben, cleo) = teams(stage, play, &ada).await?;
    access(stage, &ada, &ben, &cleo).await?;
    sharing(stage, &ada, &ben.clients, &cleo).await?;
    independence(stage, &ada, &project).await?;
    farewell(stage, &ada, &ben.clients, &cleo).await
}

async fn organizations(stage: &mut Stage, play: &mut Play) -> anyhow::Result<Ada> {
    stage.act("An organization for each kind of work")?;
    let personal = people::join(stage, play, "Ada").await?;
    let own = found(stage.proving(&[5]), play, &personal, OWN).await?;
    fit::runs_with(stage, &own, bursar_runtime::Preset::Flexsite).await?;
    let clients = found(stage.proving(&[2, 5]), play, &personal, CLIENTS).await?;
    let side = found(stage.proving(&[5]), play, &personal, SIDE).await?;
    stage
        .proving(&[22])
        .step("Ada switches between them", "ContextService/SwitchContext", async {
            let wanted = [CLIENTS, OWN, SIDE].map(|name| (name.to_owned(), Role::Owner)).to_vec();
            for organization in [&own, &clients, &side] {
                let acting = people::switch(&personal, play, &organization.owner).await?;
                expect("the dropdown", &switcher(&acting).await?, &wanted)?;
            }
            Ok(((), "the dropdown has all three, and marks the one she is in".to_owned()))
        })
        .await?;
    Ok(Ada { personal, own, clients, side })
}

async fn nothing_outside(stage: &mut Stage, ada: &Ada) -> anyhow::Result<()> {
    stage.act("Nothing outside of organizations")?;
    let ada = &ada.personal;
    stage
        .proving(&[13])
        .step("nobody has projects outside of organizations", "ProjectService/CreateProject", async {
            organization_required(ada.make_project("A project of my own").await)?;
            organization_required(ada.make_item("prompt_template", "A template of my own", "").await)?;
            Ok(((), "refused: ORGANIZATION_REQUIRED, for the library, too".to_owned()))
        })
        .await?;
    stage
        .proving(&[14])
        .step("nobody has credits outside of organizations", "SubscriptionService/Subscribe", async {
            organization_required(ada.subscribe("business").await)?;
            organization_required(ada.buy("starter").await)?;
            organization_required(ada.charge("1", "", "").await)?;
            Ok(((), "no plan, no pack, no charge: ORGANIZATION_REQUIRED".to_owned()))
        })
        .await
}

/// Gives the id of one of the clients' projects.
async fn projects(stage: &mut Stage, play: &Play, ada: &Ada) -> anyhow::Result<String> {
    stage.act("Projects")?;
    let make = async |actor: &Actor, name: &str| {
        let made = part(answer(actor.make_project(name).await)?.project, "project")?;
        expect_text("its organization", &made.owner, &actor.owner)?;
        anyhow::Ok(made.id)
    };
    let project = stage
        .proving(&[7])
        .step("Ada makes two projects for clients", "ProjectService/CreateProject", async {
            make(&ada.clients, "Bakery website").await?;
            Ok((make(&ada.clients, "Museum guide").await?, "Bakery website, Museum guide".to_owned()))
        })
        .await?;
    stage
        .step("and one beside them", "ProjectService/CreateProject", async {
            Ok((make(&ada.side, "Poster shop").await?, "Poster shop".to_owned()))
        })
        .await?;
    stage
        .proving(&[4, 23])
        .step("each dashboard shows its own projects", "ProjectService/ListProjects", async {
            let wanted: [(&Actor, &[&str]); 3] =
                [(&ada.own, &[]), (&ada.clients, &["Bakery website", "Museum guide"]), (&ada.side, &["Poster shop"])];
            for (actor, wanted) in wanted {
                expect("the dashboard", &dashboard(actor).await?, &wanted.iter().map(|it| (*it).to_owned()).collect())?;
            }
            Ok(((), "none, two and one".to_owned()))
        })
        .await?;
    stage
        .proving(&[6, 13])
        .step("a token for one opens nothing of another", "ProjectService/GetProject", async {
            answer(ada.clients.project(&project).await)?;
            let side = people::switch(&ada.personal, play, &ada.side.owner).await?;
            refused(side.project(&project).await, Code::NotFound, "NOT_FOUND")?;
            wrong_context(side.at(&ada.clients.owner).projects().await)?;
            wrong_context(side.at(&ada.clients.owner).make_project("A stray").await)?;
            wrong_context(side.at(&ada.clients.owner).items().await)?;
            Ok(((), "NOT_FOUND and WRONG_CONTEXT, even for who owns both".to_owned()))
        })
        .await?;
    Ok(project)
}

/// The names of the projects of an organization, in alphabetical order.
async fn dashboard(actor: &Actor) -> anyhow::Result<Vec<String>> {
    let projects = answer(actor.projects().await)?.projects;
    anyhow::ensure!(projects.iter().all(|it| it.owner == actor.owner), "a project of somebody else is listed");
    let mut names: Vec<_> = projects.into_iter().map(|it| it.name).collect();
    names.sort();
    Ok(names)
}

async fn billing(stage: &mut Stage, ada: &Ada) -> anyhow::Result<()> {
    stage.act("Billing of each")?;
    stage
        .proving(&[9, 16])
        .step("Ada puts Client Work on Business", "SubscriptionService/Subscribe", async {
            let made = part(answer(ada.clients.subscribe("business").await)?.subscription, "subscription")?;
            expect("plan and owner", &(made.plan_id.as_str(), &made.owner), &("business", &ada.clients.owner))?;
            Ok(((), format!("{} credits a month, {} seats", made.credits, made.seats)))
        })
        .await?;
    stage
        .proving(&[16])
        .step("Ada buys a pack for Side Business", "PurchaseService/PurchasePack", async {
            let made = part(answer(ada.side.buy("starter").await)?.purchase, "purchase")?;
            expect("whose pack", &(&made.owner, made.credits.as_str()), &(&ada.side.owner, "300"))?;
            Ok(((), "300 credits that never expire, and no plan".to_owned()))
        })
        .await?;
    stage
        .proving(&[25])
        .step("the Billing page of each", "AccountService/GetBalance", async {
            let balances = [available(&ada.own).await?, available(&ada.clients).await?, available(&ada.side).await?];
            expect("the balances", &balances.each_ref().map(String::as_str), &["0", "1500", "300"])?;
            answer(ada.clients.subscription().await)?;
            refused(ada.side.subscription().await, Code::NotFound, "NOT_FOUND")?;
            let purchases = [answer(ada.clients.purchases().await)?, answer(ada.side.purchases().await)?];
            expect("the packs that were bought", &purchases.map(|it| it.purchases.len()), &[0, 1])?;
            Ok(((), "0, 1500 and 300 credits; a plan here, a pack there".to_owned()))
        })
        .await
}

/// Ben in both of his organizations.
struct Ben {
    clients: Actor,
    side: Actor,
}

/// Gives Ben, and Cleo in Client Work.
async fn teams(stage: &mut Stage, play: &mut Play, ada: &Ada) -> anyhow::Result<(Ben, Actor)> {
    stage.act("A team for each")?;
    let ben = people::arrive(stage, play, "Ben").await?;
    let cleo = people::arrive(stage, play, "Cleo").await?;
    let (clients, side) = (ada.clients.owner.as_str(), ada.side.owner.as_str());
    invite(stage.proving(&[8, 19]), (&ada.clients, &ben), CLIENTS, Role::Admin).await?;
    let in_clients = accept(stage, play, &ben, (clients, CLIENTS), Role::Admin).await?;
    invite(stage.proving(&[19]), (&ada.side, &ben), SIDE, Role::Member).await?;
    let in_side = accept(stage, play, &ben, (side, SIDE), Role::Member).await?;
    invite(stage.proving(&[18]), (&ada.clients, &cleo), CLIENTS, Role::Member).await?;
    let cleo = accept(stage, play, &cleo, (clients, CLIENTS), Role::Member).await?;
    stage
        .proving(&[11])
        .step("Ben belongs to two", "ContextService/ListContexts", async {
            let wanted = vec![(CLIENTS.to_owned(), Role::Admin), (SIDE.to_owned(), Role::Member)];
            expect("his dropdown", &switcher(&in_side).await?, &wanted)?;
            Ok(((), "Admin of Client Work, Member of Side Business".to_owned()))
        })
        .await?;
    stage
        .proving(&[12, 24])
        .step("the Members page of each", "MemberService/ListMembers", async {
            let owner = (&ada.personal, Role::Owner);
            let clients = [owner, (&in_clients, Role::Admin), (&cleo, Role::Member)];
            let clients = expect_team(&ada.clients, &clients).await?;
            let side = expect_team(&ada.side, &[owner, (&in_side, Role::Member)]).await?;
            expect_team(&ada.own, &[owner]).await?;
            Ok(((), format!("{clients}; {side}; Ada alone")))
        })
        .await?;
    Ok((Ben { clients: in_clients, side: in_side }, cleo))
}

async fn access(stage: &mut Stage, ada: &Ada, ben: &Ben, cleo: &Actor) -> anyhow::Result<()> {
    stage.act("Access of each")?;
    stage
        .proving(&[17, 20])
        .step("Ben manages Client Work", "InvitationService/ListInvitations", async {
            let (ben, guest) = (&ben.clients, format!("guest.{}", cleo.email));
            answer(ben.invite(&guest, Role::Member).await)?;
            let invited = answer(ben.invitations().await)?.invitations;
            anyhow::ensure!(invited.iter().any(|it| it.email == guest), "the invitation is listed");
            answer(ben.subscription().await)?;
            answer(ben.lots().await)?;
            Ok(((), "invites, sees invitations, plan and credits".to_owned()))
        })
        .await?;
    stage
        .proving(&[17, 20])
        .step("Ben only works in Side Business", "MemberService/UpdateMemberRole", async {
            let ben = &ben.side;
            let refused = roles::may_not_manage_members(ben, &ada.side).await?
                + roles::may_not_see_billing(ben).await?
                + roles::may_not_change_settings(ben).await?;
            answer(ben.make_project("Spring posters").await)?;
            pay(ben, "5", "veo-3.1", "295").await?;
            Ok(((), format!("{refused} calls refused: ROLE_NOT_ALLOWED; his work goes on")))
        })
        .await?;
    stage
        .proving(&[21])
        .step("Cleo sees nothing of Side Business", "MemberService/ListMembers", async {
            let cleo = cleo.at(&ada.side.owner);
            stranger(cleo.organization().await)?;
            stranger(cleo.members().await)?;
            stranger(cleo.projects().await)?;
            stranger(cleo.balance().await)?;
            stranger(cleo.charge("1", "", "").await)?;
            Ok(((), "refused: NOT_A_MEMBER, five times".to_owned()))
        })
        .await
}

async fn sharing(stage: &mut Stage, ada: &Ada, ben: &Actor, cleo: &Actor) -> anyhow::Result<()> {
    stage.act("Shared within one")?;
    let template = stage
        .step("Ben puts a prompt template into the library", "LibraryService/CreateItem", async {
            let made = part(answer(ben.make_item("prompt_template", "House style", "").await)?.item, "item")?;
            Ok((made.id, "House style".to_owned()))
        })
        .await?;
    stage
        .proving(&[10])
        .step("Cleo works with Ben's prompt template", "LibraryService/GetItem", async {
            let item = part(answer(cleo.item(&template).await)?.item, "item")?;
            expect("the template", &(item.name.as_str(), &item.created_by), &("House style", &ben.user))?;
            pay(cleo, "60", "claude-opus-4.7", "1440").await?;
            refused(ada.side.item(&template).await, Code::NotFound, "NOT_FOUND")?;
            Ok(((), "60 credits of Client Work's; other organizations do not see it".to_owned()))
        })
        .await?;
    stage
        .proving(&[15])
        .step("Ada sees what each has used", "UsageService/QueryUsage", async {
            pay(&ada.clients, "40.5", "veo-3.1", "1399.5").await?;
            let used = [total_usage(&ada.own).await?, total_usage(&ada.clients).await?, total_usage(&ada.side).await?];
            expect("what each has used", &used.each_ref().map(String::as_str), &["0", "100.5", "5"])?;
            Ok(((), "0, 100.5 and 5 credits".to_owned()))
        })
        .await
}

async fn independence(stage: &mut Stage, ada: &Ada, project: &str) -> anyhow::Result<()> {
    stage.act("Each on its own")?;
    stage
        .step("Ada renames Client Work", "OrganizationService/UpdateOrganization", async {
            let made = part(answer(ada.clients.rename("Client Studio", "").await)?.organization, "organization")?;
            expect_text("the name", &made.name, "Client Studio")?;
            Ok(((), "Client Studio".to_owned()))
        })
        .await?;
    stage
        .proving(&[1, 3])
        .step("what Client Work holds", "OrganizationService/GetOrganization", async {
            let name = part(answer(ada.clients.organization().await)?.organization, "organization")?.name;
            expect_text("its name", &name, "Client Studio")?;
            answer(ada.clients.project(project).await)?;
            let holds = (dashboard(&ada.clients).await?.len(), people_in(&ada.clients).await?);
            expect("projects and members", &holds, &(2, 3))?;
            expect_text("its credits", &available(&ada.clients).await?, "1399.5")?;
            Ok(((), "2 projects, 3 people, a plan and 1399.5 credits".to_owned()))
        })
        .await?;
    stage
        .proving(&[3])
        .step("Side Business has nothing of it", "OrganizationService/GetOrganization", async {
            let name = part(answer(ada.side.organization().await)?.organization, "organization")?.name;
            expect_text("its name", &name, SIDE)?;
            let holds = (dashboard(&ada.side).await?, people_in(&ada.side).await?);
            expect("projects and members", &holds, &(vec!["Poster shop".to_owned(), "Spring posters".to_owned()], 2))?;
            expect_text("its credits", &available(&ada.side).await?, "295")?;
            Ok(((), "its own name, projects, people and 295 credits".to_owned()))
        })
        .await
}

async fn people_in(actor: &Actor) -> anyhow::Result<usize> {
    Ok(answer(actor.members().await)?.members.len())
}

async fn farewell(stage: &mut Stage, ada: &Ada, ben: &Actor, cleo: &Actor) -> anyhow::Result<()> {
    stage.act("Members come and go")?;
    stage
        .proving(&[24])
        .step("Ada makes Cleo an Admin", "MemberService/UpdateMemberRole", async {
            let made = part(answer(ada.clients.set_role(&cleo.user, Role::Admin).await)?.member, "member")?;
            expect("her role", &made.role(), &Role::Admin)?;
            answer(cleo.invitations().await)?;
            Ok(((), "she sees the invitations at once, with the token she has".to_owned()))
        })
        .await?;
    stage
        .proving(&[24])
        .step("Ada removes Cleo", "MemberService/RemoveMember", async {
            answer(ada.clients.remove(&cleo.user).await)?;
            let team = expect_team(&ada.clients, &[(&ada.personal, Role::Owner), (ben, Role::Admin)]).await?;
            Ok(((), team))
        })
        .await?;
    stage
        .proving(&[21])
        .step("Cleo is out everywhere", "CreditService/Charge", async {
            locked_out(cleo).await?;
            Ok(((), "NOT_A_MEMBER, in billing within two seconds, too".to_owned()))
        })
        .await
}
