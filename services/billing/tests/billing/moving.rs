//! `MoveSubscription`: a person's plan becomes an organization's, with what is left of its month and nothing else.

use std::time::Duration;

use bursar_id::{OrganizationId, OwnerId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{EntryKind, SubscriptionState};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::watch_response::Item;
use bursar_proto::event::v1::{OrganizationCreated, SubscriptionChanged, WatchRequest};
use bursar_rpc::ServiceRole;
use bursar_runtime::Service;
use bursar_testkit::{Asking, Proxy, Refusal, TestDb, at, at_every_step, engines, id, refused, rounds};
use bursar_time::{Span, Timestamp};
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::races::at_once;
use crate::words::{cancel, entries_of, free, give_back, lots_of, reserve, settle, spend, subscribe};
use crate::world::{BUILT_IN, Person, World};

pub(crate) fn moving(from: OwnerId, to: OwnerId) -> pb::MoveSubscriptionRequest {
    pb::MoveSubscriptionRequest { from_owner: from.to_string(), to_owner: to.to_string(), ..Default::default() }
}

/// The `n`-th organization, of which billing has not heard.
pub(crate) fn unheard(n: u64) -> OwnerId {
    let organization: OrganizationId = id(5_000 + n);
    OwnerId::Organization(organization)
}

pub(crate) async fn subscription(world: &World, owner: OwnerId) -> pb::Subscription {
    let get = pb::GetSubscriptionRequest { owner: owner.to_string() };
    world.product().get_subscription(get).await.expect("found").subscription.expect("a subscription")
}

pub(crate) async fn plan_of(world: &World, owner: OwnerId) -> (String, u32) {
    let of = pb::GetEntitlementsRequest { owner: owner.to_string() };
    let entitled = world.service(ServiceRole::Organization).get_entitlements(of).await.expect("entitlements");
    (entitled.plan_id, entitled.seats)
}

/// The owner's lots, the oldest first: source, granted, remaining, held, and when they end.
pub(crate) async fn lots(world: &World, owner: OwnerId) -> Vec<String> {
    let mut lots = world.operator().list_lots(lots_of(owner)).await.expect("lots").lots;
    lots.reverse();
    let end = |lot: &pb::Lot| lot.expires_at.map_or_else(|| "never".to_owned(), |it| it.seconds.to_string());
    lots.iter()
        .map(|it| format!("{:?} {} ({}+{}) {}", it.source(), it.granted, it.remaining, it.held, end(it)))
        .collect()
}

/// What billing has told of subscriptions: owner, plan, state.
pub(crate) async fn told(world: &World) -> Vec<(String, String, String)> {
    told_since(world, &mut String::new()).await
}

/// The same since a cursor, which moves on: events of a month ago are not kept.
pub(crate) async fn told_since(world: &World, cursor: &mut String) -> Vec<(String, String, String)> {
    let mut watch = world.service(ServiceRole::Organization).0.billing_events();
    let since = WatchRequest { cursor: cursor.clone(), ..Default::default() };
    let mut stream = watch.watch(since).await.expect("watching").into_inner();
    let mut told = Vec::new();
    loop {
        let answer = stream.message().await.expect("an answer").expect("more");
        cursor.clone_from(&answer.cursor);
        let Some(Item::Event(event)) = answer.item else { break };
        if let Some(Payload::SubscriptionChanged(SubscriptionChanged { owner, plan_id, state, .. })) = event.payload {
            told.push((owner, plan_id, state));
        }
    }
    told
}

/// Ana, subscribed to Business, with 300 credits that never expire.
pub(crate) async fn subscribed(world: &World, n: u64) -> Person {
    let ana = world.person_with(n, "300").await;
    ana.subscribe(subscribe(ana.owner, "business")).await.expect("subscribed");
    ana
}

/// When a subscription's month ends.
pub(crate) fn the_end(subscription: &pb::Subscription) -> Timestamp {
    let seconds = subscription.current_period_end.expect("an end").seconds;
    Timestamp::from_micros(seconds * 1_000_000).expect("a time")
}

engines! {
    async fn a_subscription_moves_with_what_is_left_of_its_month(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let charge = ana.charged(spend(ana.owner, "500")).await;
        world.passes(Span::from_days(3));
        let hold = ana.held(reserve(ana.owner, "100")).await;
        let before = subscription(&world, ana.owner).await;
        let end = the_end(&before).as_unix_secs();
        let moved = world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await;
        let moved = moved.expect("moved").subscription.expect("a subscription");
        assert_eq!(moved, pb::Subscription { owner: team.to_string(), ..before.clone() }, "the same, of another owner");
        assert_eq!(subscription(&world, team).await, moved);
        let left = subscription(&world, ana.owner).await;
        assert_eq!((left.state(), left.id), (SubscriptionState::Ended, before.id));
        assert_eq!(plan_of(&world, ana.owner).await, ("free".to_owned(), 5));
        assert_eq!(plan_of(&world, team).await, ("business".to_owned(), 10));
        let (business, free_plan) = ("business".to_owned(), "free".to_owned());
        let [ended, active] = ["ENDED", "ACTIVE"].map(str::to_owned);
        let of = |owner: OwnerId, plan: &String, state: &String| (owner.to_string(), plan.clone(), state.clone());
        let expected = [of(ana.owner, &business, &active), of(ana.owner, &free_plan, &ended), of(team, &business, &active)];
        assert_eq!(told(&world).await, expected);

        let pack = "Goodwill 300 (300+0) never".to_owned();
        assert_eq!(lots(&world, ana.owner).await, [pack.clone(), format!("Allowance 1500 (0+100) {end}")]);
        assert_eq!(lots(&world, team).await, ["Goodwill 1 (1+0) never".to_owned(), format!("Allowance 900 (900+0) {end}")]);
        let entries = |owner| { let operator = world.operator(); async move { operator.list_ledger_entries(entries_of(owner)).await.unwrap().entries } };
        let (hers, theirs) = (entries(ana.owner).await, entries(team).await);
        let (void, granted) = (hers.last().unwrap(), theirs.last().unwrap());
        assert_eq!((void.kind(), &*void.amount, granted.kind(), &*granted.amount), (EntryKind::Void, "900", EntryKind::Grant, "900"));
        assert_eq!((&void.actor, granted.actor.is_some()), (&granted.actor, true), "organization's doing, on both sides");

        // What was reserved is honoured, and what comes back is gone.
        ana.captured(settle(&hold, "40")).await;
        world.product().refund(give_back(&charge)).await.expect("refunded");
        assert_eq!(lots(&world, ana.owner).await[1], format!("Allowance 1500 (0+0) {end}"));
        assert_eq!((world.available(ana.owner).await, world.available(team).await), ("300".to_owned(), "901".to_owned()));
        boss.charged(spend(team, "900.5")).await;
        // The month goes on there, and nothing goes on here.
        world.passes(the_end(&moved).since(world.now()));
        boss.charged(spend(team, "1500")).await;
        assert_eq!((world.available(team).await, world.available(ana.owner).await), ("0.5".to_owned(), "300".to_owned()));
        assert_eq!(ana.charge(spend(ana.owner, "301")).await.map(drop).map_err(|it| Refusal::of(&it).reason), Err("INSUFFICIENT_CREDITS".to_owned()));
        assert_eq!(subscription(&world, team).await.current_period_start, moved.current_period_end);
        world.audit(ana.owner).await;
        world.audit(team).await;
    }

    async fn an_organization_that_billing_has_not_heard_of_gets_an_account(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let team = unheard(1);
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.expect("moved");
        assert_eq!(world.available(team).await, "1500");
        // Then the event comes.
        let (organization_id, owner_user_id) = (team.to_string(), ana.user.to_string());
        world.tell(Payload::OrganizationCreated(OrganizationCreated { organization_id, owner_user_id, ..Default::default() })).await;
        world.applied().await;
        assert_eq!(world.available(team).await, "1500");
        world.audit(team).await;
    }

    async fn with_nothing_left_the_month_itself_still_moves(db: TestDb) {
        let world = World::on(db).await;
        let ana = subscribed(&world, 1).await;
        let (team, boss) = world.organization_with(1, "1").await;
        ana.charged(spend(ana.owner, "1400")).await;
        let hold = ana.held(reserve(ana.owner, "100")).await;
        let moved = world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await;
        let moved = moved.expect("moved").subscription.expect("a subscription");
        assert_eq!(lots(&world, team).await, ["Goodwill 1 (1+0) never"], "nothing was left, so nothing was granted");
        ana.release(free(&hold)).await.expect("released");
        assert_eq!(world.available(ana.owner).await, "300", "what was held does not come back");
        boss.charged(spend(team, "0.5")).await;
        let balance = boss.get_balance(crate::words::balance_of(team)).await.expect("a balance");
        assert_eq!(&*balance.spent_this_period, "0.5");
        // Whoever spends first after its end spends of the next month's allowance.
        world.passes(the_end(&moved).since(world.now()));
        boss.charged(spend(team, "1500")).await;
        assert_eq!(world.available(team).await, "0.5");
        world.audit(ana.owner).await;
        world.audit(team).await;
    }

    async fn a_month_that_is_over_is_renewed_before_it_moves(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben) = (subscribed(&world, 1).await, subscribed(&world, 2).await);
        let sql = format!("UPDATE subscriptions SET payment_method = 'sandbox_declined' WHERE owner = '{}'", ben.owner);
        world.by_hand(&sql).await.unwrap();
        let end = the_end(&subscription(&world, ana.owner).await);
        world.passes(end.since(world.now()));
        let organization = world.service(ServiceRole::Organization);
        let moved = organization.move_subscription(moving(ana.owner, unheard(1))).await.expect("moved");
        assert_eq!(the_end(&moved.subscription.unwrap()), at("2026-03-15T12:00:00Z"));
        assert_eq!((world.available(ana.owner).await, world.available(unheard(1)).await), ("300".to_owned(), "1500".to_owned()));
        refused(organization.move_subscription(moving(ben.owner, unheard(2))).await, Code::FailedPrecondition, "PLAN_REQUIRED");
        for owner in [ana.owner, ben.owner, unheard(1)] {
            world.audit(owner).await;
        }
    }

    async fn a_repetition_gets_the_first_answer_however_late(db: TestDb) {
        let world = World::on(db).await;
        let (ana, ben, team) = (subscribed(&world, 1).await, subscribed(&world, 2).await, unheard(1));
        let organization = world.service(ServiceRole::Organization);
        let first = organization.move_subscription(moving(ana.owner, team)).await.expect("moved");
        let seqs = (world.seq(ana.owner).await, world.seq(team).await);
        let reused = (Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(organization.move_subscription(moving(ana.owner, team)).await.expect("again"), first);
        refused(organization.move_subscription(moving(ben.owner, team)).await, reused.0, reused.1);
        assert_eq!((world.seq(ana.owner).await, world.seq(team).await), seqs, "nothing is booked twice");
        world.passes(Span::from_days(40));
        bursar_db::idempotency::prune(&world.store, world.now()).await.expect("forgets");
        assert_eq!(world.answers_kept().await, 0, "it is forgotten there");
        let renewed = async || the_end(&subscription(&world, team).await) > world.now();
        crate::world::until("the month is renewed", renewed).await;
        let organization = world.service(ServiceRole::Organization);
        assert_eq!(organization.move_subscription(moving(ana.owner, team)).await.expect("forty days later"), first);
        refused(organization.move_subscription(moving(ben.owner, team)).await, reused.0, reused.1);
        for owner in [ana.owner, ben.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn nothing_moves_where_it_was_refused_however_late(db: TestDb) {
        let world = World::on(db).await;
        let (ben, dan, team) = (world.person(2), subscribed(&world, 3).await, unheard(1));
        let (failed, reused) = (Code::FailedPrecondition, (Code::AlreadyExists, "REQUEST_ID_REUSED"));
        let organization = world.service(ServiceRole::Organization);
        refused(organization.move_subscription(moving(ben.owner, team)).await, failed, "PLAN_REQUIRED");
        world.passes(Span::from_days(40));
        bursar_db::idempotency::prune(&world.store, world.now()).await.expect("forgets");
        assert_eq!(world.answers_kept().await, 0, "it is forgotten there");
        // Meanwhile he has a plan that could move.
        ben.subscribe(subscribe(ben.owner, "business")).await.expect("subscribed");
        let organization = world.service(ServiceRole::Organization);
        for _ in 0..2 {
            refused(organization.move_subscription(moving(ben.owner, team)).await, failed, "PLAN_REQUIRED");
        }
        refused(organization.move_subscription(moving(dan.owner, team)).await, reused.0, reused.1);
        assert_eq!((world.seq(team).await, world.available(ben.owner).await), (0, "1500".to_owned()));
        organization.move_subscription(moving(ben.owner, unheard(2))).await.expect("it moves elsewhere");
        // Nobody asks any more after a year.
        let kept = async || world.scalar("SELECT COUNT(*) FROM refused_moves").await;
        assert_eq!(kept().await, 1);
        world.passes(Span::from_days(327));
        crate::world::until("it is forgotten", async || kept().await == 0).await;
    }

    async fn what_cannot_move(db: TestDb) {
        const SOLO: &str = "\n[[plans]]\nid = \"solo\"\nname = \"Solo\"\nprice = \"10.00 USD\"\ncredits = \"100\"\nseats = 1\nfeatures = []\n";
        let world = World::selling(db, &format!("{BUILT_IN}{SOLO}")).await;
        let (ana, ben, dan) = (subscribed(&world, 1).await, world.person(2), world.person(3));
        dan.subscribe(subscribe(dan.owner, "solo")).await.unwrap();
        let (team, boss) = world.organization_with(4, "1").await;
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        let organization = world.service(ServiceRole::Organization);
        let seqs = (world.seq(ana.owner).await, world.seq(team).await);
        let failed = Code::FailedPrecondition;
        refused(organization.move_subscription(moving(ben.owner, unheard(1))).await, failed, "PLAN_REQUIRED");
        refused(organization.move_subscription(moving(dan.owner, unheard(2))).await, failed, "PLAN_REQUIRED");
        refused(organization.move_subscription(moving(ana.owner, team)).await, failed, "ALREADY_SUBSCRIBED");
        let bad = pb::MoveSubscriptionRequest { to_owner: "x\0".repeat(200), ..moving(team, team) };
        let bad = refused(organization.move_subscription(bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["from_owner", "to_owner"], "from a person to an organization");
        let backwards = moving(team, ana.owner);
        refused(organization.move_subscription(backwards).await, Code::InvalidArgument, "INVALID_FIELDS");
        let denied = Code::PermissionDenied;
        for role in [ServiceRole::Product, ServiceRole::Operator, ServiceRole::Identity, ServiceRole::Billing] {
            refused(world.service(role).move_subscription(moving(ana.owner, unheard(9))).await, denied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        for person in [&ana, &boss] {
            refused(person.move_subscription(moving(ana.owner, unheard(9))).await, denied, "CALLER_NOT_ALLOWED");
        }
        assert_eq!(world.seq(unheard(9)).await, 0);
        assert_eq!((world.seq(ana.owner).await, world.seq(team).await), seqs, "nothing is written");
        // Organization has removed what it had made: nothing moves there afterwards.
        ben.subscribe(subscribe(ben.owner, "business")).await.unwrap();
        refused(organization.move_subscription(moving(ben.owner, unheard(1))).await, failed, "PLAN_REQUIRED");
        organization.move_subscription(moving(ben.owner, unheard(3))).await.expect("moved");
        refused(organization.move_subscription(moving(ben.owner, unheard(4))).await, failed, "PLAN_REQUIRED");
        ben.subscribe(subscribe(ben.owner, "business")).await.expect("he may begin another");
        world.audit(ben.owner).await;
    }

    /// Operators have subscribed it while it waited. Its creator's plan is not needed, and never taken.
    async fn where_the_organization_pays_already_nothing_moves_however_late(db: TestDb) {
        let world = World::on(db).await;
        let (ana, dan) = (subscribed(&world, 1).await, world.person(2));
        let (team, _) = world.organization_with(3, "1").await;
        let operator = world.operator();
        operator.subscribe(subscribe(team, "business")).await.expect("subscribed");
        let organization = world.service(ServiceRole::Organization);
        let refused_again = async || {
            let outcome = organization.move_subscription(moving(ana.owner, team)).await;
            let refusal = refused(outcome, Code::FailedPrecondition, "ALREADY_SUBSCRIBED");
            assert_eq!(refusal.metadata.get("plan").map(String::as_str), Some("business"));
            assert_eq!((plan_of(&world, ana.owner).await.0, world.available(ana.owner).await), ("business".to_owned(), "1800".to_owned()));
        };
        refused_again().await;
        assert_eq!(world.scalar("SELECT COUNT(*) FROM refused_moves").await, 1, "the first answer");
        operator.cancel(cancel(team, pb::CancelAt::Now)).await.expect("canceled");
        refused_again().await;
        assert_eq!(plan_of(&world, team).await.0, "free");
        let other = moving(dan.owner, team);
        refused(organization.move_subscription(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // It is asked first, whatever plan the creator is on.
        let (fourth, _) = world.organization_with(4, "1").await;
        operator.subscribe(subscribe(fourth, "business")).await.expect("subscribed");
        refused(organization.move_subscription(moving(dan.owner, fourth)).await, Code::FailedPrecondition, "ALREADY_SUBSCRIBED");
        // What has ended before anybody asked is not in the way.
        let (fifth, _) = world.organization_with(5, "1").await;
        operator.subscribe(subscribe(fifth, "business")).await.expect("subscribed");
        operator.cancel(cancel(fifth, pb::CancelAt::Now)).await.expect("canceled");
        organization.move_subscription(moving(ana.owner, fifth)).await.expect("moved");
        for owner in [ana.owner, team, fourth, fifth] {
            world.audit(owner).await;
        }
    }

    async fn of_moves_of_one_subscription_at_once_exactly_one_succeeds(db: TestDb) {
        let world = World::on(db).await;
        for round in 0..rounds() {
            let ana = subscribed(&world, 1 + round).await;
            let organization = world.service(ServiceRole::Organization);
            let teams: Vec<OwnerId> = (0..32).map(|n| unheard(100 * round + n)).collect();
            // Each of them twice: the twin gets the same answer.
            let outcomes = at_once((0..64_usize).map(|n| {
                let (organization, request) = (organization.clone(), moving(ana.owner, teams[n / 2]));
                async move { organization.move_subscription(request).await }
            }))
            .await;
            let is_winner = |pair: &[Result<pb::MoveSubscriptionResponse, Status>]| pair.iter().all(Result::is_ok);
            let winners: Vec<usize> = (0..32).filter(|n| is_winner(&outcomes[2 * n..2 * n + 2])).collect();
            assert_eq!(winners.len(), 1, "{outcomes:?}");
            for (n, outcome) in outcomes.iter().enumerate().filter(|(n, _)| n / 2 != winners[0]) {
                assert_eq!(outcome.as_ref().map_err(|it| Refusal::of(it).reason).unwrap_err(), "PLAN_REQUIRED", "{n}");
            }
            for (n, team) in teams.iter().enumerate() {
                let expected = if n == winners[0] { "1500" } else { "0" };
                assert_eq!(world.number("SELECT CAST(COALESCE(SUM(remaining), 0) / 1000000 AS BIGINT) FROM lots WHERE owner = $1", *team).await.to_string(), expected);
            }
            world.audit(ana.owner).await;
            world.audit(teams[winners[0]]).await;
        }
    }

    async fn what_is_spent_meanwhile_is_spent_at_one_of_the_two(db: TestDb) {
        let world = World::on(db).await;
        for round in 0..3 {
            let ana = world.person(1 + round);
            ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
            let (team, boss) = world.organization_with(1 + round, "1").await;
            let organization = world.service(ServiceRole::Organization);
            let outcomes = at_once((0..60_usize).map(|n| {
                let (ana, boss, organization) = (ana.clone(), boss.clone(), organization.clone());
                async move {
                    match n % 6 {
                        5 if n < 12 => organization.move_subscription(moving(ana.owner, team)).await.map(|_| 0),
                        4 => ana.hold(reserve(ana.owner, "20")).await.map(|_| 20),
                        0..=2 => ana.charge(spend(ana.owner, "20")).await.map(|_| 20),
                        _ => boss.charge(spend(team, "20")).await.map(|_| 20),
                    }
                }
            }))
            .await;
            let reasons = outcomes.iter().filter_map(|it| it.as_ref().err()).map(|it| Refusal::of(it).reason);
            assert!(reasons.clone().all(|reason| reason == "INSUFFICIENT_CREDITS"), "{:?}", reasons.collect::<Vec<_>>());
            let gone: u64 = outcomes.iter().filter_map(|it| it.as_ref().ok()).sum();
            assert_eq!(world.available(ana.owner).await, "0");
            assert_eq!(world.available(team).await, (1501 - gone).to_string(), "what is left is there");
            world.audit(ana.owner).await;
            world.audit(team).await;
        }
    }

    async fn a_renewal_and_a_move_at_once_pay_the_month_once(db: TestDb) {
        let world = World::on(db).await;
        for round in 0..5 {
            let ana = subscribed(&world, 10 + round).await;
            let team = unheard(10 + round);
            let end = the_end(&subscription(&world, ana.owner).await);
            world.passes(end.since(world.now()));
            let organization = world.service(ServiceRole::Organization);
            let outcomes = at_once((0..8_usize).map(|n| {
                let (ana, organization) = (ana.clone(), organization.clone());
                async move {
                    if n % 2 == 0 {
                        ana.charge(spend(ana.owner, "1")).await.map(drop)
                    } else {
                        organization.move_subscription(moving(ana.owner, team)).await.map(drop)
                    }
                }
            }))
            .await;
            let moved = outcomes.iter().skip(1).step_by(2).filter(|it| it.is_ok()).count();
            assert!(moved > 0 || outcomes.iter().filter_map(|it| it.as_ref().err()).any(|it| Refusal::of(it).reason == "RENEWAL_DUE"), "{outcomes:?}");
            organization.move_subscription(moving(ana.owner, team)).await.expect("moved, if not before");
            let of_allowances = |lots: Vec<String>| lots.into_iter().filter(|lot| lot.starts_with("Allowance")).count();
            assert_eq!(of_allowances(lots(&world, ana.owner).await), 2, "the first month's and the second's");
            assert_eq!(of_allowances(lots(&world, team).await), 1);
            world.audit(ana.owner).await;
            world.audit(team).await;
        }
    }
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_move_loses_and_doubles_nothing() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        const DEADLINE: Duration = Duration::from_secs(2);
        let proxy = Proxy::before(&db).await;
        let world = World::on(db).await;
        let behind: Caller = world
            .instance_with(|settings| {
                settings.stores[Service::Billing] = proxy.store_url();
                settings.postgres.acquire_timeout = DEADLINE;
                settings.limits.deadline = DEADLINE;
            })
            .await;
        // Whoever moves again and again beside it has a new plan each time.
        let ask = async |asking: Asking<'_>| {
            let replica = if asking.beside { world.nobody() } else { &behind };
            let organization = world.service_through(replica, ServiceRole::Organization);
            let n = asking.request_id.bytes().fold(asking.person, |hash, byte| hash * 31 % 1_000_003 + u64::from(byte));
            let (ana, team) = (world.person(10_000 + n), unheard(10_000 + n));
            let request = pb::SubscribeRequest { request_id: format!("{n}"), ..subscribe(ana.owner, "business") };
            world.operator().subscribe(request).await.expect("subscribed");
            let moved = organization.move_subscription(moving(ana.owner, team)).await?.subscription;
            Ok(format!("{team} {}", moved.expect("a subscription").id))
        };
        at_every_step(&proxy, DEADLINE + Duration::from_secs(5), ask).await;
        assert_eq!(
            world.scalar("SELECT COUNT(*) FROM subscriptions WHERE state = 'ACTIVE' AND owner LIKE 'usr%'").await,
            0
        );
        let doubled = "SELECT COUNT(*) FROM (SELECT owner FROM lots WHERE remaining > 0 GROUP BY owner HAVING COUNT(*) <> 1 OR SUM(remaining) <> 1500000000) AS it";
        assert_eq!(world.scalar(doubled).await, 0);
    });
}
