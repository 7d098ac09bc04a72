//! Memberships and policies from events to answers, on both engines.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking, their helpers too")]

use bursar_db::{Db, Tx};
use bursar_events::{Feed, Unapplied};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::people::{People, Told};
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

const ADMIN: Word = Word { role: Some(Role::Admin), incarnation: 1, version: 9 };

fn strict() -> OwnPolicy {
    OwnPolicy { admin_billing: Some(AdminBilling::None), ..OwnPolicy::default() }
}

/// Five memberships, five standings and five policies beside the deployment's, under version 9, told the other way round
/// than they are read: whose they are, as they are read.
async fn five(tx: &mut Tx) -> ([(OwnerId, UserId); 5], [OwnerId; 5]) {
    let person = |n| OwnerId::User(id(n));
    let names = [(org(1), id(1)), (org(1), id(2)), (org(2), id(1)), (person(1), id(1)), (person(2), id(2))];
    for (owner, user) in names.into_iter().rev() {
        words::learn(tx, owner, user, ADMIN).await.unwrap();
    }
    for event in [suspended(id(2), true, 1, 9), suspended(id(1), true, 1, 9)] {
        learn_person(tx, &event).await.unwrap();
    }
    for (n, standing) in [(3, Standing::Purged), (2, Standing::Active), (1, Standing::Deleted)] {
        learn(tx, &stands(org(n), standing, 1, 9)).await.unwrap();
    }
    for n in (1..=5).rev() {
        learn(tx, &own(org(n), strict(), 9)).await.unwrap();
    }
    learn(tx, &deployment(Policy::default(), 9)).await.unwrap();
    (names, [org(1), org(2), org(3), person(1), person(2)])
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
        assert_eq!(words::forget_some(&mut tx, ada, 1).await.unwrap(), 1, "some at a time");
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
        let known = People::known(Told(db.clone())).await.unwrap().suspended();
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
        let [first, second] = [first, second].map(OwnerId::Organization);
        let told = policies::between(&mut tx, (None, None), 9).await.unwrap();
        assert_eq!(told, [(first, OwnPolicy::default(), 2), (second, strict, 1)], "and not the deployment's");
        assert_eq!(policies::between(&mut tx, (Some(first), None), 9).await.unwrap(), told[1..]);
        assert_eq!(policies::between(&mut tx, (None, None), 1).await.unwrap(), told[..1]);
    }

    async fn everybody_who_is_suspended_is_known_however_many_are_read_at_a_time(at: TestDb) {
        let db = open(&at).await;
        let people: [UserId; 5] = [1, 2, 3, 4, 5].map(id);
        let mut tx = db.begin().await.unwrap();
        learn(&mut tx, &stands(org(9), Standing::Suspended, 1, 1)).await.unwrap();
        for user in people {
            learn_person(&mut tx, &suspended(user, true, 1, 1)).await.unwrap();
        }
        tx.commit().await.unwrap();
        // One that divides them, one that leaves some over, one that is just all, and one that is more.
        for page in [1, 2, 5, 6] {
            let known = People::paged(Told(db.clone()), page);
            assert!(!known.suspended().contains(people[0]), "before it has looked");
            known.look().await.unwrap();
            assert_eq!(people.map(|user| known.suspended().contains(user)), [true; 5], "{page}");
        }
        let known = People::paged(Told(db.clone()), 2);
        known.look().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        learn_person(&mut tx, &suspended(people[2], false, 1, 2)).await.unwrap();
        tx.commit().await.unwrap();
        known.look().await.unwrap();
        assert_eq!(people.map(|user| known.suspended().contains(user)), [true, true, false, true, true]);
    }

    async fn whose_account_has_ended_stands_nowhere(at: TestDb) {
        let db = open(&at).await;
        let (ada, ben): (UserId, UserId) = (id(1), id(2));
        let mut tx = db.begin().await.unwrap();
        for user in [ada, ben] {
            learn_person(&mut tx, &suspended(user, true, 1, 1)).await.unwrap();
        }
        assert!(standings::forget(&mut tx, OwnerId::User(ada)).await.unwrap());
        assert!(!standings::forget(&mut tx, OwnerId::User(ada)).await.unwrap(), "nothing is known any more");
        assert_eq!(standings::between(&mut tx, (None, None), 9).await.unwrap(), [(OwnerId::User(ben), Standing::Suspended, 1)]);
        tx.commit().await.unwrap();
        let known = People::known(Told(db)).await.unwrap().suspended();
        assert_eq!((known.contains(ada), known.contains(ben)), (false, true));
    }

    async fn what_is_known_is_read_in_parts_people_after_organizations(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let (names, owners) = five(&mut tx).await;
        // Two at a time, from where the last part ended: a bound falls within an organization, too.
        let (mut read, mut standing) = (Vec::<(words::Name, Word)>::new(), Vec::<(OwnerId, Standing, u64)>::new());
        let mut set = Vec::<(OwnerId, OwnPolicy, u64)>::new();
        loop {
            let part = words::between(&mut tx, (read.last().map(|(name, _)| *name), None), 2).await.unwrap();
            assert!(part.len() <= 2);
            if part.is_empty() {
                break;
            }
            read.extend(part);
        }
        assert_eq!(read, names.map(|name| (name, ADMIN)));
        loop {
            let part = standings::between(&mut tx, (standing.last().map(|(it, ..)| *it), None), 2).await.unwrap();
            assert!(part.len() <= 2);
            if part.is_empty() {
                break;
            }
            standing.extend(part);
        }
        let stand = [Standing::Deleted, Standing::Active, Standing::Purged, Standing::Suspended, Standing::Suspended];
        let expected: Vec<_> = owners.into_iter().zip(stand).map(|(owner, standing)| (owner, standing, 9)).collect();
        assert_eq!(standing, expected, "who is active, too");
        loop {
            let part = policies::between(&mut tx, (set.last().map(|(it, ..)| *it), None), 2).await.unwrap();
            assert!(part.len() <= 2);
            if part.is_empty() {
                break;
            }
            set.extend(part);
        }
        assert_eq!(set, [1, 2, 3, 4, 5].map(|n| (org(n), strict(), 9)), "not the deployment's");
        // Up to one, which belongs to them.
        let some = words::between(&mut tx, (Some(names[0]), Some(names[2])), 9).await.unwrap();
        assert_eq!(some, read[1..=2]);
        let some = standings::between(&mut tx, (Some(org(3)), Some(owners[3])), 9).await.unwrap();
        assert_eq!(some, standing[3..=3]);
        let some = policies::between(&mut tx, (Some(org(2)), Some(org(4))), 9).await.unwrap();
        assert_eq!(some, set[2..=3]);
    }

    async fn any_word_holds_against_what_is_in_doubt(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let (names, _) = five(&mut tx).await;
        let spending = Policy { spending: Spending::Services, ..Policy::default() };
        for doubted in [false, true] {
            if doubted {
                words::doubt(&mut tx, names[1]).await.unwrap();
                standings::doubt(&mut tx, org(1)).await.unwrap();
                policies::doubt(&mut tx, Some(org(1))).await.unwrap();
                policies::doubt(&mut tx, None).await.unwrap();
                // Nothing changes until a word comes.
                assert_eq!(known(&mut tx, names[1].0, names[1].1).await.map(|word| word.role), Some(ADMIN.role));
                assert_eq!(standings::of(&mut tx, &[org(1)]).await.unwrap()[&org(1)], Standing::Deleted);
                let policies = policies::of(&mut tx, &[org(1)]).await.unwrap();
                assert_eq!((policies.own(org(1)), policies.deployment()), (strict(), Some(Policy::default())));
            }
            // It is an earlier one than all that was told.
            for (owner, user) in names {
                words::learn(&mut tx, owner, user, word(None, 1, 3)).await.unwrap();
            }
            for n in 1..=3 {
                learn(&mut tx, &stands(org(n), Standing::Suspended, 1, 3)).await.unwrap();
                learn(&mut tx, &own(org(n), OwnPolicy::default(), 3)).await.unwrap();
            }
            learn(&mut tx, &deployment(spending, 3)).await.unwrap();
            let words = words::named(&mut tx, &names).await.unwrap();
            let now = if doubted { word(None, 1, 3) } else { ADMIN };
            assert_eq!(names.map(|name| words[&name]), [ADMIN, now, ADMIN, ADMIN, ADMIN]);
            let standings = standings::of(&mut tx, &[org(1), org(2), org(3)]).await.unwrap();
            let now = if doubted { Standing::Suspended } else { Standing::Deleted };
            let expected = [Some(now), None, Some(Standing::Purged)];
            assert_eq!([1, 2, 3].map(|n| standings.get(&org(n)).copied()), expected);
            let policies = policies::of(&mut tx, &[org(1), org(2)]).await.unwrap();
            let now = if doubted { (OwnPolicy::default(), spending) } else { (strict(), Policy::default()) };
            assert_eq!((policies.own(org(1)), policies.deployment()), (now.0, Some(now.1)));
            assert_eq!(policies.own(org(2)), strict());
        }
    }

    async fn of_a_live_answer_and_what_was_told_the_later_one_holds(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let name = (org(1), id(1));
        let (live, told) = (word(Some(Role::Member), 1, 4), word(None, 1, 5));
        assert_eq!(words::later(&mut tx, name, live).await.unwrap(), live);
        assert_eq!(known(&mut tx, name.0, name.1).await, Some(live), "it is remembered");
        learn(&mut tx, &membership(name.0, name.1, told)).await.unwrap();
        assert_eq!(words::later(&mut tx, name, live).await.unwrap(), told, "the answer was on its way when it ended");
        assert_eq!(known(&mut tx, name.0, name.1).await, Some(told));
    }

    async fn that_somebody_has_no_role_holds_whatever_was_told_of_the_same_version(at: TestDb) {
        let db = open(&at).await;
        let mut tx = db.begin().await.unwrap();
        let (name, owner) = ((org(1), id(1)), word(Some(Role::Owner), 1, 4));
        learn(&mut tx, &membership(name.0, name.1, owner)).await.unwrap();
        for version in [0, 4] {
            let holds = words::later(&mut tx, name, word(None, 1, version)).await.unwrap();
            assert_eq!(holds.role, None, "an organization that is purged, answered with version {version}");
        }
        assert_eq!(known(&mut tx, name.0, name.1).await, Some(owner), "the membership is as it was");
        assert_eq!(words::later(&mut tx, name, word(None, 1, 3)).await.unwrap(), owner, "the answer was on its way when it began");
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
