//! Automatic top-ups over the wire: who sets them, what bad input gets, and what is bought while the jobs run. Their rules in
//! detail are tested beside their use case.

use bursar_db::{Db, DbError, on};
use bursar_id::{OwnerId, Role, ServiceAccountId};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{PaymentState, PurchaseState};
use bursar_proto::google::r#type::Money;
use bursar_testkit::{TestDb, audited, engines, id, refused, rounds};
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::moving::moving;
use crate::races::at_once;
use crate::words::{Spending as _, Under, free, grant, reserve, spend};
use crate::world::{Person, World, until};

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

/// Starter packs (300 credits, 20 dollars) below 100 credits, for at most so many dollars a month.
pub(crate) fn starter(ceiling: i64, method: &str) -> pb::AutoTopUp {
    pb::AutoTopUp {
        enabled: true,
        threshold: "100".to_owned(),
        pack_id: "starter".to_owned(),
        monthly_ceiling: Some(usd(ceiling)),
        payment_method: method.to_owned(),
        stopped_by: String::new(),
    }
}

pub(crate) fn set(owner: OwnerId, top_up: pb::AutoTopUp) -> pb::UpdateAccountSettingsRequest {
    let settings = pb::AccountSettings { auto_top_up: Some(top_up), ..Default::default() };
    pb::UpdateAccountSettingsRequest { owner: owner.to_string(), settings: Some(settings), ..Default::default() }
}

/// Takes it back.
pub(crate) fn without(owner: OwnerId) -> pb::UpdateAccountSettingsRequest {
    let update_mask = Some(FieldMask { paths: vec!["auto_top_up".to_owned()] });
    pb::UpdateAccountSettingsRequest { owner: owner.to_string(), update_mask, ..Default::default() }
}

impl Caller {
    async fn tops_up(&self, owner: OwnerId, top_up: pb::AutoTopUp) -> pb::AccountSettings {
        self.update_account_settings(set(owner, top_up)).await.unwrap().settings.unwrap()
    }
}

impl World {
    /// The owner's top-up as it is.
    pub(crate) async fn top_up(&self, owner: OwnerId) -> pb::AutoTopUp {
        let get = pb::GetAccountSettingsRequest { owner: owner.to_string() };
        self.operator().get_account_settings(get).await.unwrap().settings.unwrap().auto_top_up.unwrap_or_default()
    }

    /// The owner's payments, the latest first.
    async fn payments(&self, owner: OwnerId) -> Vec<pb::Payment> {
        let list = pb::ListPaymentsRequest { owner: owner.to_string(), ..Default::default() };
        self.operator().list_payments(list).await.unwrap().payments
    }

    async fn states(&self, owner: OwnerId) -> Vec<PaymentState> {
        self.payments(owner).await.iter().map(pb::Payment::state).collect()
    }

    /// Until there are so many payments, each of which is known to have been asked for, and nothing is left to look at now.
    pub(crate) async fn tried(&self, owner: OwnerId, count: usize) {
        let asked = async || {
            let states = self.states(owner).await;
            states.len() == count && !states.contains(&PaymentState::Created)
        };
        until(&format!("{count} payments"), asked).await;
        self.looked().await;
        assert_eq!(self.states(owner).await.len(), count);
    }

    /// Until no job looks at a top-up now.
    pub(crate) async fn looked(&self) {
        let now = self.now().as_micros();
        until("everything is looked at", async || {
            let due = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.top-up' AND (leased = 1 OR due_at <= $1)";
            counted(&self.store, due, now).await == 0
        })
        .await;
    }

    /// How often somebody was told that a top-up was switched off.
    pub(crate) async fn stopped(&self) -> i64 {
        self.scalar("SELECT COUNT(*) FROM outbox WHERE type = 'top_up.stopped'").await
    }
}

async fn counted(store: &Db, sql: &'static str, bound: i64) -> i64 {
    let mut tx = store.read().await.unwrap();
    let count: Result<(i64,), DbError> =
        async { Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(bound).fetch_one(c).await?)) }.await;
    count.unwrap().0
}

engines! {
    async fn a_charge_below_the_threshold_buys_a_pack(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "150").await;
        let set = ana.tops_up(ana.owner, starter(100, "sandbox_ok")).await;
        assert_eq!(set.auto_top_up, Some(starter(100, "sandbox_ok")));
        world.looked().await;
        assert_eq!(world.payments(ana.owner).await, []);
        ana.charged(spend(ana.owner, "51")).await;
        until("a pack is bought", async || world.available(ana.owner).await == "399").await;
        world.tried(ana.owner, 1).await;
        let list = pb::ListPurchasesRequest { owner: ana.owner.to_string(), ..Default::default() };
        let purchase = ana.list_purchases(list).await.unwrap().purchases.remove(0);
        assert_eq!((purchase.state(), purchase.bought_by), (PurchaseState::Paid, ServiceAccountId::BILLING.to_string()));
        let invoices = pb::ListInvoicesRequest { owner: ana.owner.to_string(), ..Default::default() };
        assert_eq!(ana.list_invoices(invoices).await.unwrap().invoices.len(), 1);
        // It crosses again within the cool-down: the next one follows when that is over.
        ana.charged(spend(ana.owner, "350")).await;
        world.looked().await;
        assert_eq!(world.states(ana.owner).await.len(), 1);
        world.passes(Span::HOUR);
        until("the next one is bought", async || world.available(ana.owner).await == "349").await;
        let row = audited(&world.store).await.into_iter().find(|row| row.actor == ServiceAccountId::BILLING.to_string()).unwrap();
        assert_eq!((row.on_behalf_of, row.owner, row.target), (Some(ana.user.to_string()), Some(ana.owner), Some(purchase.id)));
        let (told, log) = ("SELECT COUNT(*) FROM outbox WHERE type = 'audit.recorded'", "SELECT COUNT(*) FROM audit");
        assert_eq!(world.scalar(told).await, world.scalar(log).await, "organization is told of each");
        world.audit(ana.owner).await;
    }

    async fn a_hold_an_expiry_and_switching_it_on_cross_as_well(db: TestDb) {
        let world = World::on(db).await;
        let held = world.person_with(1, "150").await;
        held.tops_up(held.owner, starter(100, "sandbox_ok")).await;
        let hold = held.hold(reserve(held.owner, "60")).await.unwrap().hold.unwrap();
        until("a hold", async || world.available(held.owner).await == "390").await;
        held.release(free(&hold)).await.unwrap();

        let ben = world.person(2);
        let expiring = pb::GrantCreditsRequest {
            expires_at: Some(bursar_rpc::convert::to_timestamp(world.in_(Span::HOUR))),
            ..grant(ben.owner, "150")
        };
        world.operator().granted(expiring).await;
        ben.tops_up(ben.owner, starter(100, "sandbox_ok")).await;
        world.passes(Span::HOUR);
        until("an expiry", async || world.available(ben.owner).await == "300").await;

        let cem = world.person_with(3, "99.999999").await;
        cem.tops_up(cem.owner, starter(100, "sandbox_ok")).await;
        until("switching it on", async || world.available(cem.owner).await == "399.999999").await;
        for owner in [held.owner, ben.owner, cem.owner] {
            world.tried(owner, 1).await;
            world.audit(owner).await;
        }
    }

    async fn each_way_to_pay_ends_as_it_should(db: TestDb) {
        let world = World::on(db).await;
        let mut people = Vec::new();
        for (n, method, state) in [
            (1, "sandbox_ok", PaymentState::Paid),
            (2, "sandbox_pending", PaymentState::Pending),
            (3, "sandbox_declined", PaymentState::Declined),
            (4, "sandbox_requires_action", PaymentState::RequiresAction),
        ] {
            let person = world.person(n);
            person.tops_up(person.owner, starter(1_000, method)).await;
            world.tried(person.owner, 1).await;
            assert_eq!(world.states(person.owner).await, [state]);
            people.push(person);
        }
        for hour in 2..6_usize {
            world.passes(Span::HOUR);
            for (person, most) in people.iter().zip([1, 1, 3, 3]) {
                world.tried(person.owner, hour.min(most)).await;
            }
        }
        for (person, stopped_by) in people.iter().zip(["", "", "PAYMENT_DECLINED", "PAYMENT_DECLINED"]) {
            let now = world.top_up(person.owner).await;
            assert_eq!((now.enabled, &*now.stopped_by), (stopped_by.is_empty(), stopped_by));
            world.audit(person.owner).await;
        }
        assert_eq!(world.stopped().await, 2, "both are told");
    }

    async fn bad_top_ups_are_refused_field_by_field(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1").await;
        let good = starter(100, "sandbox_ok");
        let eur = Some(Money { currency_code: "EUR".to_owned(), units: 100, nanos: 0 });
        let cases = [
            (pb::AutoTopUp { threshold: "-1".to_owned(), ..good.clone() }, "threshold"),
            (pb::AutoTopUp { threshold: "0".to_owned(), ..good.clone() }, "threshold"),
            (pb::AutoTopUp { threshold: String::new(), ..good.clone() }, "threshold"),
            (pb::AutoTopUp { threshold: "0.0000001".to_owned(), ..good.clone() }, "threshold"),
            (pb::AutoTopUp { threshold: "1000000000000.000001".to_owned(), ..good.clone() }, "threshold"),
            (pb::AutoTopUp { pack_id: String::new(), ..good.clone() }, "pack_id"),
            (pb::AutoTopUp { pack_id: "Starter Pack".to_owned(), ..good.clone() }, "pack_id"),
            (pb::AutoTopUp { monthly_ceiling: None, ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { monthly_ceiling: Some(usd(0)), ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { monthly_ceiling: Some(usd(-20)), ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { monthly_ceiling: Some(usd(i64::MAX)), ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { monthly_ceiling: Some(usd(19)), ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { monthly_ceiling: eur, ..good.clone() }, "monthly_ceiling"),
            (pb::AutoTopUp { payment_method: "cash".to_owned(), ..good.clone() }, "payment_method"),
            (pb::AutoTopUp { payment_method: "x".repeat(129), ..good.clone() }, "payment_method"),
        ];
        for (top_up, field) in cases {
            let what = format!("{top_up:?}");
            let bad = refused(ana.update_account_settings(set(ana.owner, top_up)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, [format!("settings.auto_top_up.{field}")], "{what}");
        }
        let unknown = pb::AutoTopUp { pack_id: "colossal".to_owned(), ..good.clone() };
        refused(ana.update_account_settings(set(ana.owner, unknown)).await, Code::NotFound, "PACK_NOT_FOUND");
        let missing = pb::AutoTopUp { payment_method: "pmt_00000000000000000000000001".to_owned(), ..good.clone() };
        refused(ana.update_account_settings(set(ana.owner, missing)).await, Code::NotFound, "NOT_FOUND");
        let none = pb::AutoTopUp { payment_method: String::new(), ..good.clone() };
        refused(ana.update_account_settings(set(ana.owner, none)).await, Code::FailedPrecondition, "PAYMENT_METHOD_REQUIRED");
        assert_eq!(world.top_up(ana.owner).await, pb::AutoTopUp::default(), "nothing of it was set");

        let stale = pb::UpdateAccountSettingsRequest { etag: "v7".to_owned(), ..set(ana.owner, good.clone()) };
        refused(ana.update_account_settings(stale).await, Code::Aborted, "ETAG_MISMATCH");
        let first = ana.update_account_settings(set(ana.owner, good.clone()).under("r")).await.unwrap();
        assert_eq!(ana.update_account_settings(set(ana.owner, good.clone()).under("r")).await.unwrap(), first);
        let other = set(ana.owner, starter(200, "sandbox_ok")).under("r");
        refused(ana.update_account_settings(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        world.tried(ana.owner, 1).await;
        let gone = ana.update_account_settings(without(ana.owner)).await.unwrap().settings.unwrap();
        assert_eq!((gone.auto_top_up, &*gone.etag), (None, "v2"));
    }

    async fn one_that_is_off_names_nothing_that_is_not_there(db: TestDb) {
        let world = World::on(db).await;
        // They have enough: nothing is bought.
        let (ana, ben) = (world.person_with(1, "1000").await, world.person_with(2, "1000").await);
        let saved = async |person: &Person| {
            let return_url = "https://example.com/done".to_owned();
            let begin = pb::BeginSetupRequest { owner: person.owner.to_string(), return_url, request_id: String::new() };
            person.begin_setup(begin).await.unwrap().payment_method.unwrap().id
        };
        let (hers, his) = (saved(&ana).await, saved(&ben).await);
        let off = |method: &str| pb::AutoTopUp { enabled: false, ..starter(100, method) };
        let missing = "pmt_00000000000000000000000001";
        for method in [missing, his.as_str()] {
            refused(ana.update_account_settings(set(ana.owner, off(method))).await, Code::NotFound, "NOT_FOUND");
        }
        let unknown = pb::AutoTopUp { pack_id: "colossal".to_owned(), ..off("") };
        refused(ana.update_account_settings(set(ana.owner, unknown)).await, Code::NotFound, "PACK_NOT_FOUND");
        assert_eq!(world.top_up(ana.owner).await, pb::AutoTopUp::default(), "nothing of it was set");
        // What it named may be gone when it is switched off.
        ana.tops_up(ana.owner, starter(100, &hers)).await;
        world.by_hand("UPDATE payment_methods SET removed_at = 1, is_default = 0").await.unwrap();
        ana.tops_up(ana.owner, off(&hers)).await;
        assert_eq!(world.top_up(ana.owner).await, off(&hers));
        ana.tops_up(ana.owner, off("")).await;
        refused(ana.update_account_settings(set(ana.owner, off(&hers))).await, Code::NotFound, "NOT_FOUND");
    }

    async fn managers_switch_it_on_and_nobody_else(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "500").await;
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        world.hears(team, id(3), Some(Role::Member), 1).await;
        let (admin, member) = (world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1));
        let on = || set(team, starter(100, "sandbox_ok"));
        refused(member.update_account_settings(on()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(world.person(9).update_account_settings(on()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(world.product().update_account_settings(on()).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(world.operator().update_account_settings(on()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        admin.update_account_settings(on()).await.unwrap();
        // An operator changes nothing of it, but may switch it off.
        let dearer = set(team, starter(500, "sandbox_ok"));
        refused(world.operator().update_account_settings(dearer).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        world.operator().update_account_settings(on()).await.expect("what is set already is no change");
        let off = pb::AutoTopUp { enabled: false, ..starter(100, "sandbox_ok") };
        world.operator().update_account_settings(set(team, off.clone())).await.unwrap();
        assert_eq!(world.top_up(team).await, off);
        owner.charged(spend(team, "450")).await;
        world.looked().await;
        assert_eq!(world.payments(team).await, []);
    }

    async fn another_owner_a_deletion_and_a_plan_that_moves_switch_it_off(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "500").await;
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        owner.tops_up(team, starter(100, "sandbox_ok")).await;
        // That the owner is the owner is no news, nor that somebody else is an Admin.
        world.hears(team, id(1), Some(Role::Owner), 2).await;
        world.hears(team, id(2), Some(Role::Admin), 2).await;
        assert!(world.top_up(team).await.enabled);
        world.hears(team, id(1), Some(Role::Admin), 3).await;
        world.hears(team, id(2), Some(Role::Owner), 3).await;
        let now = world.top_up(team).await;
        assert_eq!((now.enabled, &*now.stopped_by), (false, "OWNER_CHANGED"));
        world.member(2, team, Role::Owner, 3).tops_up(team, starter(100, "sandbox_ok")).await;
        // A word that is out of date makes nobody an owner.
        world.hears(team, id(1), Some(Role::Owner), 1).await;
        assert!(world.top_up(team).await.enabled);

        world.stands(team, Standing::Deleted, 1).await;
        assert_eq!(world.top_up(team).await.stopped_by, "ORGANIZATION_DELETED");
        world.stands(team, Standing::Active, 2).await;
        world.product().charge(spend(team, "450").by(id(2))).await.unwrap();
        world.looked().await;
        assert_eq!(world.payments(team).await, []);

        let ana = world.person_with(5, "500").await;
        ana.tops_up(ana.owner, starter(100, "sandbox_ok")).await;
        let business = pb::SubscribeRequest {
            owner: ana.owner.to_string(),
            plan_id: "business".to_owned(),
            payment_method: "sandbox_ok".to_owned(),
            request_id: String::new(),
        };
        ana.subscribe(business).await.unwrap();
        let (to, _) = world.organization_with(6, "1").await;
        world.service(bursar_rpc::ServiceRole::Organization).move_subscription(moving(ana.owner, to)).await.unwrap();
        assert_eq!(world.top_up(ana.owner).await.stopped_by, "SUBSCRIPTION_MOVED");
        assert_eq!(world.top_up(to).await, pb::AutoTopUp::default(), "it does not move along");
        assert_eq!(world.stopped().await, 0, "that needs no mail: somebody did it");
    }

    async fn nothing_is_bought_while_the_owner_is_suspended(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "50").await;
        let expiring = pb::GrantCreditsRequest {
            expires_at: Some(bursar_rpc::convert::to_timestamp(world.in_(Span::HOUR))),
            ..grant(team, "150")
        };
        world.operator().granted(expiring).await;
        owner.tops_up(team, starter(100, "sandbox_ok")).await;
        world.stands(team, Standing::Suspended, 1).await;
        let seq = world.seq(team).await;
        world.passes(Span::HOUR);
        until("the expiry is booked", async || world.seq(team).await > seq).await;
        world.looked().await;
        assert_eq!(world.payments(team).await, []);
        world.stands(team, Standing::Active, 2).await;
        until("it is made up for", async || world.available(team).await == "350").await;
        world.tried(team, 1).await;
        world.audit(team).await;
    }

    async fn sixty_four_callers_at_the_threshold_buy_one_pack(db: TestDb) {
        let world = World::on(db).await;
        for round in 1..=rounds() {
            let ana = world.person_with(round, "163").await;
            ana.tops_up(ana.owner, starter(1_000, "sandbox_ok")).await;
            at_once((0..64).map(|_| {
                let ana = ana.clone();
                async move { ana.charged(spend(ana.owner, "1")).await }
            }))
            .await;
            until("one pack", async || world.available(ana.owner).await == "399").await;
            world.tried(ana.owner, 1).await;
            world.audit(ana.owner).await;
        }
    }

    async fn an_account_without_a_top_up_enqueues_nothing(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "150").await;
        for _ in 0..150 {
            ana.charged(spend(ana.owner, "1")).await;
        }
        assert_eq!(world.scalar("SELECT COUNT(*) FROM jobs WHERE kind = 'billing.top-up'").await, 0);
    }
}

#[test]
fn two_replicas_buy_one_pack() {
    bursar_testkit::postgres::run(async |db: TestDb| {
        let world = World::on(db).await;
        let other = world.another_instance().await;
        for round in 1..4_u64 {
            let here = world.person_with(round, "163").await;
            let there = world.through(&other, &here);
            // Both remember the account from before there was a top-up, and one of them sets it.
            here.charged(spend(here.owner, "1")).await;
            there.charged(spend(here.owner, "1")).await;
            there.tops_up(here.owner, starter(1_000, "sandbox_ok")).await;
            let callers: Vec<Person> = (0..64).map(|n| if n % 2 == 0 { here.clone() } else { there.clone() }).collect();
            let charges = callers.into_iter().map(|who| async move {
                let done: Result<pb::ChargeResponse, Status> = who.charge(spend(who.owner, "1")).await;
                done.unwrap();
            });
            at_once(charges).await;
            until("one pack", async || world.available(here.owner).await == "397").await;
            world.tried(here.owner, 1).await;
            world.audit(here.owner).await;
        }
    });
}
