//! What pays once an organization has passed on, as organization's events tell of it; on both engines.

use std::time::Duration;

use bursar_events::{Consumer as _, Feed};
use bursar_id::{OwnerId, PaymentMethodId, Role, UserId};
use bursar_members::{Members, Word, words};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, MembershipChanged};
use bursar_proto::event_type;
use bursar_rpc::convert::{to_optional_role, to_timestamp};
use bursar_testkit::{at, credits, engines, id, personal};
use bursar_time::{Monotonic, Timestamp};

use crate::consume::FromOrganization;
use crate::domain::{
    AccountSettings, AutoTopUp, Card, Payment, PaymentState, ProductId, SavedMethod, Stop, SubscriptionState,
};
use crate::error::Error;
use crate::payment::PaymentMethod;
use crate::store::{accounts, methods, payments, settings};
use crate::usecase::changing::tests::change;
use crate::usecase::moving::Moved;
use crate::usecase::ownership;
use crate::usecase::renewals;
use crate::usecase::shop::Shop;
use crate::usecase::top_ups;
use crate::usecase::years::tests::{BEGIN, MONTHS, PLANS};

const NOON: &str = "2026-01-15T12:00:00Z";
const HALF: &str = "2026-01-30T12:00:00Z";
/// Half an hour before the next month.
const BEFORE: &str = "2026-02-15T11:30:00Z";
const NEXT: &str = "2026-02-15T12:00:00Z";
/// When what was declined at its beginning is tried again.
const RETRY: &str = "2026-02-16T12:00:00Z";
const MARCH: &str = "2026-03-15T12:00:00Z";

fn ana() -> UserId {
    id(1)
}

fn ben() -> UserId {
    id(2)
}

/// The organization that is Ana's at first.
fn team() -> OwnerId {
    OwnerId::Organization(id(9))
}

/// What organization tells billing is taken in by this.
fn organization(shop: &Shop) -> FromOrganization {
    let feed = Feed::new("organization", &Monotonic::test(), Duration::from_mins(5));
    let members = Members::new(shop.db.clone(), feed);
    let jobs = shop.subscriptions.cashier.jobs.clone();
    FromOrganization { clock: shop.clock.clone(), jobs, members }
}

/// That somebody has this role, by this incarnation of organization, since `since`.
fn told(user: UserId, (role, version): (Role, u64), incarnation: u64, since: Timestamp) -> Event {
    let changed = MembershipChanged {
        organization_id: team().to_string(),
        user_id: user.to_string(),
        role: to_optional_role(Some(role)).into(),
        version,
    };
    Event {
        r#type: event_type::MEMBERSHIP_CHANGED.to_owned(),
        owner: team().to_string(),
        incarnation,
        occurred_at: Some(to_timestamp(since)),
        payload: Some(Payload::MembershipChanged(changed)),
        ..Event::default()
    }
}

/// Billing hears at whatever time that somebody has had this role since `since`.
async fn hears_late(shop: &Shop, user: UserId, said: (Role, u64), since: Timestamp) {
    let mut tx = shop.db.begin().await.unwrap();
    organization(shop).apply(&mut tx, &told(user, said, 1, since)).await.unwrap();
    tx.commit().await.unwrap();
}

/// The last word about a member is this, and nothing follows from it.
async fn remembers(shop: &Shop, user: UserId, role: Option<Role>, version: u64) {
    let mut tx = shop.db.begin().await.unwrap();
    words::learn(&mut tx, team(), user, Word { role, incarnation: 1, version }).await.unwrap();
    tx.commit().await.unwrap();
}

/// Organization begins anew as this incarnation, and its snapshot tells of these members.
async fn begins_anew(shop: &Shop, incarnation: u64, members: &[(UserId, Role)]) {
    let (organization, now) = (organization(shop), shop.clock.now());
    let mut tx = shop.db.begin().await.unwrap();
    for (user, role) in members {
        organization.apply(&mut tx, &told(*user, (*role, 1), incarnation, now)).await.unwrap();
    }
    organization.forget_before(&mut tx, incarnation).await.unwrap();
    tx.commit().await.unwrap();
}

/// Somebody has the organization topped up.
async fn tops_up(shop: &Shop, by: &str) {
    let (mut tx, now) = (shop.db.begin().await.unwrap(), shop.clock.now());
    accounts::lock(&mut tx, &[team()]).await.unwrap();
    let before = settings::of(&mut tx, team()).await.unwrap();
    let top_up = AutoTopUp {
        enabled: true,
        threshold: credits("100"),
        pack: ProductId::parse("starter").unwrap(),
        ceiling: "100.00 USD".parse().unwrap(),
        method: String::new(),
        set_by: by.to_owned(),
        stopped: None,
    };
    let after = AccountSettings { version: before.version + 1, top_up: Some(top_up), ..before };
    settings::put(&mut tx, team(), &after, now).await.unwrap();
    top_ups::set(&mut tx, &shop.payments.cashier.jobs, team(), after.top_up_below(), now).await.unwrap();
    tx.commit().await.unwrap();
}

/// Why the organization is topped up no more; `None` while it is.
async fn stopped(shop: &Shop) -> Option<Stop> {
    let settings = settings::of(&mut shop.db.read().await.unwrap(), team()).await.unwrap();
    settings.top_up.unwrap().stopped
}

/// The same at once.
async fn hears(shop: &Shop, user: UserId, role: Role, version: u64) {
    hears_late(shop, user, (role, version), shop.clock.now()).await;
}

/// Ana makes Ben the owner.
async fn passes_on(shop: &Shop) {
    hears(shop, ana(), Role::Admin, 2).await;
    hears(shop, ben(), Role::Owner, 2).await;
}

/// Saves a card for an owner, in somebody's name.
async fn saves(shop: &Shop, owner: OwnerId, by: &str, token: &str) -> SavedMethod {
    let card = Card { brand: "sandbox".to_owned(), last4: "4242".to_owned(), exp_month: 12, exp_year: 2030 };
    let n = 100 + u64::try_from(shop.count("payment_methods").await).unwrap();
    let new = SavedMethod {
        id: id(n),
        owner,
        token: token.to_owned(),
        card,
        is_default: false,
        added_by: by.to_owned(),
        created_at: shop.clock.now(),
        serves_until: None,
    };
    shop.payments.entered(new).await.unwrap()
}

/// Ana's plan is her organization's, and her card pays for it, which is the default there.
async fn begins(shop: &Shop, plan: &str) -> SavedMethod {
    saves(shop, personal(1), &ana().to_string(), "sandbox_ok").await;
    shop.subscribe(personal(1), plan, "", "").await.unwrap();
    let Moved::To(_) = shop.moves(ana(), id(9)).await else { panic!("it includes organizations") };
    hears(shop, ana(), Role::Owner, 1).await;
    hears(shop, ben(), Role::Admin, 1).await;
    let mut tx = shop.db.read().await.unwrap();
    methods::default(&mut tx, team(), shop.clock.now()).await.unwrap().expect("it moves along")
}

/// Until when a card of the organization's serves.
async fn until(shop: &Shop, card: &SavedMethod) -> Option<Timestamp> {
    let mut tx = shop.db.read().await.unwrap();
    methods::find(&mut tx, team(), card.id).await.unwrap().expect("it is there").serves_until
}

/// With what the organization pays where this is named.
async fn means(shop: &Shop, named: Option<PaymentMethodId>) -> Result<String, Error> {
    let method = named.map_or(PaymentMethod::Default, PaymentMethod::Saved);
    let mut tx = shop.db.read().await.unwrap();
    shop.payments.cashier.means(&mut tx, team(), &method).await
}

async fn prefers(shop: &Shop, card: &SavedMethod) {
    let mut tx = shop.db.begin().await.unwrap();
    assert!(methods::make_default(&mut tx, team(), card.id).await.unwrap());
    tx.commit().await.unwrap();
}

async fn latest(shop: &Shop) -> Payment {
    payments::page(&mut shop.db.read().await.unwrap(), team(), None, 1).await.unwrap().remove(0)
}

/// It is this time, and what is due was looked at: the organization's subscription, and its month's number.
async fn becomes(shop: &Shop, now: &str) -> (SubscriptionState, u32) {
    shop.set(now);
    assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().failed, 0);
    let live = shop.subscriptions.get(team()).await.unwrap();
    (live.state, live.month.number)
}

engines! {
    async fn a_former_owners_card_serves_for_what_is_paid_for_and_nothing_after(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        shop.set(HALF);
        passes_on(&shop).await;
        assert_eq!(until(&shop, &hers).await, Some(at(NEXT)));
        for named in [None, Some(hers.id)] {
            assert_eq!(means(&shop, named).await.unwrap(), hers.id.to_string(), "it serves as before");
        }
        // Not even for a month that is asked for while it serves still.
        shop.set(BEFORE);
        assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
        assert_eq!(latest(&shop).await.decline_code.as_deref(), Some("payment_method_missing"));
        assert_eq!(means(&shop, None).await.unwrap(), hers.id.to_string());

        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        let nothing = means(&shop, None).await;
        assert!(matches!(nothing, Err(Error::PaymentMethodRequired)), "{nothing:?}");
        let stopped = means(&shop, Some(hers.id)).await;
        assert!(matches!(stopped, Err(Error::PaymentMethodExpired)), "{stopped:?}");
        // What is added then becomes the default, and pays what was declined.
        let his = saves(&shop, team(), &ben().to_string(), "sandbox_ok").await;
        assert!(his.is_default);
        assert_eq!(means(&shop, None).await.unwrap(), his.id.to_string());
        assert_eq!(becomes(&shop, RETRY).await, (SubscriptionState::Active, 1));
        shop.assert_sound(team()).await;
    }

    async fn a_former_owners_card_is_not_tried_again_by_itself(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        begins(&shop, "business").await;
        passes_on(&shop).await;
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        assert_eq!(becomes(&shop, RETRY).await, (SubscriptionState::PastDue, 0));
        let live = shop.subscriptions.get(team()).await.unwrap();
        assert_eq!((live.failures, latest(&shop).await.state), (2, PaymentState::Declined));
        assert_eq!(shop.count("invoices").await, 1, "that of the month that she had paid");
    }

    async fn another_card_that_serves_renews_instead_and_the_default_first(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        let older = saves(&shop, team(), "svc_x", "sandbox_declined").await;
        let his = saves(&shop, team(), &ben().to_string(), "sandbox_ok").await;
        passes_on(&shop).await;
        assert_eq!([until(&shop, &older).await, until(&shop, &his).await], [None, None], "they are others'");
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::Active, 1), "the latest pays");
        // A change is paid as the next month is.
        let changed = change(&shop, team(), "", 12).await.unwrap().payment.unwrap();
        let paid = shop.payments.known(changed.id.parse().unwrap()).await.unwrap();
        assert_eq!(paid.method, his.id.to_string());
        let nothing = means(&shop, None).await;
        assert!(matches!(nothing, Err(Error::PaymentMethodRequired)), "nobody has chosen another default: {nothing:?}");
        assert_eq!(until(&shop, &hers).await, Some(at(NEXT)), "what is renewed since is not what was paid for then");
        prefers(&shop, &older).await;
        assert_eq!(becomes(&shop, MARCH).await, (SubscriptionState::PastDue, 1), "the default does not pay");
        assert_eq!(latest(&shop).await.decline_code.as_deref(), Some("card_declined"));
        shop.assert_sound(team()).await;
    }

    async fn of_a_year_it_serves_until_the_year_is_over(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let hers = begins(&shop, "yearly").await;
        shop.set(MONTHS[1]);
        // The year's second month is not begun yet, but paid for.
        passes_on(&shop).await;
        assert_eq!(until(&shop, &hers).await, Some(at(MONTHS[12])));
        for (number, month) in (1..).zip(&MONTHS[1..12]) {
            assert_eq!(becomes(&shop, month).await, (SubscriptionState::Active, number), "at {month}");
            assert_eq!(means(&shop, None).await.unwrap(), hers.id.to_string());
        }
        assert_eq!(becomes(&shop, MONTHS[12]).await, (SubscriptionState::PastDue, 11));
        assert_eq!(latest(&shop).await.decline_code.as_deref(), Some("payment_method_missing"));
        shop.assert_sound(team()).await;
    }

    async fn where_nothing_is_paid_for_it_stops_with_the_transfer(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        hears(&shop, ana(), Role::Owner, 1).await;
        let hers = saves(&shop, team(), &ana().to_string(), "sandbox_ok").await;
        assert_eq!(means(&shop, None).await.unwrap(), hers.id.to_string());
        passes_on(&shop).await;
        assert_eq!(until(&shop, &hers).await, Some(at(NOON)));
        let nothing = means(&shop, None).await;
        assert!(matches!(nothing, Err(Error::PaymentMethodRequired)), "{nothing:?}");
    }

    async fn what_is_past_due_is_not_paid_for(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        shop.sql("UPDATE payment_methods SET token = 'sandbox_declined'").await;
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        shop.sql("UPDATE payment_methods SET token = 'sandbox_ok'").await;
        passes_on(&shop).await;
        assert_eq!(until(&shop, &hers).await, Some(at(NEXT)));
        assert_eq!(becomes(&shop, RETRY).await, (SubscriptionState::PastDue, 0), "what pays is hers");
    }

    async fn whom_a_snapshot_leaves_out_is_a_former_owner_as_after_an_event(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        let his = saves(&shop, team(), &ben().to_string(), "sandbox_declined").await;
        shop.set(HALF);
        begins_anew(&shop, 2, &[(ana(), Role::Owner), (ben(), Role::Admin)]).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &his).await], [None, None], "nothing has passed on");
        begins_anew(&shop, 3, &[(ben(), Role::Owner)]).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &his).await], [Some(at(NEXT)), None]);
        assert_eq!(means(&shop, Some(hers.id)).await.unwrap(), hers.id.to_string(), "it serves as before");
        // Only one who does not pay is left, and she is not asked.
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        assert_eq!(latest(&shop).await.decline_code.as_deref(), Some("card_declined"));
        begins_anew(&shop, 4, &[(ben(), Role::Owner)]).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &his).await], [Some(at(NEXT)), None]);
        // As it was before that: she is the owner again, and he was it.
        begins_anew(&shop, 5, &[(ana(), Role::Owner)]).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &his).await], [None, Some(at(NEXT))]);
        shop.assert_sound(team()).await;
    }

    async fn what_a_former_owner_had_topped_up_is_off_though_nobody_is_told_of(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        tops_up(&shop, &ben().to_string()).await;
        begins_anew(&shop, 2, &[]).await;
        assert_eq!((until(&shop, &hers).await, stopped(&shop).await), (Some(at(NEXT)), None), "it is not hers");
        begins_anew(&shop, 3, &[(ana(), Role::Owner)]).await;
        assert_eq!((until(&shop, &hers).await, stopped(&shop).await), (None, Some(Stop::OwnerChanged)));
        tops_up(&shop, &ana().to_string()).await;
        begins_anew(&shop, 4, &[]).await;
        assert_eq!((until(&shop, &hers).await, stopped(&shop).await), (Some(at(NEXT)), Some(Stop::OwnerChanged)));
    }

    async fn what_a_program_hears_that_ends_nothing_is_made_up_for(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        let noted = async || shop.count("former_owners").await;
        shop.set(HALF);
        // As a program remembers it that knows of no more: Ana leaves and comes back, and passes it on.
        for (number, role) in [(2, None), (3, Some(Role::Owner))] {
            remembers(&shop, ana(), role, number).await;
        }
        assert_eq!(noted().await, 1);
        ownership::catch_up(&shop.db, shop.clock.now()).await.unwrap();
        assert_eq!((until(&shop, &hers).await, noted().await), (None, 0), "it is hers");
        remembers(&shop, ana(), Some(Role::Admin), 4).await;
        remembers(&shop, ben(), Some(Role::Owner), 2).await;
        assert_eq!((until(&shop, &hers).await, noted().await), (None, 1));
        for _ in 0..2 {
            ownership::catch_up(&shop.db, shop.clock.now()).await.unwrap();
            assert_eq!((until(&shop, &hers).await, noted().await), (Some(at(NEXT)), 0));
        }
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        // What is heard by one that knows leaves nothing to be made up for, whichever way.
        hears(&shop, ben(), Role::Admin, 3).await;
        hears(&shop, ana(), Role::Owner, 5).await;
        assert_eq!((until(&shop, &hers).await, noted().await), (None, 0));
        begins_anew(&shop, 2, &[(ben(), Role::Owner)]).await;
        assert_eq!((until(&shop, &hers).await, noted().await), (Some(at(NEXT)), 0));
        shop.assert_sound(team()).await;
    }

    async fn it_serves_again_once_its_owner_is_back_or_adds_it_anew(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        passes_on(&shop).await;
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::PastDue, 0));
        let anew = saves(&shop, team(), &ana().to_string(), "sandbox_ok").await;
        assert!(anew.is_default);
        assert_eq!(becomes(&shop, RETRY).await, (SubscriptionState::Active, 1));
        let his = saves(&shop, team(), &ben().to_string(), "sandbox_ok").await;
        assert_eq!(until(&shop, &hers).await, Some(at(NEXT)));
        hears(&shop, ben(), Role::Admin, 3).await;
        hears(&shop, ana(), Role::Owner, 3).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &anew).await], [None, None]);
        assert_eq!(until(&shop, &his).await, Some(at(MARCH)), "now it is Ben who was the owner");
        assert_eq!(means(&shop, Some(hers.id)).await.unwrap(), hers.id.to_string());
        assert_eq!(becomes(&shop, MARCH).await, (SubscriptionState::Active, 2));
        hears(&shop, ana(), Role::Admin, 4).await;
        hears(&shop, ben(), Role::Owner, 4).await;
        assert_eq!(until(&shop, &his).await, None, "to and fro");
        assert_eq!(until(&shop, &hers).await, Some(at("2026-04-15T12:00:00Z")));
        shop.assert_sound(team()).await;
    }

    async fn what_is_told_again_or_late_changes_nothing_twice(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let hers = begins(&shop, "business").await;
        // That the owner is the owner is no transfer.
        hears(&shop, ana(), Role::Owner, 2).await;
        assert_eq!(until(&shop, &hers).await, None);
        assert_eq!(becomes(&shop, NEXT).await, (SubscriptionState::Active, 1));
        // It was so half a month ago: what is renewed since was not paid for then, and what is added since is added anew.
        shop.set(RETRY);
        let anew = saves(&shop, team(), &ana().to_string(), "sandbox_ok").await;
        hears_late(&shop, ana(), (Role::Admin, 3), at(HALF)).await;
        hears_late(&shop, ben(), (Role::Owner, 3), at(HALF)).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &anew).await], [Some(at(HALF)), None]);
        for (user, role, version) in
            [(ana(), Role::Admin, 3), (ben(), Role::Owner, 3), (ana(), Role::Owner, 2), (ben(), Role::Admin, 1)]
        {
            hears(&shop, user, role, version).await;
            assert_eq!([until(&shop, &hers).await, until(&shop, &anew).await], [Some(at(HALF)), None], "{version}");
        }
        // What she has added as no owner is not the owner's: another transfer leaves it, and the end of what she was stays.
        hears(&shop, ben(), Role::Admin, 4).await;
        hears(&shop, id(3), Role::Owner, 1).await;
        assert_eq!([until(&shop, &hers).await, until(&shop, &anew).await], [Some(at(HALF)), None]);
    }
}
