//! Every pair of what gives somebody a place, or ends one, as racers: whichever comes first, there is exactly one living
//! owner of each organization in the end, nobody who is gone has a place, and nobody was told otherwise.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::on;
use bursar_id::OrganizationId;
use bursar_proto::identity::v1::DeleteMeRequest;
use bursar_proto::organization::v1::{
    AcceptInvitationRequest, AcceptOwnershipRequest, CreateOrganizationRequest, LeaveOrganizationRequest,
    RemoveMemberRequest, Role, TransferOwnershipRequest, UpdateMemberRoleRequest,
};
use bursar_testkit::{Person, Refusal, rounds};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::waiting::settles;
use crate::world::{Stage, Start, World};

/// How long what follows from a race may take by itself.
const SETTLED: Duration = Duration::from_secs(30);
/// How many of each race where many do.
const EACH: usize = 32;

/// What a racer does about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Racer {
    /// The person deletes the account.
    DeleteMe,
    /// The owner makes the person the owner.
    TransferTo,
    /// The person, as the owner, makes the Admin the owner.
    TransferFrom,
    /// The person, whom the owner has nominated, accepts to be the owner.
    Own,
    /// The person accepts an invitation.
    Accept,
    /// The Admin removes the person.
    Remove,
    /// The person leaves the organization.
    Leave,
    /// The person creates an organization.
    Create,
    /// The Admin makes the person an Admin.
    Promote,
}

use Racer::{Accept, Create, DeleteMe, Leave, Own, Promote, Remove, TransferFrom, TransferTo};

impl Racer {
    const ALL: [Self; 9] = [DeleteMe, TransferTo, TransferFrom, Own, Accept, Remove, Leave, Create, Promote];

    /// Why this may be refused, whatever the other one did.
    fn refusals(self) -> &'static [&'static str] {
        match self {
            DeleteMe => &["OWNS_ORGANIZATIONS", "SESSION_ENDED"],
            TransferTo => &["NOT_FOUND", "MEMBER_LEAVING", "ROLE_NOT_ALLOWED"],
            TransferFrom => &["NOT_A_MEMBER", "ROLE_NOT_ALLOWED", "ACCOUNT_LEAVING", "SESSION_ENDED"],
            Own => &["NOT_A_MEMBER", "NOT_NOMINATED", "ALREADY_OWNER", "ACCOUNT_LEAVING", "SESSION_ENDED"],
            Accept => &["ACCOUNT_LEAVING", "SESSION_ENDED", "ALREADY_A_MEMBER"],
            Remove | Promote => &["NOT_FOUND", "OWNER_MUST_TRANSFER", "ROLE_NOT_ALLOWED"],
            Leave => &["NOT_A_MEMBER", "OWNER_MUST_TRANSFER", "ACCOUNT_LEAVING", "SESSION_ENDED"],
            Create => &["ACCOUNT_LEAVING", "SESSION_ENDED"],
        }
    }

    async fn run(self, cast: Cast) -> Result<(), Status> {
        let (organization_id, user_id) = (cast.organization.to_string(), cast.who.user.clone());
        let (owner, admin, who) = (cast.owner.client(), cast.admin.client(), cast.who.client());
        match self {
            DeleteMe => who.users().delete_me(DeleteMeRequest::default()).await.map(drop),
            TransferTo => {
                let request = TransferOwnershipRequest { organization_id, user_id, ..Default::default() };
                owner.organizations().transfer_ownership(request).await.map(drop)
            }
            TransferFrom => {
                let user_id = cast.admin.user.clone();
                let request = TransferOwnershipRequest { organization_id, user_id, ..Default::default() };
                who.organizations().transfer_ownership(request).await.map(drop)
            }
            Own => {
                let request = AcceptOwnershipRequest { organization_id, ..Default::default() };
                who.organizations().accept_ownership(request).await.map(drop)
            }
            Accept => {
                let request = AcceptInvitationRequest { token: cast.token, ..Default::default() };
                who.invitations().accept_invitation(request).await.map(drop)
            }
            Remove => {
                let request = RemoveMemberRequest { organization_id, user_id, ..Default::default() };
                admin.members().remove_member(request).await.map(drop)
            }
            Leave => {
                let request = LeaveOrganizationRequest { organization_id, ..Default::default() };
                who.members().leave_organization(request).await.map(drop)
            }
            Create => {
                let request = CreateOrganizationRequest { name: "Another".to_owned(), ..Default::default() };
                who.organizations().create_organization(request).await.map(drop)
            }
            Promote => {
                let role = Role::Admin.into();
                let request = UpdateMemberRoleRequest { organization_id, user_id, role, ..Default::default() };
                admin.members().update_member_role(request).await.map(drop)
            }
        }
    }
}

/// Who plays in a round.
#[derive(Clone)]
struct Cast {
    organization: OrganizationId,
    owner: Person,
    admin: Person,
    who: Person,
    token: String,
}

/// Where the person of a pair stands before the race.
fn start(pair: [Racer; 2]) -> Start {
    match pair {
        _ if pair.contains(&Accept) => Start::Invited,
        _ if pair.contains(&Own) => Start::Nominee,
        _ if pair.contains(&TransferFrom) && !pair.contains(&TransferTo) => Start::Owner,
        _ => Start::Member,
    }
}

/// How often somebody comes back who was told to.
const TRIES: usize = 20;

/// Lets so many of both go at once.
async fn race(pair: [Racer; 2], cast: &Cast, each: usize) -> Vec<(Racer, Result<(), Status>)> {
    let barrier = Arc::new(Barrier::new(2 * each));
    let racers = (0..each).flat_map(|_| pair).map(|racer| {
        let (barrier, cast) = (Arc::clone(&barrier), cast.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            let mut outcome = racer.run(cast.clone()).await;
            for _ in 0..TRIES {
                // Whoever met another change again and again is told to come back: nothing was done.
                match &outcome {
                    Err(status) if Refusal::of(status).reason == "CONFLICTING_CHANGE" => {
                        outcome = racer.run(cast.clone()).await;
                    }
                    _ => break,
                }
            }
            (racer, outcome)
        })
    });
    let mut outcomes = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        outcomes.push(racer.await.expect("no panic"));
    }
    outcomes
}

/// What must be true of the answers alone; whether the account is gone is the other half.
fn check_answers(pair: [Racer; 2], outcomes: &[(Racer, Result<(), Status>)], is_gone: bool) {
    for (racer, outcome) in outcomes {
        if let Err(status) = outcome {
            let reason = Refusal::of(status).reason;
            assert!(racer.refusals().contains(&reason.as_str()), "{pair:?}: {racer:?} was refused: {status:?}");
        }
    }
    let told = |racer| outcomes.iter().any(|(it, outcome)| *it == racer && outcome.is_ok());
    assert_eq!(told(DeleteMe), is_gone, "{pair:?}: {outcomes:?}");
    if is_gone {
        assert!(
            !told(Create) && !told(TransferTo) && !told(Own),
            "{pair:?}: the account is gone and owns: {outcomes:?}"
        );
    }
    if [[DeleteMe, Create], [DeleteMe, TransferTo], [DeleteMe, Own]].contains(&pair) {
        assert_eq!(pair.into_iter().filter(|racer| told(*racer)).count(), 1, "{pair:?}: {outcomes:?}");
    }
}

const GONE: &str = "SELECT COUNT(*) FROM deleted_users WHERE id = $1";
const LEAVING: &str = "SELECT COUNT(*) FROM users WHERE id = $1 AND leaving_since IS NOT NULL";
const DEPARTING: &str = "SELECT COUNT(*) FROM users WHERE id = $1 AND departing_since IS NOT NULL";
/// Places of somebody.
const PLACES: &str = "SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND role IS NOT NULL";
/// Projects that somebody is responsible for.
const PROJECTS: &str = "SELECT COUNT(*) FROM projects WHERE assigned_to = $1";
const OWNED: &str = "SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND role = 'OWNER'";
/// What somebody owns, by the organizations' word and by that of the places in them.
const RULED: &str = "SELECT (SELECT COUNT(*) FROM organizations WHERE owner_user_id = $1) \
    + (SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND role = 'OWNER')";
/// Organizations that have not exactly one owner, or one who is known there to be gone: of this id, or all where it is empty.
/// Organization knows that from an event, a moment later than it is so: see [`rules_from_the_grave`].
const ORPHANS: &str = "SELECT COUNT(*) FROM organizations o WHERE ($1 = '' OR o.id = $1) AND (1 <> (SELECT COUNT(*) \
    FROM memberships m WHERE m.organization_id = o.id AND m.role = 'OWNER' AND m.user_id = o.owner_user_id) \
    OR EXISTS (SELECT 1 FROM users u WHERE u.id = o.owner_user_id AND u.deleted_at IS NOT NULL))";

/// One number out of a store.
pub(crate) async fn count(db: &bursar_db::Db, statement: &'static str, about: &str) -> i64 {
    let read = async {
        let mut tx = db.read().await?;
        let (rows,): (i64,) = on!(&mut tx, c => sqlx::query_as(statement).bind(about).fetch_one(c).await?);
        Ok::<_, bursar_db::DbError>(rows)
    };
    read.await.expect("counted")
}

/// Whether somebody owns something who is gone: by identity's own word, which organization has not heard yet. Identity is
/// asked first: whoever is gone then is so for ever, and so is still gone when organization is asked. The other way round
/// somebody could give up what is owned and go in between.
async fn rules_from_the_grave(identity: &bursar_db::Db, organization: &bursar_db::Db, who: &str) -> bool {
    count(identity, GONE, who).await > 0 && count(organization, RULED, who).await > 0
}

/// What is not as it must be, yet.
async fn complaint(world: &World, who: &Person, is_gone: bool) -> Option<String> {
    let (identity, organization) = (&world.identity, &world.organization);
    let looks: &[(&str, &bursar_db::Db, &'static str)] = if is_gone {
        &[
            ("places of somebody who is gone", organization, PLACES),
            ("projects of somebody who is gone", organization, PROJECTS),
        ]
    } else {
        &[("somebody who is still leaving", identity, LEAVING), ("or departing", organization, DEPARTING)]
    };
    let theirs = looks.iter().map(|&(wrong, db, statement)| (wrong, db, statement, who.user.as_str()));
    let orphans = ("organizations without one living owner", organization, ORPHANS, "");
    for (wrong, db, statement, about) in theirs.chain([orphans]) {
        let found = count(db, statement, about).await;
        if found > 0 {
            return Some(format!("{wrong}: {found}"));
        }
    }
    None
}

async fn owns_something(world: &World, who: &Person) -> bool {
    count(&world.organization, OWNED, &who.user).await > 0
}

/// Somebody who looks all the time whether organizations have one living owner.
pub(crate) struct Checker {
    looking: JoinHandle<()>,
    /// What goes on meanwhile.
    what: String,
}

impl Checker {
    /// Looks at one organization, or at all where its id is empty, and whether any of these people is gone and owns something.
    pub(crate) fn begins(world: &World, what: String, organization: String, people: Vec<String>) -> Self {
        let (identity, db, meanwhile) = (world.identity.clone(), world.organization.clone(), what.clone());
        let looking = tokio::spawn(async move {
            loop {
                let orphans = count(&db, ORPHANS, &organization).await;
                assert_eq!(orphans, 0, "{meanwhile}: an instant without one living owner");
                for who in &people {
                    let rules = rules_from_the_grave(&identity, &db, who).await;
                    assert!(!rules, "{meanwhile}: {who} is gone and owns something");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { looking, what }
    }

    /// Demands that nothing was seen.
    pub(crate) async fn ends(self) {
        self.looking.abort();
        let Self { looking, what } = self;
        assert!(looking.await.is_err_and(|ended| ended.is_cancelled()), "{what}: the checker saw something");
    }
}

/// Runs a pair, so many of each, while somebody looks all the time whether the organization has one living owner; a person who
/// is still there is given back.
async fn play(world: &World, pair: [Racer; 2], each: usize, cast: [&Person; 3]) -> bool {
    let Stage { organization, invitation } = world.stage(cast, start(pair)).await;
    let token = invitation.map(|token| token.to_text().expose().clone()).unwrap_or_default();
    let [owner, admin, who] = cast.map(Clone::clone);
    let cast = Cast { organization, owner, admin, who, token };
    let people = [&cast.owner, &cast.admin, &cast.who].map(|person| person.user.clone());
    let checker = Checker::begins(world, format!("{pair:?}"), organization.to_string(), people.into());
    let outcomes = race(pair, &cast, each).await;
    let is_gone = count(&world.identity, GONE, &cast.who.user).await == 1;
    check_answers(pair, &outcomes, is_gone);
    let look = async || complaint(world, &cast.who, is_gone).await.map_or(Ok(()), Err);
    settles(&format!("{pair:?} {outcomes:?}"), SETTLED, look).await;
    checker.ends().await;
    is_gone
}

/// Runs pairs so often as there are rounds, with people who come as others go; how many took part.
async fn play_all(world: &World, pairs: impl IntoIterator<Item = [Racer; 2]>, each: usize) -> u32 {
    let (owner, admin) = (world.join("Owner").await, world.join("Admin").await);
    let (mut people, mut spare) = (0, None);
    for pair in pairs {
        for _ in 0..rounds() {
            let owns = match &spare {
                Some(who) => owns_something(world, who).await,
                None => true,
            };
            // Whoever owns something cannot leave: somebody else does.
            if spare.is_none() || (owns && pair.contains(&DeleteMe)) {
                people += 1;
                spare = Some(world.join(&format!("Who{people}")).await);
            }
            let who = spare.take().expect("somebody");
            if !play(world, pair, each, [&owner, &admin, &who]).await {
                spare = Some(who);
            }
        }
    }
    people
}

bursar_testkit::engines! {
    async fn every_pair_leaves_one_living_owner_and_no_place_of_the_dead(db: TestDb) {
        let world = Box::pin(World::start(db)).await;
        let pairs = Racer::ALL.into_iter().enumerate();
        let pairs = pairs.flat_map(|(first, one)| Racer::ALL.into_iter().skip(first).map(move |two| [one, two]));
        let people = play_all(&world, pairs, 1).await;
        assert!(people > 20, "only {people} took part: the others left nothing behind");
    }

    async fn of_sixty_four_who_transfer_leave_remove_and_delete_one_side_wins(db: TestDb) {
        let world = Box::pin(World::start(db)).await;
        let pairs = [[TransferTo, Leave], [TransferTo, Remove], [DeleteMe, TransferTo], [DeleteMe, TransferFrom]];
        play_all(&world, pairs, EACH).await;
    }
}
