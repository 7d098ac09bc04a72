//! The catalog, subscriptions and purchases over gRPC. Their rules in detail are tested beside their use cases.

use bursar_id::{OwnerId, PurchaseId, Role};
use bursar_members::{PersonalWorkspace, Policy};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{Feature, LotSource, PurchaseState, SubscriptionState};
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{at, engines, id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::batches::line;
use crate::moving::{subscription, the_end};
use crate::words::{
    Spending as _, Under, batch, buy, free, give_back, grant, limit, lots_of, reserve, settle, spend, subscribe,
};
use crate::world::{World, until};

fn purchases(owner: OwnerId) -> pb::ListPurchasesRequest {
    pb::ListPurchasesRequest { owner: owner.to_string(), ..Default::default() }
}

/// What is left of each pack that an account has.
pub(crate) async fn packs(world: &World, owner: OwnerId) -> Vec<String> {
    let lots = world.operator().list_lots(lots_of(owner)).await.unwrap().lots;
    lots.into_iter().filter(|lot| lot.source() == LotSource::Pack).map(|lot| lot.remaining).collect()
}

engines! {
    async fn without_personal_workspaces_credits_belong_to_organizations(db: TestDb) {
        const REQUIRED: &str = "ORGANIZATION_REQUIRED";
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let (team, owner) = world.organization_with(2, "100").await;
        let charge = ana.charged(spend(ana.owner, "1").under("before")).await;
        let (kept, freed) = (ana.held(reserve(ana.owner, "5")).await, ana.held(reserve(ana.owner, "5")).await);
        let off = Policy { personal_workspace: PersonalWorkspace::Off, ..Policy::default() };
        world.deploys(off, 2).await;
        until("personal accounts are closed", async || ana.charge(spend(ana.owner, "0.001")).await.is_err()).await;
        let operator = world.operator();
        refused(ana.charge(spend(ana.owner, "1")).await, Code::FailedPrecondition, REQUIRED);
        refused(ana.hold(reserve(ana.owner, "1")).await, Code::FailedPrecondition, REQUIRED);
        refused(world.product().charge(spend(ana.owner, "1").by(ana.user)).await, Code::FailedPrecondition, REQUIRED);
        refused(operator.grant_credits(grant(ana.owner, "1")).await, Code::FailedPrecondition, REQUIRED);
        refused(ana.purchase_pack(buy(ana.owner, "starter")).await, Code::FailedPrecondition, REQUIRED);
        refused(ana.subscribe(subscribe(ana.owner, "business")).await, Code::FailedPrecondition, REQUIRED);
        // What there is already is told, settled and given back.
        let again = ana.charge(spend(ana.owner, "1").under("before")).await.unwrap();
        assert_eq!((again.replayed, again.charge.unwrap().id.as_str()), (true, charge.id.as_str()));
        ana.captured(settle(&kept, "5")).await;
        ana.release(free(&freed)).await.unwrap();
        world.product().refund(give_back(&charge)).await.unwrap();
        owner.charged(spend(team, "1")).await;
        owner.purchase_pack(buy(team, "starter")).await.unwrap();
        world.audit(ana.owner).await;
    }

    async fn anybody_reads_the_catalog(db: TestDb) {
        let world = World::on(db).await;
        let nobody = world.nobody();
        let plans = nobody.list_plans(pb::ListPlansRequest::default()).await.unwrap().plans;
        assert_eq!(plans.iter().map(|plan| &*plan.id).collect::<Vec<_>>(), ["free", "business", "enterprise"]);
        let business = &plans[1];
        let price = business.price.as_ref().unwrap();
        assert_eq!((price.units, &*price.currency_code, &*business.credits, business.seats), (100, "USD", "1500", 10));
        assert!(plans[2].contract && plans[2].price.is_none() && plans[2].features().any(|it| it == Feature::SingleSignOn));
        let packs = nobody.list_packs(pb::ListPacksRequest::default()).await.unwrap().packs;
        let packs: Vec<_> = packs.iter().map(|pack| (&*pack.id, pack.price.as_ref().unwrap().units, &*pack.credits)).collect();
        assert_eq!(packs, [("starter", 20, "300"), ("standard", 100, "1500"), ("premium", 200, "3000")]);
        let models = nobody.list_models(pb::ListModelsRequest { page_size: 1, ..Default::default() }).await.unwrap();
        assert_eq!((&*models.models[0].id, models.models.len()), ("veo-3.1", 1));
        let next = pb::ListModelsRequest { page_size: 1, page_token: models.next_page_token };
        assert_eq!(nobody.list_models(next).await.unwrap().models[0].id, "kling-3.0-pro");
        let page_token = "rubbish".to_owned();
        let plans = pb::ListPlansRequest { page_token: page_token.clone(), ..Default::default() };
        refused(nobody.list_plans(plans).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let packs = pb::ListPacksRequest { page_token: page_token.clone(), ..Default::default() };
        refused(nobody.list_packs(packs).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let models = pb::ListModelsRequest { page_token, ..Default::default() };
        refused(nobody.list_models(models).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn a_subscription_grants_its_months_allowance(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let entitled = pb::GetEntitlementsRequest { owner: team.to_string() };
        let organization = world.service(ServiceRole::Organization);
        assert_eq!(organization.get_entitlements(entitled.clone()).await.unwrap().plan_id, "free");
        let get = pb::GetSubscriptionRequest { owner: team.to_string() };
        refused(boss.get_subscription(get.clone()).await, Code::NotFound, "NOT_FOUND");

        let answer = boss.subscribe(subscribe(team, "business").under("s1")).await.unwrap();
        let subscription = answer.subscription.clone().unwrap();
        assert_eq!((subscription.state(), &*subscription.plan_id, &*subscription.credits), (SubscriptionState::Active, "business", "1500"));
        assert_eq!(subscription.current_period_end, Some(to_timestamp(at("2026-02-15T12:00:00Z"))));
        assert_eq!(boss.subscribe(subscribe(team, "business").under("s1")).await.unwrap(), answer);
        refused(boss.subscribe(subscribe(team, "free").under("s1")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(boss.get_subscription(get.clone()).await.unwrap().subscription, Some(subscription.clone()));
        assert_eq!(world.product().get_subscription(get).await.unwrap().subscription, Some(subscription));
        let entitlements = organization.get_entitlements(entitled).await.unwrap();
        assert_eq!((&*entitlements.plan_id, entitlements.seats), ("business", 10));
        let lots = boss.list_lots(lots_of(team)).await.unwrap().lots;
        assert_eq!((lots[0].source(), &*lots[0].granted), (LotSource::Allowance, "1500"));
        assert_eq!(world.available(team).await, "1501");
        world.audit(team).await;
    }

    async fn what_cannot_be_subscribed_to(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let declined = |request| pb::SubscribeRequest { payment_method: "sandbox_declined".into(), ..request };
        refused(ana.subscribe(subscribe(ana.owner, "golden")).await, Code::NotFound, "PLAN_NOT_FOUND");
        for plan in ["free", "enterprise"] {
            refused(ana.subscribe(subscribe(ana.owner, plan)).await, Code::FailedPrecondition, "PLAN_NOT_FOR_SALE");
        }
        let request = subscribe(ana.owner, "business").under("s1");
        refused(ana.subscribe(declined(request.clone())).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        ana.subscribe(request).await.unwrap();
        refused(ana.subscribe(subscribe(ana.owner, "business")).await, Code::FailedPrecondition, "ALREADY_SUBSCRIBED");
        let bad = pb::SubscribeRequest { payment_method: "cash".into(), ..subscribe(ana.owner, "") };
        let bad = refused(ana.subscribe(bad.under(&"x".repeat(129))).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["payment_method", "plan_id", "request_id"]);
        world.audit(ana.owner).await;
    }

    async fn whoever_spends_first_in_a_new_month_spends_of_its_allowance(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        boss.subscribe(subscribe(team, "business").under("s1")).await.unwrap();
        for month in 1..=3 {
            let end = the_end(&subscription(&world, team).await);
            world.passes(end.since(world.now()));
            let first = crate::races::at_once((0..16_u64).map(|n| {
                let (boss, one) = (boss.clone(), spend(team, "10").under(&format!("c{month}-{n}")));
                async move {
                    match n % 4 {
                        0 => boss.batch_charge(batch([one])).await.map(drop),
                        1 => boss.hold(reserve(team, "10")).await.map(drop),
                        _ => boss.charge(one).await.map(drop),
                    }
                }
            }))
            .await;
            assert!(first.iter().all(Result::is_ok), "{first:?}");
            let lots = boss.list_lots(lots_of(team)).await.unwrap().lots;
            assert_eq!(packs(&world, team).await, ["300"], "month {month}: the pack was not touched");
            let allowances = lots.iter().filter(|lot| lot.source() == LotSource::Allowance).count();
            assert_eq!(allowances, month + 1);
        }
        world.audit(team).await;
    }

    async fn a_renewal_that_fails_is_waited_for_a_second_whatever_is_spent_by_and_then_packs_pay(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        boss.subscribe(subscribe(team, "business")).await.unwrap();
        let end = the_end(&subscription(&world, team).await);
        world.passes(end.since(world.now()).saturating_sub(Span::MINUTE));
        let held = boss.held(reserve(team, "2")).await;
        let spends = async |n: u32| {
            let batched = boss.batch_charge(batch([spend(team, "10").under(&format!("b{n}"))])).await.unwrap();
            let excess = pb::CaptureRequest { allow_excess: true, ..crate::words::settle(&held, "5") };
            (
                line(&batched.outcomes[0]),
                [
                    ("Charge", boss.charge(spend(team, "10")).await.map(drop)),
                    ("Hold", boss.hold(reserve(team, "10")).await.map(drop)),
                    ("Capture above the hold", boss.capture(excess).await.map(drop)),
                ],
            )
        };
        // Nothing that is to be paid can be written down.
        world.by_hand("ALTER TABLE payments RENAME TO payments_away").await.unwrap();
        world.passes(Span::MINUTE);
        for n in 0..2 {
            let (batched, others) = spends(n).await;
            assert_eq!(batched, "Unavailable RENEWAL_DUE");
            for (what, outcome) in others {
                let outcome = outcome.map(|()| panic!("{what} in the first second"));
                assert!(refused::<()>(outcome, Code::Unavailable, "RENEWAL_DUE").retryable, "{what} says when to come again");
            }
            if n == 0 {
                world.passes(Span::from_millis(999));
            }
        }
        boss.get_balance(crate::words::balance_of(team)).await.unwrap();
        assert_eq!(packs(&world, team).await, ["300"]);
        world.passes(Span::from_millis(1));
        let (batched, others) = spends(2).await;
        assert!(batched.starts_with("10 of "), "{batched}");
        for (what, outcome) in others {
            outcome.unwrap_or_else(|status| panic!("{what} after the first second: {status:?}"));
        }
        assert_eq!(packs(&world, team).await, ["268"], "and the one credit that there was");
        world.by_hand("ALTER TABLE payments_away RENAME TO payments").await.unwrap();
        boss.charged(spend(team, "10")).await;
        assert_eq!(packs(&world, team).await, ["268"], "the allowance is there");
        world.audit(team).await;
    }

    async fn a_month_that_is_not_paid_ends_and_packs_pay(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        world.by_hand("UPDATE subscriptions SET payment_method = 'sandbox_declined'").await.unwrap();
        world.passes(Span::from_hours(24 * 32));
        for n in 0..3 {
            ana.charged(spend(ana.owner, "10").under(&format!("c{n}"))).await;
        }
        assert_eq!(world.available(ana.owner).await, "270");
        let rows = world.by_hand("UPDATE accounts SET charged = charged WHERE renews_at IS NOT NULL").await.unwrap();
        assert_eq!(rows, 0, "nobody has to look again");
        world.audit(ana.owner).await;
    }

    async fn whoever_deleted_the_account_spends_and_pays_nothing_any_more(db: TestDb) {
        let world = World::on(db).await;
        let (ana, product) = (world.person_with(1, "100").await, world.product());
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let for_ana = |amount: &str| pb::ChargeRequest { member: ana.user.to_string(), ..spend(ana.owner, amount) };
        let first = product.charge(for_ana("1").under("p1")).await.unwrap();
        let held = pb::HoldRequest { member: ana.user.to_string(), ..reserve(ana.owner, "5") };
        let held = product.hold(held).await.unwrap().hold.unwrap();

        world.deleted(ana.user).await;
        until("billing has heard of it", async || ana.charge(spend(ana.owner, "1")).await.is_err()).await;
        let gone = Code::PermissionDenied;
        refused(ana.charge(spend(ana.owner, "1")).await, gone, "NOT_A_MEMBER");
        refused(ana.hold(reserve(ana.owner, "1")).await, gone, "NOT_A_MEMBER");
        refused(ana.purchase_pack(buy(ana.owner, "starter")).await, gone, "NOT_A_MEMBER");
        refused(ana.subscribe(subscribe(ana.owner, "business")).await, gone, "NOT_A_MEMBER");
        refused(ana.get_balance(crate::words::balance_of(ana.owner)).await, gone, "NOT_A_MEMBER");
        refused(product.charge(for_ana("1")).await, gone, "NOT_A_MEMBER");
        // What was done is still known, and what was begun is settled.
        let again = product.charge(for_ana("1").under("p1")).await.unwrap();
        assert_eq!((again.charge, again.replayed), (first.charge, true));
        product.capture(crate::words::settle(&held, "5")).await.unwrap();

        let get = pb::GetSubscriptionRequest { owner: ana.owner.to_string() };
        let ended = async || {
            let subscription = world.operator().get_subscription(get.clone()).await.unwrap().subscription.unwrap();
            subscription.state() == SubscriptionState::Ended
        };
        until("the subscription has ended", ended).await;
        world.audit(ana.owner).await;
        world.passes(Span::from_hours(24 * 40));
        let lots = world.operator().list_lots(lots_of(ana.owner)).await.unwrap().lots;
        assert_eq!(lots.iter().filter(|lot| lot.source() == LotSource::Allowance).count(), 1, "nothing was renewed");
    }

    async fn whoever_deleted_the_account_spends_nothing_of_an_organizations_before_that_says_so(db: TestDb) {
        let world = World::on(db).await;
        let ((team, boss), product) = (world.organization_with(1, "100").await, world.product());
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        let (home, ben) = (world.person_with(2, "100").await, world.member(2, team, Role::Admin, 1));
        // Twice, so that the account and its member are remembered.
        ben.charged(spend(team, "1")).await;
        ben.charged(spend(team, "1")).await;
        let for_ben = |amount: &str| spend(team, amount).by(ben.user);
        let first = product.charge(for_ben("1").under("p1")).await.unwrap();
        let (own, held) = (ben.held(reserve(team, "2")).await, product.held(reserve(team, "5").by(ben.user)).await);

        world.deleted(ben.user).await;
        until("billing has heard of it", async || home.charge(spend(home.owner, "0.001")).await.is_err()).await;
        let gone = Code::PermissionDenied;
        refused(ben.charge(spend(team, "1")).await, gone, "NOT_A_MEMBER");
        refused(ben.hold(reserve(team, "1")).await, gone, "NOT_A_MEMBER");
        refused(ben.capture(settle(&own, "1")).await, gone, "NOT_A_MEMBER");
        refused(ben.purchase_pack(buy(team, "starter")).await, gone, "NOT_A_MEMBER");
        refused(ben.get_balance(crate::words::balance_of(team)).await, gone, "NOT_A_MEMBER");
        refused(product.charge(for_ben("1")).await, gone, "NOT_A_MEMBER");
        refused(product.hold(reserve(team, "1").by(ben.user)).await, gone, "NOT_A_MEMBER");
        refused(world.product_for(&ben).charge(spend(team, "1")).await, gone, "NOT_A_MEMBER");
        let his = limit(team, &format!("member {}", ben.user), pb::LimitWindow::Day, "1");
        refused(boss.set_limit(his).await, Code::NotFound, "NOT_FOUND");
        let batched = product.batch_charge(batch([for_ben("1")])).await.unwrap();
        assert_eq!(line(&batched.outcomes[0]), "PermissionDenied NOT_A_MEMBER");
        // Nor by a later word than was heard, of a token or of organization itself.
        refused(world.member(2, team, Role::Admin, 7).charge(spend(team, "1")).await, gone, "NOT_A_MEMBER");
        world.hears(team, ben.user, Some(Role::Admin), 9).await;
        refused(ben.charge(spend(team, "1")).await, gone, "NOT_A_MEMBER");
        refused(product.charge(for_ben("1")).await, gone, "NOT_A_MEMBER");
        // What was done is still known, what was begun is settled, and the others go on.
        let again = product.charge(for_ben("1").under("p1")).await.unwrap();
        assert_eq!((again.charge, again.replayed), (first.charge, true));
        product.captured(settle(&held, "5")).await;
        boss.charged(spend(team, "1")).await;
        assert_eq!(world.available(team).await, "89", "what was held by the token is held still");
        world.audit(team).await;
    }

    async fn a_pack_is_bought_once_for_ever(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let answer = ana.purchase_pack(buy(ana.owner, "starter").under("p1")).await.unwrap();
        assert_eq!(ana.purchase_pack(buy(ana.owner, "starter").under("p1")).await.unwrap(), answer);
        refused(ana.purchase_pack(buy(ana.owner, "premium").under("p1")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let purchase = answer.purchase.unwrap();
        assert_eq!((purchase.state(), &*purchase.credits, &*purchase.bought_by), (PurchaseState::Paid, "300", &*ana.user.to_string()));
        let lots = ana.list_lots(lots_of(ana.owner)).await.unwrap().lots;
        assert_eq!((lots.len(), &lots[0].id, lots[0].source(), lots[0].expires_at), (1, &purchase.lot_id, LotSource::Pack, None));

        let get = pb::GetPurchaseRequest { purchase_id: purchase.id.clone(), owner: ana.owner.to_string() };
        assert_eq!(ana.get_purchase(get.clone()).await.unwrap().purchase, Some(purchase.clone()));
        assert_eq!(world.operator().get_purchase(get.clone()).await.unwrap().purchase, Some(purchase.clone()));
        let unsaid = pb::GetPurchaseRequest { owner: String::new(), ..get.clone() };
        assert_eq!(ana.get_purchase(unsaid.clone()).await.unwrap().purchase, Some(purchase.clone()), "her token's context");
        refused(world.operator().get_purchase(unsaid.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(world.person(2).get_purchase(unsaid).await, Code::NotFound, "NOT_FOUND");
        refused(world.person(2).get_purchase(get).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let nothing: PurchaseId = id(77);
        let nothing = pb::GetPurchaseRequest { purchase_id: nothing.to_string(), ..Default::default() };
        refused(ana.get_purchase(nothing).await, Code::NotFound, "NOT_FOUND");
        let bad = pb::GetPurchaseRequest { purchase_id: "pur".into(), ..Default::default() };
        refused(ana.get_purchase(bad).await, Code::InvalidArgument, "INVALID_FIELDS");

        refused(ana.purchase_pack(buy(ana.owner, "golden")).await, Code::NotFound, "PACK_NOT_FOUND");
        world.passes(Span::SECOND);
        let declined = pb::PurchasePackRequest { payment_method: "sandbox_declined".into(), ..buy(ana.owner, "premium") };
        refused(ana.purchase_pack(declined).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let bad = refused(ana.purchase_pack(buy(ana.owner, "")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["pack_id"]);
        let listed = ana.list_purchases(purchases(ana.owner)).await.unwrap().purchases;
        let states: Vec<_> = listed.iter().map(pb::Purchase::state).collect();
        assert_eq!(states, [PurchaseState::Declined, PurchaseState::Paid], "the latest first");
        let rubbish = pb::ListPurchasesRequest { page_token: "rubbish".into(), ..purchases(ana.owner) };
        refused(ana.list_purchases(rubbish).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        assert_eq!(world.available(ana.owner).await, "300");
        world.audit(ana.owner).await;
    }

    async fn who_may_buy(db: TestDb) {
        let world = World::on(db).await;
        let (team, _) = world.organization_with(1, "1").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        world.hears(team, id(3), Some(Role::Admin), 1).await;
        let member = world.member(2, team, Role::Member, 1);
        let (away, stranger) = (world.person(2), world.person(9));
        let get = pb::GetSubscriptionRequest { owner: team.to_string() };
        let cases = [(&member, "ROLE_NOT_ALLOWED"), (&away, "WRONG_CONTEXT"), (&stranger, "NOT_A_MEMBER")];
        for (person, reason) in cases {
            refused(person.subscribe(subscribe(team, "business")).await, Code::PermissionDenied, reason);
            refused(person.purchase_pack(buy(team, "starter")).await, Code::PermissionDenied, reason);
            refused(person.get_subscription(get.clone()).await, Code::PermissionDenied, reason);
            refused(person.list_purchases(purchases(team)).await, Code::PermissionDenied, reason);
        }
        let some: PurchaseId = id(77);
        let some = pb::GetPurchaseRequest { purchase_id: some.to_string(), ..Default::default() };
        refused(member.get_purchase(some).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let product = world.product();
        refused(product.purchase_pack(buy(team, "starter")).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(product.subscribe(subscribe(team, "business")).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        let entitled = pb::GetEntitlementsRequest { owner: team.to_string() };
        refused(member.get_entitlements(entitled).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let bad = pb::GetEntitlementsRequest { owner: "team".into() };
        refused(product.get_entitlements(bad).await, Code::InvalidArgument, "INVALID_FIELDS");

        let admin = world.member(3, team, Role::Admin, 1);
        admin.purchase_pack(buy(team, "starter")).await.unwrap();
        let by_operator = world.operator().purchase_pack(buy(team, "starter")).await.unwrap().purchase.unwrap();
        assert!(by_operator.bought_by.starts_with("svc_"), "{by_operator:?}");
        assert_eq!(world.available(team).await, "601");
        world.audit(team).await;
    }
}
