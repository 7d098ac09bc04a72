//! What a plan allows: known by billing's last word, shown to who may see billing and to the product's services.

use bursar_db::{Tx, on};
use bursar_events::{Consumer as _, Unapplied};
use bursar_id::{OrganizationId, Role};
use bursar_organization::consume::FromBilling;
use bursar_organization::domain::entitlements::{Features, PlanName, Told};
use bursar_organization::store::seats::{self, Known};
use bursar_proto::billing::v1::Feature;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, PlanFeatures, SubscriptionChanged};
use bursar_proto::event_type;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::{KeyGrant, Permission, ServiceRole};
use bursar_time::Span;

use crate::seating::{listed, rename};
use crate::world::{Who, World, get, set_policy, until};

const SINGLE_SIGN_ON: &[&str] = &["SINGLE_SIGN_ON"];
/// One that this organization does not know is among them.
const MORE: &[&str] = &["ORGANIZATIONS", "SINGLE_SIGN_ON", "OF_TOMORROW"];

/// What billing tells of a plan for `seats` people; an older one tells no features.
fn changed(owner: &impl ToString, plan: &str, seats: u32, features: Option<&[&str]>) -> Payload {
    let features = features.map(|it| PlanFeatures { names: it.iter().map(|it| (*it).to_owned()).collect() });
    Payload::SubscriptionChanged(SubscriptionChanged {
        owner: owner.to_string(),
        plan_id: plan.to_owned(),
        seats,
        state: "ACTIVE".to_owned(),
        features,
    })
}

/// What is shown of a plan.
fn allows(plan: &str, seats: u32, features: &[Feature]) -> proto::OrganizationEntitlements {
    let features = features.iter().map(|it| i32::from(*it)).collect();
    proto::OrganizationEntitlements { plan_id: plan.to_owned(), seats, features }
}

/// What somebody is shown, alone and in the list.
async fn shown(who: &Who, organization: &str) -> Option<proto::OrganizationEntitlements> {
    let alone = async || get(who, organization).await.expect("found").entitlements;
    let (before, listed, after) = (alone().await, listed(who, organization).await.entitlements, alone().await);
    assert!(listed == before || listed == after, "alone and in the list: {before:?}, {listed:?}, {after:?}");
    after
}

/// What the product's services read on their own, or for a user.
async fn read(product: &bursar_testkit::Client, organization: &str) -> Option<proto::OrganizationEntitlements> {
    let key = Some(proto::get_organization_request::Key::OrganizationId(organization.to_owned()));
    let got = product.organizations().get_organization(proto::GetOrganizationRequest { key }).await;
    got.expect("any").into_inner().organization.expect("an organization").entitlements
}

/// The plan and the features that are known, and for how many people it is.
async fn known(tx: &mut Tx, organization: OrganizationId) -> (Option<u32>, Option<String>, Option<String>) {
    let Known { seats, plan, features, .. } = seats::known(tx, organization).await.expect("read");
    (seats, plan.map(|it| it.as_str().to_owned()), features.map(|it| it.to_string()))
}

/// What is known of it, as [`known`] gives it.
fn is(seats: u32, plan: Option<&str>, features: Option<&str>) -> (Option<u32>, Option<String>, Option<String>) {
    (Some(seats), plan.map(str::to_owned), features.map(str::to_owned))
}

/// Applies an event of an incarnation of billing's store.
async fn apply(tx: &mut Tx, payload: Payload, incarnation: u64) -> Result<(), Unapplied> {
    let event = Event {
        r#type: event_type::SUBSCRIPTION_CHANGED.to_owned(),
        incarnation,
        payload: Some(payload),
        ..Default::default()
    };
    FromBilling::default().apply(tx, &event).await
}

bursar_testkit::engines! {
    async fn what_a_plan_allows_is_shown_to_who_may_see_billing_and_to_services(db: TestDb) {
        let world = World::start(db).await;
        let (ada, product) = (world.who(1), world.service(ServiceRole::Product));
        let acme = world.create(&ada, "Acme").await;
        assert_eq!((acme.entitlements, read(&product, &acme.id).await), (None, None), "nothing was heard");
        let acme = acme.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        assert_eq!(shown(&ada, &acme).await, Some(allows("business", 1_000, &[])), "billing was asked for a seat");
        let asked = world.billing.asked();
        world.billing_tells(changed(&acme, "enterprise", 30, Some(MORE))).await;
        let enterprise = Some(allows("enterprise", 30, &[Feature::Organizations, Feature::SingleSignOn]));
        until("it is known here", async || read(&product, &acme).await == enterprise).await;
        assert_eq!((shown(&ada, &acme).await, shown(&ben, &acme).await), (enterprise.clone(), enterprise.clone()));
        assert_eq!(rename(&ada, &acme, "Acme & Sons").await.entitlements, enterprise);
        assert_eq!(shown(&cem, &acme).await, None, "a member does not see billing");
        let token = world.issuer.user(cem.user).email(&cem.email).at(world.clock.now());
        assert_eq!(read(&product.for_user(&token), &acme).await, None, "nor who acts for one");
        let none = proto::Policy { admin_billing: proto::AdminBilling::None.into(), ..Default::default() };
        set_policy(&ada, &acme, "admin_billing", none).await.expect("set");
        assert_eq!((shown(&ben, &acme).await, shown(&ada, &acme).await), (None, enterprise.clone()));
        assert_eq!(rename(&ben, &acme, "Acme").await.entitlements, None);

        world.billing_tells(changed(&acme, "enterprise", 31, None)).await;
        let grown = Some(allows("enterprise", 31, &[Feature::Organizations, Feature::SingleSignOn]));
        until("an older billing tells of seats", async || read(&product, &acme).await == grown).await;
        world.billing_tells(changed(&acme, "free", 5, Some(&[][..]))).await;
        until("it has ended", async || read(&product, &acme).await == Some(allows("free", 5, &[]))).await;
        assert_eq!(world.billing.asked(), asked, "nobody was asked");
        bursar_events::begin_incarnation(&world.billing_db, world.clock.now()).await.expect("restored");
        until("its snapshot tells of no plan", async || read(&product, &acme).await.is_none()).await;
    }

    async fn a_key_or_a_token_that_may_not_see_billing_is_not_shown_what_a_plan_allows(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.billing_tells(changed(&acme, "business", 10, Some(SINGLE_SIGN_ON))).await;
        until("it is told", async || shown(&ada, &acme).await.is_some()).await;
        let organization: OrganizationId = acme.parse().expect("an id");
        for (more, sees) in [(None, false), (Some(Permission::ViewBilling), true)] {
            let permissions = [Permission::UseWorkspace].into_iter().chain(more).collect();
            let key = KeyGrant { id: bursar_testkit::id(1), permissions };
            let token = world.issuer.member(ada.user, organization, Role::Owner).email(&ada.email).by_key(key);
            let by_key = Who { client: world.anybody.with_token(&token.at(world.clock.now())), ..ada.clone() };
            assert_eq!(get(&by_key, &acme).await.expect("found").entitlements.is_some(), sees, "{more:?}");
        }
        let token = world.issuer.user(ada.user).email(&ada.email).with_second_factor().at(world.clock.now());
        let safe = Who { client: world.anybody.with_token(&token), ..ada.clone() };
        let required = proto::Policy { second_factor: proto::SecondFactor::Required.into(), ..Default::default() };
        set_policy(&safe, &acme, "second_factor", required).await.expect("set");
        assert_eq!(listed(&ada, &acme).await.entitlements, None, "listed, but no more than that");
        assert!(listed(&safe, &acme).await.entitlements.is_some());
    }

    async fn a_repetition_shows_what_a_plan_allows_to_who_may_see_it_then(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let business = Some(allows("business", 10, &[Feature::SingleSignOn]));
        world.billing_tells(changed(&acme, "business", 10, Some(SINGLE_SIGN_ON))).await;
        until("it is told", async || shown(&ada, &acme).await == business).await;
        let rename = async || {
            let request = proto::UpdateOrganizationRequest {
                organization_id: acme.clone(),
                name: "Acme & Sons".to_owned(),
                request_id: "r1".to_owned(),
                ..Default::default()
            };
            let updated = ben.client.organizations().update_organization(request).await;
            updated.expect("renamed").into_inner().organization.expect("an organization")
        };
        let first = rename().await;
        assert_eq!(first.entitlements, business);
        assert_eq!(rename().await, first, "the same again");
        let none = proto::Policy { admin_billing: proto::AdminBilling::None.into(), ..Default::default() };
        set_policy(&ada, &acme, "admin_billing", none).await.expect("set");
        let without = proto::Organization { entitlements: None, ..first.clone() };
        assert_eq!(rename().await, without, "the right is gone, and what it showed");
        set_policy(&ada, &acme, "admin_billing", proto::Policy::default()).await.expect("set");
        world.billing_tells(changed(&acme, "enterprise", 10, Some(SINGLE_SIGN_ON))).await;
        let enterprise = Some(allows("enterprise", 10, &[Feature::SingleSignOn]));
        until("another plan is told", async || shown(&ada, &acme).await == enterprise).await;
        assert_eq!(rename().await, proto::Organization { entitlements: enterprise, ..first }, "what it allows now");
    }

    async fn an_older_billing_leaves_what_is_known_of_the_same_plan(db: TestDb) {
        let world = World::start(db).await;
        let acme: OrganizationId = world.create(&world.who(1), "Acme").await.id.parse().expect("an id");
        let mut tx = world.store.begin().await.expect("a transaction");
        let sso = Some("SINGLE_SIGN_ON");
        let business = Some("business");
        for (what, (plan, seats, features, incarnation), expected) in [
            ("an older billing alone", ("business", 10, None, 2), is(10, business, None)),
            ("told", ("business", 10, Some(SINGLE_SIGN_ON), 2), is(10, business, sso)),
            ("not told, of the same plan", ("business", 12, None, 2), is(12, business, sso)),
            ("not told, of another plan", ("free", 5, None, 2), is(5, Some("free"), None)),
            ("nothing is allowed", ("free", 5, Some(&[][..]), 2), is(5, Some("free"), Some(""))),
            ("of an earlier incarnation", ("business", 10, Some(SINGLE_SIGN_ON), 1), is(5, Some("free"), Some(""))),
            ("of a later one", ("business", 10, Some(SINGLE_SIGN_ON), 3), is(10, business, sso)),
        ] {
            apply(&mut tx, changed(&acme, plan, seats, features), incarnation).await.expect("applied");
            assert_eq!(known(&mut tx, acme).await, expected, "{what}");
        }
        // Whatever is doubted stays known until something else is told, and then anything holds.
        seats::doubt(&mut tx, acme).await.expect("doubted");
        assert_eq!(known(&mut tx, acme).await, is(10, business, sso));
        apply(&mut tx, changed(&acme, "business", 11, None), 1).await.expect("applied");
        assert_eq!(known(&mut tx, acme).await, is(11, business, sso));
        let since = seats::known(&mut tx, acme).await.expect("read").version;
        let answer = |features| Told { plan: PlanName::stored("pro"), seats: 7, features };
        let pro = Features::parse(["ORGANIZATIONS"]).expect("a name");
        seats::note(&mut tx, acme, &answer(Some(pro)), since - 1).await.expect("written");
        assert_eq!(known(&mut tx, acme).await, is(11, business, sso), "the answer is older than what was told");
        seats::note(&mut tx, acme, &answer(None), since).await.expect("written");
        assert_eq!(known(&mut tx, acme).await, is(7, Some("pro"), None), "of another plan nothing is kept");
        seats::forget_before(&mut tx, 9).await.expect("forgotten");
        assert_eq!(known(&mut tx, acme).await, (None, None, None));
    }

    /// During a rolling upgrade a program of before this runs beside one that knows what plans allow.
    async fn what_a_program_writes_that_knows_only_seats_says_nothing_of_the_plan(db: TestDb) {
        let world = World::start(db).await;
        let acme: OrganizationId = world.create(&world.who(1), "Acme").await.id.parse().expect("an id");
        let mut tx = world.store.begin().await.expect("a transaction");
        apply(&mut tx, changed(&acme, "business", 10, Some(SINGLE_SIGN_ON)), 1).await.expect("applied");
        let older = "UPDATE organization_seats SET seats = 5, version = version + 1 WHERE organization_id = $1";
        on!(&mut tx, c => sqlx::query(older).bind(acme).execute(c).await.expect("written").rows_affected());
        assert_eq!(known(&mut tx, acme).await, is(5, None, None), "the plan has ended, as far as anybody knows");
        let seating = seats::seating(&mut tx, acme, world.clock.now()).await.expect("read");
        assert_eq!((seating.seats(), seating.entitlements()), (Some(5), None));
        seats::doubt(&mut tx, acme).await.expect("doubted");
        assert_eq!(known(&mut tx, acme).await, is(5, None, None));
        apply(&mut tx, changed(&acme, "business", 10, None), 1).await.expect("applied");
        assert_eq!(known(&mut tx, acme).await, is(10, Some("business"), None), "it may allow something else by now");
        apply(&mut tx, changed(&acme, "business", 10, Some(SINGLE_SIGN_ON)), 1).await.expect("applied");
        assert_eq!(known(&mut tx, acme).await, is(10, Some("business"), Some("SINGLE_SIGN_ON")));
    }

    /// Whatever a program of before writes last, when this one has long started, and whatever an older billing leaves out.
    async fn plans_of_which_not_all_was_told_are_asked_about(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let organization: OrganizationId = acme.parse().expect("an id");
        world.billing_tells(changed(&acme, "enterprise", 10, Some(SINGLE_SIGN_ON))).await;
        until("it is told", async || shown(&ada, &acme).await.is_some()).await;
        let knows = async |expected: (Option<u32>, Option<String>, Option<String>)| {
            world.advance(Span::from_secs(10));
            known(&mut world.store.read().await.expect("a snapshot"), organization).await == expected
        };
        world.billing.set_away(true);
        let asked = world.billing.asked();
        let mut tx = world.store.begin().await.expect("a transaction");
        let older = "UPDATE organization_seats SET seats = 5, version = version + 1";
        on!(&mut tx, c => sqlx::query(older).execute(c).await.expect("written").rows_affected());
        tx.commit().await.expect("committed");
        until("billing is asked", async || knows(is(5, None, None)).await && world.billing.asked() > asked).await;
        assert!(knows(is(5, None, None)).await, "it does not answer");
        world.billing.set_away(false);
        until("it answers", async || knows(is(1_000, Some("business"), Some(""))).await).await;
        assert_eq!(shown(&world.who(1), &acme).await, Some(allows("business", 1_000, &[])));
        world.billing.set_seats(2_000);
        world.billing_tells(changed(&acme, "free", 5, None)).await;
        until("an older billing is asked, too", async || knows(is(2_000, Some("business"), Some(""))).await).await;
        // Of what is known whole nobody is asked.
        let asked = world.billing.asked();
        world.billing_tells(changed(&acme, "enterprise", 10, Some(SINGLE_SIGN_ON))).await;
        let enterprise = is(10, Some("enterprise"), Some("SINGLE_SIGN_ON"));
        until("it is told", async || knows(enterprise.clone()).await).await;
        assert!(knows(enterprise).await);
        assert_eq!(world.billing.asked(), asked);
    }

    /// More than are asked about at once.
    async fn of_however_many_plans_not_all_was_told_all_are_asked_about(db: TestDb) {
        let world = World::start(db).await;
        let mut tx = world.store.begin().await.expect("a transaction");
        for n in 100..220 {
            let older = "INSERT INTO organization_seats (organization_id, seats, incarnation, version) VALUES ($1, 5, 1, 1)";
            let id: OrganizationId = bursar_testkit::id(n);
            on!(&mut tx, c => sqlx::query(older).bind(id).execute(c).await.expect("written").rows_affected());
        }
        tx.commit().await.expect("committed");
        let untold = "SELECT COUNT(*) FROM organization_seats WHERE plan_version <> version OR features IS NULL";
        until("all are known", async || {
            world.advance(Span::from_secs(10));
            let mut tx = world.store.read().await.expect("a snapshot");
            let left: i64 = on!(&mut tx, c => sqlx::query_scalar(untold).fetch_one(c).await.expect("counted"));
            left == 0
        })
        .await;
        assert_eq!(world.billing.asked(), 120, "about each once");
    }

    async fn a_word_that_is_none_is_set_aside_and_changes_nothing(db: TestDb) {
        let world = World::start(db).await;
        let acme: OrganizationId = world.create(&world.who(1), "Acme").await.id.parse().expect("an id");
        let mut tx = world.store.begin().await.expect("a transaction");
        apply(&mut tx, changed(&acme, "business", 10, Some(SINGLE_SIGN_ON)), 1).await.expect("applied");
        let many: Vec<String> = (0..65).map(|n| format!("F{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(64);
        for odd in [
            changed(&acme, "", 9, None),
            changed(&acme, &long, 9, None),
            changed(&acme, "business", 9, Some(&["single sign-on"][..])),
            changed(&acme, "business", 9, Some(&many[..])),
        ] {
            let outcome = apply(&mut tx, odd.clone(), 1).await;
            assert!(matches!(outcome, Err(Unapplied::Unreadable(_))), "{odd:?}: {outcome:?}");
        }
        assert_eq!(known(&mut tx, acme).await, is(10, Some("business"), Some("SINGLE_SIGN_ON")));
    }
}
