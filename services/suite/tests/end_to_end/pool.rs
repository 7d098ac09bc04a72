//! One pool, many callers: exact whatever they do at once.

use std::{collections::BTreeSet, sync::Arc};

use bursar_proto::billing::v1::{
    CaptureRequest, ChargeRequest, ChargeResponse, EntryKind, HoldRequest, HoldState, ReleaseRequest,
};
use bursar_testkit::{Client, Refusal, refused};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::{Code, Status};

use crate::support::{
    books::Books,
    given, once, spend,
    world::{Team, World, unique},
};

/// How many call at once.
const CALLERS: usize = 64;

/// Runs one task for each caller, all beginning at once, each over connections of its own. The answers are in the
/// callers' order.
async fn at_once<T, F>(team: &Team, world: &World, call: impl Fn(usize, Client) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tokens: Vec<_> = team.everybody().map(|person| person.tokens.access_token.clone()).collect();
    let line = Arc::new(Barrier::new(CALLERS));
    let mut racers = JoinSet::new();
    for number in 0..CALLERS {
        let client = Client::of(world.deployment()).with_token(&tokens[number % tokens.len()]);
        let (line, running) = (Arc::clone(&line), call(number, client));
        racers.spawn(async move {
            line.wait().await;
            (number, running.await)
        });
    }
    let mut answers = racers.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn is_short_of_credits(status: &Status) -> bool {
    let refusal = Refusal::of(status);
    (refusal.code, refusal.reason.as_str()) == (Code::FailedPrecondition, "INSUFFICIENT_CREDITS")
}

pub(crate) async fn many_callers_never_spend_more_than_there_is(world: World) {
    const EACH: usize = 8;
    let team = world.team().with_members(2).with_credits("100").assemble().await;
    let owner = team.id.clone();
    let answers = at_once(&team, &world, |caller, client| {
        let owner = owner.clone();
        async move {
            let mut accepted = Vec::new();
            for number in 0..EACH {
                let request_id = format!("many-{caller}-{number}");
                match client.credits().charge(once(&request_id, spend(&owner, "0.7"))).await {
                    Ok(_) => accepted.push(request_id),
                    Err(status) => {
                        assert!(is_short_of_credits(&status), "{:#?}", Refusal::of(&status));
                    }
                }
            }
            accepted
        }
    })
    .await;
    let accepted: BTreeSet<String> = answers.into_iter().flatten().collect();
    assert_eq!(accepted.len(), 142, "100 credits are 142 charges of 0.7");
    let books = Books::audit(&world.operator().await, &team.id).await;
    let booked: BTreeSet<String> = books.charges().into_keys().map(str::to_owned).collect();
    assert_eq!(booked, accepted, "the ledger has what was accepted, and nothing else");
    assert_eq!(books.available.to_string(), "0.6");
    assert_eq!(books.usage.len(), 3, "every member has spent: {:?}", books.usage);
}

pub(crate) async fn racers_on_the_last_credits_get_exactly_what_is_left(world: World) {
    let team = world.team().with_members(1).with_credits("10").assemble().await;
    let owner = team.id.clone();
    let answers = at_once(&team, &world, |_, client| {
        let charge = spend(&owner, "3");
        async move { client.credits().charge(charge).await }
    })
    .await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 3, "10 credits are 3 charges of 3");
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(is_short_of_credits(status), "{:#?}", Refusal::of(status));
    }
    let books = Books::audit(&world.operator().await, &team.id).await;
    assert_eq!(books.available.to_string(), "1");
}

pub(crate) async fn racers_on_one_request_get_one_charge_and_equal_answers(world: World) {
    let team = world.team().with_credits("1000").assemble().await;
    let request = once("the one", spend(&team.id, "2.5"));
    let answers = at_once(&team, &world, |_, client| {
        let request = request.clone();
        async move { given(client.credits().charge(request).await) }
    })
    .await;
    let first: Vec<&ChargeResponse> = answers.iter().filter(|answer| !answer.replayed).collect();
    assert_eq!(first.len(), 1, "one of the answers is the charge's, all others repeat it");
    for answer in &answers {
        assert_eq!((&answer.charge, &answer.balance_after), (&first[0].charge, &first[0].balance_after));
    }
    let client = team.owner.client();
    let other = ChargeRequest { amount: "2.6".to_owned(), ..request };
    refused(client.credits().charge(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let books = Books::audit(&world.operator().await, &team.id).await;
    assert_eq!((books.charges().len(), books.available.to_string().as_str()), (1, "997.5"));
}

pub(crate) async fn a_refusal_does_not_burn_the_request_id(world: World) {
    let team = world.team().with_credits("1").assemble().await;
    let client = team.owner.client();
    let request = once("later", spend(&team.id, "2"));
    let told =
        refused(client.credits().charge(request.clone()).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
    let said = ["available", "required"].map(|key| told.metadata.get(key).map(String::as_str));
    assert_eq!(said, [Some("1"), Some("2")]);
    world.grant(&team.id, "1.5").await;
    let charged = given(client.credits().charge(request).await);
    assert_eq!((charged.replayed, charged.balance_after.as_str()), (false, "0.5"));
}

pub(crate) async fn capture_and_release_race_and_one_wins(world: World) {
    let team = world.team().with_credits("100").assemble().await;
    let hold = HoldRequest {
        owner: team.id.clone(),
        amount: "40".to_owned(),
        request_id: unique("hold"),
        ..HoldRequest::default()
    };
    let placed = given(team.owner.client().credits().hold(hold).await).hold.expect("a hold");
    let answers = at_once(&team, &world, |caller, client| {
        let (hold_id, owner) = (placed.id.clone(), placed.owner.clone());
        async move {
            if caller % 2 == 0 {
                let request_id = format!("capture-{caller}");
                let amount = "30".to_owned();
                let request = CaptureRequest { hold_id, owner, amount, request_id, ..CaptureRequest::default() };
                client.credits().capture(request).await.map(|_| HoldState::Captured)
            } else {
                let request = ReleaseRequest { hold_id, owner, ..ReleaseRequest::default() };
                client.credits().release(request).await.map(|_| HoldState::Released)
            }
        }
    })
    .await;
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let refusal = Refusal::of(status);
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::FailedPrecondition, "HOLD_SETTLED"));
    }
    let won: BTreeSet<HoldState> = answers.iter().filter_map(|answer| answer.as_ref().ok().copied()).collect();
    assert_eq!(won.len(), 1, "the hold was captured or released, not both: {won:?}");
    let books = Books::audit(&world.operator().await, &team.id).await;
    let captures = books.of(EntryKind::Capture).count();
    let releases = books.of(EntryKind::Release).count();
    let (left, wanted) = if won.contains(&HoldState::Captured) { ("70", (1, 0)) } else { ("100", (0, 1)) };
    assert_eq!((books.available.to_string().as_str(), (captures, releases)), (left, wanted));
}
