//! Who is over the limit of seats: by what billing told last, or answered, without asking it.

use bursar_events::Consumer as _;
use bursar_id::{OrganizationId, Role, UserId};
use bursar_organization::consume::FromBilling;
use bursar_organization::domain::entitlements::{Features, PlanName, Told};
use bursar_organization::store::seats;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, PlanFeatures, SubscriptionChanged};
use bursar_proto::event_type;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::{id, refused};
use bursar_time::Span;
use tonic::Code;

use crate::world::{Who, World, accept, get, invite, leave, transfer, until};

/// Whether an organization is shown as over its limit, by itself and in the list.
async fn over(who: &Who, organization: &str) -> bool {
    loop {
        let before = get(who, organization).await.expect("found");
        let listed = listed(who, organization).await;
        let after = get(who, organization).await.expect("found");
        // What became known in between may be in the one and not in the other.
        if before == after {
            assert_eq!(before, listed, "alone and in the list");
            return before.over_limit;
        }
    }
}

pub(crate) async fn listed(who: &Who, organization: &str) -> proto::Organization {
    let listed = who.client.organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
    let listed = listed.expect("listed").into_inner().organizations;
    listed.into_iter().find(|it| it.id == organization).expect("in the list")
}

pub(crate) async fn rename(by: &Who, organization: &str, name: &str) -> proto::Organization {
    let request = proto::UpdateOrganizationRequest {
        organization_id: organization.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    let updated = by.client.organizations().update_organization(request).await;
    updated.expect("renamed").into_inner().organization.expect("an organization")
}

fn changed(owner: &impl ToString, seats: u32) -> Payload {
    let (owner, plan_id, state) = (owner.to_string(), "business".to_owned(), "ACTIVE".to_owned());
    Payload::SubscriptionChanged(SubscriptionChanged {
        owner,
        plan_id,
        seats,
        state,
        features: Some(PlanFeatures::default()),
    })
}

/// As billing answers.
fn said(seats: u32) -> Told {
    Told { plan: PlanName::stored("business"), seats, features: Some(Features::default()) }
}

/// As billing's store tells it in an incarnation.
fn told(owner: &impl ToString, seats: u32, incarnation: u64) -> Event {
    Event {
        r#type: event_type::SUBSCRIPTION_CHANGED.to_owned(),
        owner: owner.to_string(),
        incarnation,
        payload: Some(changed(owner, seats)),
        ..Default::default()
    }
}

bursar_testkit::engines! {
    async fn a_plan_below_the_head_count_throws_nobody_out_refuses_new_seats_and_is_shown(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        assert!(!acme.over_limit, "never known");
        let (acme, other) = (acme.id, world.create(&ada, "Other").await.id);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        assert!(!over(&ada, &acme).await);
        let asked = world.billing.asked();
        world.billing.set_seats(2);
        world.billing_tells(changed(&acme, 2)).await;
        until("the smaller plan is shown", async || over(&ada, &acme).await).await;
        assert!(over(&cem, &acme).await && !over(&ada, &other).await, "to every member, of this one alone");
        assert!(rename(&ada, &acme, "Acme & Sons").await.over_limit);
        assert_eq!(world.billing.asked(), asked, "showing it asks nobody");
        let members = proto::ListMembersRequest { organization_id: acme.clone(), ..Default::default() };
        let members = ada.client.members().list_members(members).await.expect("listed").into_inner().members;
        assert_eq!(members.len(), 3, "nobody is thrown out");
        let more = invite(&ada, &acme, "dan@example.com", Role::Member).await;
        refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        assert!(transfer(&ada, &acme, ben.user).await.expect("transferred").over_limit);
        leave(&cem, &acme).await.expect("left");
        assert!(!over(&ada, &acme).await, "two have two seats");
        world.billing_tells(changed(&acme, 1)).await;
        until("smaller still", async || over(&ada, &acme).await).await;
        world.billing_tells(changed(&ada.user, 1)).await;
        world.billing_tells(changed(&acme, 9)).await;
        until("the plan has grown", async || !over(&ada, &acme).await).await;
    }

    async fn an_invitation_takes_a_seat_until_it_expires(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        invite(&ada, &acme, "ben@example.com", Role::Member).await.expect("invited");
        world.billing_tells(changed(&acme, 1)).await;
        until("the smaller plan is shown", async || over(&ada, &acme).await).await;
        world.advance(Span::from_days(8));
        assert!(!over(&world.who(1), &acme).await, "nobody had to write down that it expired");
    }

    async fn what_billing_answered_is_shown_while_it_is_away(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.billing.set_seats(2);
        world.join(&ada, &acme, 2, Role::Member).await;
        world.billing.set_seats(1);
        let more = invite(&ada, &acme, "cem@example.com", Role::Member).await;
        refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        world.billing.set_away(true);
        assert!(over(&ada, &acme).await, "the answer was remembered, though the call was refused");
        let more = invite(&ada, &acme, "cem@example.com", Role::Member).await;
        refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        assert!(over(&ada, &acme).await, "what is known stays known");
        let fresh = world.create(&ada, "Fresh").await.id;
        assert!(!over(&ada, &fresh).await, "nothing is known of it");
    }

    async fn inviting_and_accepting_go_on_by_billings_last_word(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.billing.set_away(true);
        let never = invite(&ada, &acme, "ben@example.com", Role::Member).await;
        refused(never, Code::Unavailable, "PEER_UNAVAILABLE");
        world.tells_seats(&acme, 3).await;
        let asked = world.billing.asked();
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.who(3);
        invite(&ada, &acme, &cem.email, Role::Member).await.expect("the last seat");
        accept(&cem, &world.mailbox.next_token(&cem.email).await).await.expect("it was reserved");
        assert_eq!(world.billing.asked(), asked, "nobody was asked");
        let more = invite(&ada, &acme, "dan@example.com", Role::Member).await;
        refused(more, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
        leave(&ben, &acme).await.expect("left");
        invite(&ada, &acme, "dan@example.com", Role::Member).await.expect("a seat is free");
        // Where the last word leaves no room, billing may know of more.
        world.billing.set_away(false);
        world.billing.set_seats(4);
        invite(&ada, &acme, "eve@example.com", Role::Member).await.expect("the plan has just grown");
    }

    async fn what_billing_says_again_is_not_written_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let organization: OrganizationId = acme.parse().expect("an id");
        let known = async || {
            let mut tx = world.store.read().await.expect("a snapshot");
            seats::known(&mut tx, organization).await.expect("read")
        };
        let is = |seats, version| {
            let Told { plan, seats, features } = said(seats);
            seats::Known { seats: Some(seats), version, plan: Some(plan), features }
        };
        world.billing.set_seats(1);
        for _ in 0..2 {
            let full = invite(&ada, &acme, "ben@example.com", Role::Member).await;
            refused(full, Code::ResourceExhausted, "SEAT_LIMIT_REACHED");
            assert_eq!(known().await, is(1, 1));
        }
        world.billing.set_seats(2);
        invite(&ada, &acme, "ben@example.com", Role::Member).await.expect("the plan has grown");
        assert_eq!(known().await, is(2, 2));
    }

    async fn a_restored_billing_tells_of_the_plan_anew_or_nothing_is_known(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        world.join(&ada, &acme, 2, Role::Member).await;
        world.billing_tells(changed(&acme, 1)).await;
        until("the smaller plan is shown", async || over(&ada, &acme).await).await;
        bursar_events::begin_incarnation(&world.billing_db, world.clock.now()).await.expect("restored");
        until("its snapshot tells of no plan", async || !over(&ada, &acme).await).await;
        world.billing_tells(changed(&acme, 1)).await;
        until("told anew", async || over(&ada, &acme).await).await;
    }

    async fn an_older_word_about_seats_comes_to_nothing(db: TestDb) {
        let world = World::start(db).await;
        let acme: OrganizationId = world.create(&world.who(1), "Acme").await.id.parse().expect("an id");
        let mut tx = world.store.begin().await.expect("a transaction");
        let before = seats::known(&mut tx, acme).await.expect("read");
        assert_eq!(before, seats::Known::default());
        for (seats, incarnation, expected) in [(5, 2, 5), (7, 2, 7), (1, 1, 7), (3, 3, 3)] {
            FromBilling::default().apply(&mut tx, &told(&acme, seats, incarnation)).await.expect("applied");
            let known = seats::known(&mut tx, acme).await.expect("read");
            assert_eq!(known.seats, Some(expected), "after {seats} of incarnation {incarnation}");
        }
        // An answer that was on its way while the events came.
        seats::note(&mut tx, acme, &said(1), before.version).await.expect("written");
        let known = seats::known(&mut tx, acme).await.expect("read");
        assert_eq!(known.seats, Some(3), "the answer is older than what was told");
        seats::note(&mut tx, acme, &said(4), known.version).await.expect("written");
        let noted = seats::known(&mut tx, acme).await.expect("read");
        assert_eq!(noted.seats, Some(4));
        FromBilling::default().apply(&mut tx, &told(&acme, 9, 2)).await.expect("applied");
        FromBilling::default().forget_before(&mut tx, 3).await.expect("kept");
        assert_eq!(seats::known(&mut tx, acme).await.expect("read"), noted, "of incarnation 3");
        FromBilling::default().forget_before(&mut tx, 4).await.expect("forgotten");
        seats::note(&mut tx, acme, &said(4), noted.version).await.expect("written");
        assert_eq!(seats::known(&mut tx, acme).await.expect("read").seats, None, "an answer of before");
        let nobody = FromBilling::default().apply(&mut tx, &Event { payload: Some(changed(&"nobody", 1)), ..told(&acme, 1, 4) }).await;
        nobody.expect_err("unreadable");
        let person: UserId = id(7);
        FromBilling::default().apply(&mut tx, &told(&person, 1, 4)).await.expect("a person has no seats");
    }
}
