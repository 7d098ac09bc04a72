//! Memberships and policies from events to answers, on both engines.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking, their helpers too")]

use bursar_db::{Db, Tx};
use bursar_events::{Feed, Unapplied};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::projection::{Learned, forget_before, forget_people_before, learn, learn_person};
use bursar_members::{
    AdminBilling, BalanceVisibility, Members, OwnPolicy, Policy, SecondFactor, Spending, Standing, Transfer,
    UsageVisibility, Word, policies, standings, words,
};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    DeploymentPolicyChanged, Event, MembershipChanged, OrganizationPolicyChanged, OrganizationStandingChanged,
    UserStandingChanged,
};
use bursar_proto::organization::v1 as api;
use bursar_rpc::convert::to_optional_role;
use bursar_testkit::{TestDb, id};
use bursar_time::Monotonic;
use sqlx::{Executor as _, SqlSafeStr as _};
use std::time::Duration;

async fn open(at: &TestDb) -> Db {
    at.open(&bursar_db::Migrations::SHARED).await
}

fn org(n: u64) -> OwnerId {
    OwnerId::Organization(id(n))
}

fn event(incarnation: u64, payload: Payload) -> Event {
    Event { r#type: payload.type_name().to_owned(), incarnation, payload: Some(payload), ..Event::default() }
}

fn membership(owner: OwnerId, user: UserId, word: Word) -> Event {
    let changed = MembershipChanged {
        organization_id: owner.to_string(),
        user_id: user.to_string(),
        role: to_optional_role(word.role).into(),
        version: word.version,
    };
    event(word.incarnation, Payload::MembershipChanged(changed))
}

fn deployment(policy: Policy, version: u64) -> Event {
    let changed = DeploymentPolicyChanged { policy: Some(policy.into()), version };
    event(1, Payload::DeploymentPolicyChanged(changed))
}

fn own(owner: OwnerId, own: OwnPolicy, version: u64) -> Event {
    let changed = OrganizationPolicyChanged { organization_id: owner.to_string(), policy: Some(own.into()), version };
    event(1, Payload::OrganizationPolicyChanged(changed))
}

fn stands(owner: OwnerId, standing: Standing, incarnation: u64, version: u64) -> Event {
    let (state, purged) = standing.to_state();
    let (organization_id, state) = (owner.to_string(), state.into());
    let changed = OrganizationStandingChanged { organization_id, state, purged, version };
    event(incarnation, Payload::OrganizationStandingChanged(changed))
}

fn suspended(user: UserId, suspended: bool, incarnation: u64, version: u64) -> Event {
    let changed = UserStandingChanged { user_id: user.to_string(), suspended, version };
    event(incarnation, Payload::UserStandingChanged(changed))
}

fn word(role: Option<Role>, incarnation: u64, version: u64) -> Word {
    Word { role, incarnation, version }
}

async fn known(tx: &mut Tx, owner: OwnerId, user: UserId) -> Option<Word> {
    words::named(tx, &[(owner, user)]).await.unwrap().get(&(owner, user)).copied()
}

bursar_testkit::engines! {
    async fn every_statement_is_one(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        match &mut tx {
            Tx::Sqlite(t) => for text in [words::SQLITE, policies::SQLITE, standings::SQLITE].concat() {
                (&mut **t).prepare(text.into_sql_str()).await.unwrap();
            },
            Tx::Postgres(t) => for text in [words::POSTGRES, policies::POSTGRES, standings::POSTGRES].concat() {
                (&mut **t).prepare(text.into_sql_str()).await.unwrap();
            },
        }
    }

    async fn the_last_word_is_known_for_many_at_once(at: TestDb) {
        let db = open(&at).await;
        let (owner, admin, member) = (Some(Role::Owner), Some(Role::Admin), Some(Role::Member));
        let (ada, ben): (UserId, UserId) = (id(1), id(2));
        let mut tx = db.begin().await.unwrap();
        let told = [
            (org(1), ada, word(owner, 1, 1)),
            (org(2), ada, word(member, 1, 1)),
            (org(1), ben, word(member, 1, 2)),
            (org(1), ben, word(admin, 1, 1)),
            (org(2), ada, word(None, 1, 2)),
        ];
        for (organization, user, word) in told {
            let learned = learn(&mut tx, &membership(organization, user, word)).await.unwrap();
            assert_eq!(learned, Learned::Membership { owner: organization, user, word });
        }
        let pairs = [(org(1), ada), (org(1), ben), (org(2), ada), (org(2), ben), (org(3), ada)];
        let inside = words::named(&mut tx, &pairs).await.unwrap();
        tx.commit().await.unwrap();
        let outside = words::named_now(&db, &pairs).await.unwrap();
        assert_eq!(inside, outside);
        let known = pairs.map(|pair| outside.get(&pair).copied());
        assert_eq!(known, [
            Some(word(owner, 1, 1)),
            Some(word(member, 1, 2)),
            Some(word(None, 1, 2)),
            None,
            None,
        ], "a late word changes nothing, an ended membership is remembered");
        assert!(words::named_now(&db, &[]).await.unwrap().is_empty());

        let mut tx = db.begin().await.unwrap();
        words::forget(&mut tx, ada).await.unwrap();
        assert_eq!(words::named(&mut tx, &pairs).await.unwrap().len(), 1, "only Ben is left");
    }

    async fn a_later_incarnation_holds_and_ends_what_it_does_not_tell_of(at: TestDb) {
        let db = open(&at).await;
        let (admin, member) = (Some(Role::Admin), Some(Role::Member));
        let mut tx = db.begin().await.unwrap();
        for (user, told) in [(id(1), word(admin, 1, 5)), (id(2), word(member, 1, 1)), (id(3), word(admin, 8, 1))] {
            learn(&mut tx, &membership(org(1), user, told)).await.unwrap();
        }
        let kept = OwnPolicy { admin_billing: Some(AdminBilling::None), ..OwnPolicy::default() };
        learn(&mut tx, &deployment(Policy::default(), 1)).await.unwrap();
        learn(&mut tx, &own(org(1), kept, 3)).await.unwrap();
        learn(&mut tx, &own(org(2), kept, 3)).await.unwrap();
        // The store was restored: one membership is as it was then, another was never made.
        learn(&mut tx, &membership(org(1), id(1), word(member, 7, 2))).await.unwrap();
        learn(&mut tx, &membership(org(1), id(1), word(admin, 1, 6))).await.unwrap();
        let again = Event { incarnation: 7, ..own(org(1), kept, 1) };
        learn(&mut tx, &again).await.unwrap();
        forget_before(&mut tx, 7).await.unwrap();
        assert_eq!(known(&mut tx, org(1), id(1)).await, Some(word(member, 7, 2)));
        assert_eq!(known(&mut tx, org(1), id(2)).await, Some(word(None, 7, 1)), "it ended, and no old token revives it");
        assert_eq!(known(&mut tx, org(1), id(3)).await, Some(word(admin, 8, 1)), "told later still");
        let policies = policies::of(&mut tx, &[org(1), org(2)]).await.unwrap();
        assert_eq!((policies.own(org(1)), policies.own(org(2))), (kept, OwnPolicy::default()));
        assert_eq!(policies.deployment(), Some(Policy::default()), "nobody can do without");
    }

    async fn an_owner_stands_as_was_told_last(at: TestDb) {
        let db = open(&at).await;
        let (ada, ben): (UserId, UserId) = (id(1), id(2));
        let mut tx = db.begin().await.unwrap();
        let told = [
            stands(org(1), Standing::Deleted, 1, 3),
            stands(org(1), Standing::Active, 1, 2),
            stands(org(2), Standing::Suspended, 1, 1),
            stands(org(2), Standing::Active, 1, 2),
            stands(org(3), Standing::Deleted, 1, 1),
            stands(org(3), Standing::Purged, 1, 2),
        ];
        for event in &told {
            assert!(matches!(learn(&mut tx, event).await.unwrap(), Learned::Standing { .. }));
        }
        for event in [suspended(ada, true, 4, 1), suspended(ben, true, 4, 1), suspended(ben, false, 4, 2)] {
            assert!(matches!(learn_person(&mut tx, &event).await.unwrap(), Learned::Standing { .. }));
        }
        let owners = [org(1), org(2), org(3), org(4), OwnerId::User(ada), OwnerId::User(ben)];
        let inside = standings::of(&mut tx, &owners).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(standings::of_now(&db, &owners).await.unwrap(), inside);
        let stand = owners.map(|owner| inside.get(&owner).copied().unwrap_or_default());
        let expected = [Standing::Deleted, Standing::Active, Standing::Purged, Standing::Active, Standing::Suspended, Standing::Active];
        assert_eq!(stand, expected, "a late word changes nothing");
        let known = bursar_rpc::Suspended::default();
        bursar_members::people::follow(&db, &known).await.unwrap();
        assert_eq!((known.contains(ada), known.contains(ben)), (true, false));
        let members = Members::new(db.clone(), Feed::new("organization", &Monotonic::test(), Duration::from_mins(5)));
        assert_eq!(members.standing(org(1)).await.unwrap(), Standing::Deleted);
        assert_eq!(members.standing(org(9)).await.unwrap(), Standing::Active, "nobody was told of");

        let mut tx = db.begin().await.unwrap();
        forget_before(&mut tx, 2).await.unwrap();
        let left = standings::of(&mut tx, &owners).await.unwrap();
        assert_eq!(left.keys().collect::<Vec<_>>(), [&OwnerId::User(ada)], "organization restored knows of none");
        learn(&mut tx, &stands(org(1), Standing::Suspended, 2, 1)).await.unwrap();
        forget_people_before(&mut tx, 5).await.unwrap();
        let left = standings::of(&mut tx, &owners).await.unwrap();
        assert_eq!(left.into_iter().collect::<Vec<_>>(), [(org(1), Standing::Suspended)], "identity restored knows of none");
    }

    async fn a_standing_that_is_none_is_unreadable(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let unknown = OrganizationStandingChanged { organization_id: org(1).to_string(), state: 77, purged: false, version: 1 };
        let stranger = UserStandingChanged { user_id: "usr_nobody".to_owned(), suspended: true, version: 1 };
        let empty = Event { r#type: bursar_proto::event_type::USER_STANDING_CHANGED.to_owned(), ..Event::default() };
        let unreadable = |told| matches!(told, Err(Unapplied::Unreadable(_)));
        assert!(unreadable(learn(&mut tx, &event(1, Payload::OrganizationStandingChanged(unknown))).await));
        assert!(unreadable(learn_person(&mut tx, &event(1, Payload::UserStandingChanged(stranger))).await));
        assert!(unreadable(learn_person(&mut tx, &empty).await));
    }

    async fn policies_hold_as_they_were_told_last(at: TestDb) {
        let db = open(&at).await;
        let members = Members::new(db.clone(), Feed::new("organization", &Monotonic::test(), Duration::from_mins(5)));
        assert_eq!(members.policy(org(1)).await.unwrap(), None, "nothing is guessed");
        let strict = OwnPolicy {
            admin_billing: Some(AdminBilling::View),
            usage_visibility: Some(UsageVisibility::Nobody),
            balance_visibility: Some(BalanceVisibility::Managers),
            second_factor: Some(SecondFactor::Required),
            transfer: Some(Transfer::NomineeAccepts),
        };
        let before = Policy { admin_billing: AdminBilling::None, ..Policy::default() };
        let after = Policy { spending: Spending::Services, ..Policy::default() };
        let mut tx = db.begin().await.unwrap();
        assert_eq!(learn(&mut tx, &own(org(1), strict, 2)).await.unwrap(), Learned::Policy { owner: org(1) });
        assert_eq!(policies::of(&mut tx, &[org(1)]).await.unwrap().of(org(1)), None, "still nothing");
        assert_eq!(learn(&mut tx, &deployment(after, 2)).await.unwrap(), Learned::DeploymentPolicy);
        learn(&mut tx, &deployment(before, 1)).await.unwrap();
        learn(&mut tx, &own(org(1), OwnPolicy::default(), 1)).await.unwrap();
        tx.commit().await.unwrap();
        let ada = OwnerId::User(id(1));
        let known = members.policies(&[org(1), org(2), ada]).await.unwrap();
        assert_eq!(known.of(org(1)), Some(strict.over(&after)), "late words change nothing");
        assert_eq!([known.of(org(2)), known.of(ada), known.deployment()], [Some(after); 3]);
        let mut tx = db.begin().await.unwrap();
        learn(&mut tx, &own(org(1), OwnPolicy::default(), 3)).await.unwrap();
        assert_eq!(policies::of(&mut tx, &[org(1)]).await.unwrap().of(org(1)), Some(after), "the default again");
    }

    async fn what_says_what_nobody_knows_is_unreadable(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let ben: UserId = id(1);
        let odd_policy = Some(api::Policy { usage_visibility: 99, ..Policy::default().into() });
        let good = MembershipChanged { organization_id: org(1).to_string(), user_id: ben.to_string(), role: 3, version: 1 };
        let bad = [
            Payload::MembershipChanged(MembershipChanged { role: 99, ..good.clone() }),
            Payload::MembershipChanged(MembershipChanged { user_id: "usr_x".into(), ..good.clone() }),
            Payload::MembershipChanged(MembershipChanged { organization_id: good.user_id.clone(), ..good.clone() }),
            Payload::OrganizationPolicyChanged(OrganizationPolicyChanged {
                organization_id: good.organization_id.clone(),
                policy: odd_policy.clone(),
                version: 1,
            }),
            Payload::DeploymentPolicyChanged(DeploymentPolicyChanged { policy: odd_policy, version: 1 }),
            Payload::DeploymentPolicyChanged(DeploymentPolicyChanged { policy: None, version: 1 }),
        ];
        for payload in bad {
            let event = event(1, payload);
            let unread = learn(&mut tx, &event).await.unwrap_err();
            assert!(matches!(unread, Unapplied::Unreadable(_)), "{event:?}: {unread}");
        }
        let nothing = Event { payload: None, ..event(1, Payload::MembershipChanged(good)) };
        assert!(matches!(learn(&mut tx, &nothing).await.unwrap_err(), Unapplied::Unreadable(_)));
        let other = Event { r#type: "pony.born".to_owned(), ..Event::default() };
        assert_eq!(learn(&mut tx, &other).await.unwrap(), Learned::Nothing);
        assert!(words::named(&mut tx, &[(org(1), id(1))]).await.unwrap().is_empty(), "nothing was written");
    }

    async fn organization_decides_and_tells_each_decision_once(at: TestDb) {
        let db = open(&at).await;
        let (first, second): (OrganizationId, OrganizationId) = (id(1), id(2));
        let strict = OwnPolicy { admin_billing: Some(AdminBilling::None), ..OwnPolicy::default() };
        let mut tx = db.begin().await.unwrap();
        assert_eq!(policies::told_deployment(&mut tx).await.unwrap(), None);
        assert_eq!(policies::decide_deployment(&mut tx, &Policy::default()).await.unwrap(), Some(1));
        assert_eq!(policies::decide_deployment(&mut tx, &Policy::default()).await.unwrap(), None);
        let other = Policy { spending: Spending::Services, ..Policy::default() };
        assert_eq!(policies::decide_deployment(&mut tx, &other).await.unwrap(), Some(2));
        assert_eq!(policies::told_deployment(&mut tx).await.unwrap(), Some((other, 2)));
        for (organization, own, version) in [
            (second, strict, Some(1)),
            (second, strict, None),
            (first, strict, Some(1)),
            (first, OwnPolicy::default(), Some(2)),
        ] {
            assert_eq!(policies::decide(&mut tx, organization, &own).await.unwrap(), version);
        }
        let told = policies::told_after(&mut tx, None, 9).await.unwrap();
        assert_eq!(told, [(first, OwnPolicy::default(), 2), (second, strict, 1)]);
        assert_eq!(policies::told_after(&mut tx, Some(first), 9).await.unwrap(), told[1..]);
        assert_eq!(policies::told_after(&mut tx, None, 1).await.unwrap(), told[..1]);
    }

    async fn whoever_waits_hears_of_news(at: TestDb) {
        let members = Members::new(open(&at).await, Feed::new("organization", &Monotonic::test(), Duration::from_mins(5)));
        let mut news = members.clone().news();
        assert!(!news.has_changed().unwrap());
        members.announce();
        news.changed().await.unwrap();
        assert_eq!(members.word(org(1), id(1)).await.unwrap(), None);
        assert!(members.feed().age().is_none(), "nobody feeds it");
    }
}
