//! Organizations that go to a nominee: nominating, accepting, declining, and everything that ends a nomination.

use std::sync::Arc;

use bursar_id::{OrganizationId, Role};
use bursar_members::{Policy, Transfer};
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{Refusal, refused, rounds};
use bursar_time::Span;
use tokio::sync::Barrier;
use tonic::{Code, Status};

use crate::long_reads::suspend;
use crate::races::{Checker, owners, seat};
use crate::staleness::stays;
use crate::world::{Who, World, accept as join, get, invite, leave, remove, set_policy, transfer, until};

async fn start(db: bursar_testkit::TestDb) -> World {
    let policy = Policy { transfer: Transfer::NomineeAccepts, ..Policy::default() };
    World::start_with(db, |settings| {
        settings.policies = policy;
        settings.organizations.max_created_per_day = 10_000;
    })
    .await
}

async fn accept(who: &Who, organization: &str) -> Result<proto::Organization, Status> {
    accept_as(who, organization, "").await
}

async fn accept_as(who: &Who, organization: &str, request_id: &str) -> Result<proto::Organization, Status> {
    let (organization_id, request_id) = (organization.to_owned(), request_id.to_owned());
    let request = proto::AcceptOwnershipRequest { organization_id, request_id };
    let accepted = who.client.organizations().accept_ownership(request).await?;
    Ok(accepted.into_inner().organization.expect("an organization"))
}

async fn decline(who: &Who, organization: &str) -> Result<proto::Organization, Status> {
    let request = proto::DeclineOwnershipRequest { organization_id: organization.to_owned(), ..Default::default() };
    let declined = who.client.organizations().decline_ownership(request).await?;
    Ok(declined.into_inner().organization.expect("an organization"))
}

/// An organization, by itself and as it is listed.
async fn seen(who: &Who, organization: &str) -> proto::Organization {
    let got = get(who, organization).await.expect("found");
    // As many as there may be rounds.
    let all = proto::ListOrganizationsRequest { page_size: 1_000, ..Default::default() };
    let listed = who.client.organizations().list_organizations(all).await;
    let listed = listed.expect("listed").into_inner().organizations;
    assert_eq!(listed.iter().find(|it| it.id == organization), Some(&got), "alone and in the list");
    got
}

/// Who is nominated.
async fn nominee(who: &Who, organization: &str) -> String {
    seen(who, organization).await.nominee_user_id
}

/// Has the owner set how the organization goes on, on its own.
async fn set(who: &Who, organization: &str, transfer: proto::Transfer) {
    let policy = proto::Policy { transfer: transfer.into(), ..Default::default() };
    set_policy(who, organization, "transfer", policy).await.expect("set");
}

/// How often each of the racers below runs at once: more than sixty-four of them.
const EACH: usize = 11;

/// What people do about one nomination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Racer {
    Accept,
    Decline,
    Withdraw,
    Renominate,
    Leave,
    Remove,
}

impl Racer {
    const ALL: [Self; 6] = [Self::Accept, Self::Decline, Self::Withdraw, Self::Renominate, Self::Leave, Self::Remove];

    /// Why this may be refused, whoever came first.
    fn refusals(self) -> &'static [&'static str] {
        match self {
            Self::Accept => &["NOT_A_MEMBER", "NOT_NOMINATED", "ALREADY_OWNER"],
            Self::Decline | Self::Withdraw => &["NOT_A_MEMBER", "NOT_NOMINATED"],
            Self::Renominate => &["ROLE_NOT_ALLOWED", "NOT_FOUND"],
            Self::Leave => &["NOT_A_MEMBER", "OWNER_MUST_TRANSFER"],
            Self::Remove => &["NOT_FOUND", "OWNER_MUST_TRANSFER"],
        }
    }

    async fn run(self, acme: &str, owner: &Who, nominee: &Who) -> Result<(), Status> {
        match self {
            Self::Accept => accept(nominee, acme).await.map(drop),
            Self::Decline => decline(nominee, acme).await.map(drop),
            Self::Withdraw => decline(owner, acme).await.map(drop),
            Self::Renominate => transfer(owner, acme, nominee.user).await.map(drop),
            Self::Leave => leave(nominee, acme).await,
            Self::Remove => remove(owner, acme, nominee.user).await,
        }
    }
}

bursar_testkit::engines! {
    async fn a_nominee_accepts_and_the_former_owner_is_an_admin(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.join(&ada, &acme, 3, Role::Admin).await;
        let told = world.events().await.len();

        let nominated = transfer(&ada, &acme, ben.user).await.expect("nominated");
        let until = to_timestamp(world.clock.now().saturating_add(Span::from_days(7)));
        assert_eq!((nominated.role(), nominated.owner_user_id.clone()), (proto::Role::Owner, ada.user.to_string()));
        assert_eq!((nominated.nominee_user_id.as_str(), nominated.nominated_until), (&*ben.user.to_string(), Some(until)));
        for who in [&ada, &ben, &cem] {
            let seen = seen(who, &acme).await;
            assert_eq!((seen.nominee_user_id, seen.nominated_until), (ben.user.to_string(), Some(until)));
        }
        assert_eq!(world.events().await.len(), told, "nothing has happened yet");
        let asked = world.mailbox.next(&ben.email).await;
        assert_eq!(asked.subject, "Become the owner of \"Acme\"");
        assert!(asked.text.contains(&ada.email) && asked.text.contains(&format!("organization={acme}")), "{asked:?}");
        let confirmed = world.mailbox.next(&ada.email).await;
        assert!(confirmed.text.contains(&ben.email), "{confirmed:?}");

        refused(accept(&cem, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");
        refused(accept(&ada, &acme).await, Code::FailedPrecondition, "ALREADY_OWNER");
        refused(accept(&world.who(9), &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(accept(&ben, "acme").await, Code::InvalidArgument, "INVALID_FIELDS");

        world.advance(Span::SECOND);
        let owned = accept_as(&ben, &acme, "r1").await.expect("accepted");
        assert_eq!((owned.role(), owned.owner_user_id.clone()), (proto::Role::Owner, ben.user.to_string()));
        assert_eq!((owned.nominee_user_id.as_str(), owned.nominated_until), ("", None));
        assert_eq!(accept_as(&ben, &acme, "r1").await.expect("the first answer again"), owned);
        refused(accept(&ben, &acme).await, Code::FailedPrecondition, "ALREADY_OWNER");
        let former = seen(&ada, &acme).await;
        assert_eq!((former.role(), former.nominee_user_id.as_str()), (proto::Role::Admin, ""));
        let told: Vec<_> = world.events().await.split_off(told).into_iter().map(|payload| match payload {
            Payload::MembershipChanged(it) => (it.user_id.clone(), it.role()),
            other => panic!("{other:?}"),
        }).collect();
        let expected = [(ada.user.to_string(), proto::Role::Admin), (ben.user.to_string(), proto::Role::Owner)];
        assert_eq!(told, expected, "told once, in one commit");
        for who in [&ada, &ben] {
            let mail = world.mailbox.next(&who.email).await;
            assert_eq!(mail.subject, "\"Acme\" has another owner");
            assert!(mail.text.contains(&format!("{} owns", ben.email)), "{mail:?}");
        }
        leave(&ada, &acme).await.expect("an Admin may");
    }

    async fn whoever_acts_is_told_at_the_address_of_now(db: TestDb) {
        let world = start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let acme = world.create(&ada, "Acme").await.id;
        world.join(&ada, &acme, 2, Role::Member).await;
        world.advance(Span::SECOND);
        let (ada, moved) = (world.who_as(1, "ada@new.example"), world.who_as(2, "ben@new.example"));
        transfer(&ada, &acme, ben.user).await.expect("nominated");
        let asked = world.mailbox.next(&ben.email).await;
        assert!(asked.text.contains("ada@new.example"), "{asked:?}");
        let confirmed = world.mailbox.next("ada@new.example").await;
        assert!(confirmed.text.contains(&ben.email), "of the other the address of the joining is known: {confirmed:?}");
        world.advance(Span::SECOND);
        accept(&moved, &acme).await.expect("accepted");
        for address in ["ben@new.example", "u1@example.com"] {
            let mail = world.mailbox.next(address).await;
            assert!(mail.text.contains("ben@new.example owns"), "{mail:?}");
        }
    }

    async fn a_nomination_is_declined_withdrawn_replaced_or_expires(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.join(&ada, &acme, 3, Role::Admin).await;
        refused(decline(&ada, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");

        transfer(&ada, &acme, ben.user).await.expect("nominated");
        refused(decline(&cem, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");
        refused(decline(&world.who(9), &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(decline(&ben, &acme).await.expect("declined").nominee_user_id, "");
        refused(accept(&ben, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");

        transfer(&ada, &acme, ben.user).await.expect("nominated");
        decline(&ada, &acme).await.expect("withdrawn");
        refused(accept(&ben, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");

        transfer(&ada, &acme, ben.user).await.expect("nominated");
        transfer(&ada, &acme, cem.user).await.expect("another one");
        assert_eq!(nominee(&ben, &acme).await, cem.user.to_string());
        refused(accept(&ben, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");

        world.advance(Span::from_days(7).saturating_sub(Span::SECOND));
        let (ada, cem) = (world.who(1), world.who(3));
        assert_eq!(nominee(&ada, &acme).await, cem.user.to_string());
        world.advance(Span::SECOND);
        assert_eq!(nominee(&ada, &acme).await, "", "nobody had to write down that it expired");
        refused(accept(&cem, &acme).await, Code::FailedPrecondition, "NOMINATION_EXPIRED");
        refused(decline(&ada, &acme).await, Code::FailedPrecondition, "NOMINATION_EXPIRED");
        transfer(&ada, &acme, cem.user).await.expect("again");
        assert_eq!(accept(&cem, &acme).await.expect("accepted").role(), proto::Role::Owner);
    }

    async fn a_nomination_ends_with_the_membership_and_with_the_owner(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        for gone in ["left", "removed"] {
            transfer(&ada, &acme, ben.user).await.expect("nominated");
            match gone {
                "left" => leave(&ben, &acme).await.expect("left"),
                _ => remove(&ada, &acme, ben.user).await.expect("removed"),
            }
            assert_eq!(nominee(&ada, &acme).await, "", "{gone}");
            refused(accept(&ben, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
            // Whoever comes back is nobody's nominee. Mail of one instant has no order.
            assert!(world.mailbox.next(&ben.email).await.subject.starts_with("Become"), "{gone}");
            world.advance(Span::SECOND);
            invite(&ada, &acme, &ben.email, Role::Member).await.expect("invited");
            let token = world.mailbox.next_token(&ben.email).await;
            join(&ben, &token).await.expect("back");
            refused(accept(&ben, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");
            world.advance(Span::SECOND);
        }

        transfer(&ada, &acme, ben.user).await.expect("nominated");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        until("the nominee is gone", async || get(&ada, &acme).await.expect("found").nominee_user_id.is_empty()).await;
        refused(transfer(&ada, &acme, ben.user).await.map(drop), Code::NotFound, "NOT_FOUND");

        transfer(&ada, &acme, cem.user).await.expect("nominated");
        let dan = world.join(&ada, &acme, 4, Role::Member).await;
        set(&ada, &acme, proto::Transfer::Immediate).await;
        assert_eq!(transfer(&ada, &acme, dan.user).await.expect("at once").owner_user_id, dan.user.to_string());
        assert_eq!(nominee(&dan, &acme).await, "", "it was the other owner's word");
        refused(accept(&cem, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");
        transfer(&dan, &acme, ada.user).await.expect("and back");
        refused(accept(&cem, &acme).await, Code::FailedPrecondition, "NOT_NOMINATED");
    }

    async fn a_nominee_accepts_with_a_sign_in_of_the_last_ten_minutes(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        transfer(&ada, &acme, ben.user).await.expect("nominated");
        let signed_in = |ago| {
            let now = world.clock.now();
            let token = world.issuer.user(ben.user).email(&ben.email).authenticated_at(now.saturating_sub(ago)).at(now);
            Who { client: world.anybody.with_token(&token), ..ben.clone() }
        };
        let old = signed_in(Span::from_mins(11));
        refused(accept(&old, &acme).await, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED");
        assert_eq!(get(&ben, &acme).await.expect("found").owner_user_id, ada.user.to_string(), "it is still hers");
        let recent = signed_in(Span::from_mins(9));
        assert_eq!(accept(&recent, &acme).await.expect("accepted").role(), proto::Role::Owner);
    }

    async fn who_was_nominated_by_an_owner_whom_an_operator_suspended_since_does_not_follow(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        transfer(&ada, &acme, ben.user).await.expect("nominated");
        suspend(&world, &ada).await;
        refused(accept(&ben, &acme).await, Code::PermissionDenied, "USER_SUSPENDED");
        assert_eq!(get(&ben, &acme).await.expect("found").owner_user_id, ada.user.to_string());
        // The owner is back, and has nobody else in mind.
        world.identity_tells(stays(ada.user, 2)).await;
        until("the nomination counts again", async || accept(&ben, &acme).await.is_ok()).await;
        assert_eq!(get(&ben, &acme).await.expect("found").owner_user_id, ben.user.to_string());
    }

    async fn nominations_are_mailed_so_often_a_day(db: TestDb) {
        let world = start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        for _ in 0..10 {
            transfer(&ada, &acme, ben.user).await.expect("nominated");
        }
        let one_more = transfer(&ada, &acme, ben.user).await;
        let refusal = refused(one_more, Code::ResourceExhausted, "TOO_MANY_NOMINATIONS");
        assert!(refusal.retryable, "{refusal:?}");
        assert_eq!(nominee(&ada, &acme).await, ben.user.to_string(), "the last one counts");
        world.advance(Span::DAY);
        transfer(&world.who(1), &acme, ben.user).await.expect("another day");
    }

    async fn both_are_told_of_another_owner_so_often_a_day(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        world.advance(Span::SECOND);
        let subject = "\"Acme\" has another owner";
        let told = |who: &Who| world.mailbox.to(&who.email).into_iter().filter(|mail| mail.subject == subject).count();
        transfer(&ada, &acme, ben.user).await.expect("at once");
        for who in [&ada, &ben] {
            let mail = world.mailbox.next(&who.email).await;
            assert_eq!(mail.subject, subject);
            let said = format!("{} owns \"Acme\" on Bursar now. {}, who owned it before, is an admin.", ben.email, ada.email);
            assert!(mail.text.contains(&said), "{mail:?}");
        }
        for n in 0..12 {
            let (from, to) = if n % 2 == 0 { (&ben, &ada) } else { (&ada, &ben) };
            transfer(from, &acme, to.user).await.expect("is never refused for its mail");
        }
        until("they are told", async || told(&ada) >= 10 && told(&ben) >= 10).await;
        world.advance(Span::DAY);
        transfer(&world.who(2), &acme, ada.user).await.expect("another day");
        until("and again", async || told(&ada) >= 11 && told(&ben) >= 11).await;
        assert_eq!((told(&ada), told(&ben)), (11, 11));
    }

    async fn whatever_happens_to_a_nomination_at_once_there_is_one_owner(db: TestDb) {
        let world = start(db).await;
        let people: Vec<Who> = (1..=2).map(|n| world.who(n)).collect();
        for round in 0..rounds() {
            let (ada, ben) = (&people[0], &people[1]);
            let acme = world.create(ada, "Acme").await.id;
            let organization: OrganizationId = acme.parse().expect("an id");
            seat(&world, organization, 2..3).await;
            transfer(ada, &acme, ben.user).await.expect("nominated");
            let checker = Checker::of(&world).await;
            let barrier = Arc::new(Barrier::new(Racer::ALL.len() * EACH));
            let racers = (0..EACH).flat_map(|_| Racer::ALL).map(|racer| {
                let (barrier, acme, ada, ben) = (Arc::clone(&barrier), acme.clone(), ada.clone(), ben.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    (racer, racer.run(&acme, &ada, &ben).await)
                })
            });
            let racers: Vec<_> = racers.collect();
            let mut accepted = 0;
            for outcome in racers {
                let (racer, outcome) = outcome.await.expect("no panic");
                assert_eq!(owners(&world.store, organization).await, (1, 1), "round {round}");
                match outcome {
                    Ok(()) => accepted += u32::from(racer == Racer::Accept),
                    Err(status) => {
                        let reason = Refusal::of(&status).reason;
                        let known = racer.refusals().contains(&reason.as_str());
                        assert!(known, "round {round}: {racer:?}: {status:?}");
                    }
                }
            }
            checker.ends().await;
            assert!(accepted <= 1, "round {round}: accepted {accepted} times");
            // Whoever owns it now: everybody is told the same.
            let owner = if accepted == 1 { ben } else { ada };
            assert_eq!(seen(owner, &acme).await.role(), proto::Role::Owner, "round {round}");
        }
    }
}
