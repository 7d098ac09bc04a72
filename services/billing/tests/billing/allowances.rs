//! Of how much of a period's allowance is told that it is used, and when. Every order of events is tried beside the rules.

use bursar_db::{DbError, on};
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{AllowanceAlert, Event};
use bursar_rpc::ServiceRole;
use bursar_testkit::{TestDb, engines};
use prost::Message as _;
use prost_types::FieldMask;

use crate::calls::Caller;
use crate::moving::{moving, subscription, the_end};
use crate::races::at_once;
use crate::words::{buy, cancel, free, give_back, give_back_part, reserve, set_seats, settle, spend, subscribe};
use crate::world::{Person, World};

impl Caller {
    /// From now on the account's managers want to be told of these.
    async fn wants(&self, owner: OwnerId, percents: &[u32]) {
        let settings = pb::AccountSettings { allowance_alert_percents: percents.to_vec(), ..Default::default() };
        let update_mask = Some(FieldMask { paths: vec!["allowance_alert_percents".to_owned()] });
        let request = pb::UpdateAccountSettingsRequest { update_mask, ..Default::default() };
        let request =
            pb::UpdateAccountSettingsRequest { owner: owner.to_string(), settings: Some(settings), ..request };
        self.update_account_settings(request).await.unwrap();
    }
}

/// How far the events were read.
#[derive(Default)]
struct Told(i64);

impl Told {
    /// What was told of allowances since then, in order.
    async fn events(&mut self, world: &World) -> Vec<AllowanceAlert> {
        let mut tx = world.store.read().await.unwrap();
        let told = "SELECT seq, payload FROM outbox WHERE type = 'allowance.alert' AND seq > $1 ORDER BY seq";
        let rows: Result<Vec<(i64, Vec<u8>)>, DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(told).bind(self.0).fetch_all(c).await?)) }.await;
        let rows = rows.unwrap();
        self.0 = rows.last().map_or(self.0, |(seq, _)| *seq);
        let read = |(_, bytes): (i64, Vec<u8>)| {
            let event = Event::decode(bytes.as_slice()).unwrap();
            match event.payload {
                Some(Payload::AllowanceAlert(alert)) => alert,
                other => panic!("{other:?}"),
            }
        };
        rows.into_iter().map(read).collect()
    }

    /// The same in short: percentages, used, granted.
    async fn since(&mut self, world: &World) -> Vec<(Vec<u32>, String, String)> {
        self.events(world).await.into_iter().map(|it| (it.percents, it.used, it.granted)).collect()
    }
}

fn alert(percents: &[u32], used: &str, granted: &str) -> Vec<(Vec<u32>, String, String)> {
    vec![(percents.to_vec(), used.to_owned(), granted.to_owned())]
}

/// The next period has begun.
async fn next_period(world: &World, owner: OwnerId) {
    let end = the_end(&subscription(world, owner).await);
    world.passes(end.since(world.now()));
}

/// The `n`-th person on Business, with 300 credits beside its 1,500, who wants to be told of these.
async fn on_business(world: &World, n: u64, percents: &[u32]) -> Person {
    let ana = world.person_with(n, "300").await;
    ana.wants(ana.owner, percents).await;
    ana.subscribe(subscribe(ana.owner, "business")).await.expect("subscribed");
    ana
}

engines! {
    async fn use_of_an_allowance_is_told_once_for_each_crossing(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "300").await;
        boss.wants(team, &[80, 50]).await;
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        let mut told = Told::default();
        boss.charged(spend(team, "749.999999")).await;
        assert_eq!(told.since(&world).await, []);
        let charge = boss.charged(spend(team, "0.000001")).await;
        let events = told.events(&world).await;
        let end = the_end(&subscription(&world, team).await);
        let expected = AllowanceAlert {
            owner: team.to_string(),
            percents: vec![50],
            used: "750".to_owned(),
            granted: "1500".to_owned(),
            period_ends_at: Some(bursar_rpc::convert::to_timestamp(end)),
        };
        assert_eq!(events, [expected]);
        boss.charged(spend(team, "1")).await;
        world.product().refunded(give_back(&charge)).await;
        assert_eq!(told.since(&world).await, [], "it has not fallen below");
        // What is reserved counts, and is told again after it was given back.
        for _ in 0..2 {
            let held = boss.held(reserve(team, "500")).await;
            assert_eq!(told.since(&world).await, alert(&[80], "1250.999999", "1500"));
            boss.release(free(&held)).await.unwrap();
        }
        let held = boss.held(reserve(team, "449.000001")).await;
        assert_eq!(told.since(&world).await, alert(&[80], "1200", "1500"));
        let captured = boss.captured(settle(&held, "449.000001")).await;
        world.product().refunded(give_back_part(&captured, "0.000001")).await;
        boss.charged(spend(team, "600")).await;
        assert_eq!(told.since(&world).await, alert(&[80], "1500", "1500"), "the rest pays what the allowance cannot");
        world.audit(team).await;
    }

    async fn each_period_begins_anew_and_nothing_is_forgotten_meanwhile(db: TestDb) {
        let world = World::on(db).await;
        let ana = on_business(&world, 1, &[50, 100]).await;
        let mut told = Told::default();
        ana.charged(spend(ana.owner, "750")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
        // A program that has just started knows what the last one did.
        let ana = world.through(&world.another_instance().await, &ana);
        ana.charged(spend(ana.owner, "749")).await;
        assert_eq!(told.since(&world).await, []);
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(told.since(&world).await, alert(&[100], "1500", "1500"));
        next_period(&world, ana.owner).await;
        ana.charged(spend(ana.owner, "749")).await;
        assert_eq!(told.since(&world).await, []);
        let ana = world.through(&world.another_instance().await, &ana);
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
        world.audit(ana.owner).await;
    }

    async fn another_choice_holds_from_then_on(db: TestDb) {
        let world = World::on(db).await;
        let ana = on_business(&world, 1, &[]).await;
        let mut told = Told::default();
        let charge = ana.charged(spend(ana.owner, "900")).await;
        assert_eq!(told.since(&world).await, []);
        ana.wants(ana.owner, &[50, 61]).await;
        ana.charged(spend(ana.owner, "14")).await;
        assert_eq!(told.since(&world).await, [], "half of it was used before");
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(told.since(&world).await, alert(&[61], "915", "1500"));
        world.product().refunded(give_back_part(&charge, "200")).await;
        ana.charged(spend(ana.owner, "35")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"), "less was used meanwhile");
        ana.wants(ana.owner, &[]).await;
        ana.charged(spend(ana.owner, "750")).await;
        assert_eq!(told.since(&world).await, []);
    }

    async fn an_upgrade_is_a_part_of_it_and_what_moves_is_all_there_is_there(db: TestDb) {
        let world = World::on(db).await;
        let ana = on_business(&world, 1, &[50]).await;
        let (team, boss) = world.organization_with(2, "1").await;
        boss.wants(team, &[50]).await;
        let mut told = Told::default();
        ana.charged(spend(ana.owner, "750")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
        ana.set_seats(set_seats(ana.owner, 14)).await.unwrap();
        ana.charged(spend(ana.owner, "299.999999")).await;
        assert_eq!(told.since(&world).await, []);
        ana.charged(spend(ana.owner, "0.000001")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "1050", "2100"));
        world.service(ServiceRole::Organization).move_subscription(moving(ana.owner, team)).await.unwrap();
        ana.charged(spend(ana.owner, "300")).await;
        boss.charged(spend(team, "524.999999")).await;
        assert_eq!(told.since(&world).await, [], "what was used elsewhere is no use of it");
        boss.charged(spend(team, "0.000001")).await;
        let events = told.events(&world).await;
        let [only] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&only.owner, &*only.used, &*only.granted), (&team.to_string(), "525", "1050"));
        // What is canceled has no allowance any more.
        boss.cancel(cancel(team, pb::CancelAt::Now)).await.unwrap();
        boss.wants(team, &[51, 52]).await;
        boss.charged(spend(team, "1")).await;
        assert_eq!(told.since(&world).await, []);
        for owner in [ana.owner, team] {
            world.audit(owner).await;
        }
    }

    async fn packs_alone_are_no_allowance(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        ana.wants(ana.owner, &[1, 100]).await;
        ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        ana.charged(spend(ana.owner, "300")).await;
        assert_eq!(Told::default().since(&world).await, []);
    }

    async fn what_programs_of_before_did_is_made_good(db: TestDb) {
        let world = World::on(db).await;
        let ana = on_business(&world, 1, &[50]).await;
        let mut told = Told::default();
        ana.charged(spend(ana.owner, "700")).await;
        // One has booked that counts nothing: what is stored is of another entry.
        world.by_hand("CREATE TABLE kept AS SELECT allowance FROM accounts WHERE allowance IS NOT NULL").await.unwrap();
        ana.charged(spend(ana.owner, "40")).await;
        world.by_hand("UPDATE accounts SET terms = terms + 1, allowance = (SELECT allowance FROM kept)").await.unwrap();
        world.by_hand("DROP TABLE kept").await.unwrap();
        ana.charged(spend(ana.owner, "10")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
        // One has set what is wanted and knew nobody who tells: from the next period on it holds.
        world.by_hand("UPDATE accounts SET terms = terms + 1, allowance = NULL, allowance_alerts = NULL").await.unwrap();
        ana.charged(spend(ana.owner, "50")).await;
        next_period(&world, ana.owner).await;
        let charge = ana.charged(spend(ana.owner, "750")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
        // Or from when it is set again as it is.
        world.by_hand("UPDATE accounts SET terms = terms + 1, allowance = NULL, allowance_alerts = NULL").await.unwrap();
        ana.wants(ana.owner, &[50]).await;
        world.product().refunded(give_back_part(&charge, "1")).await;
        ana.charged(spend(ana.owner, "1")).await;
        assert_eq!(told.since(&world).await, alert(&[50], "750", "1500"));
    }
}

#[test]
fn callers_of_two_replicas_cross_a_percentage_of_the_allowance_once() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        let here = on_business(&world, 1, &[25, 50, 75]).await;
        let there = world.through(&other, &here);
        at_once((0..64).map(|n| {
            let person = if n % 2 == 0 { here.clone() } else { there.clone() };
            async move { person.charged(spend(person.owner, "15")).await }
        }))
        .await;
        let both = [alert(&[25], "375", "1500"), alert(&[50], "750", "1500")].concat();
        assert_eq!(Told::default().since(&world).await, both);
        world.audit(here.owner).await;
    });
}
