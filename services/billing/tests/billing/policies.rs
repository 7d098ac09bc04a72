//! What the policies hide and allow, as organization tells of them.

use bursar_id::{OwnerId, Role};
use bursar_members::{AdminBilling, BalanceVisibility, OwnPolicy, Policy, Spending, UsageVisibility};
use bursar_proto::access::Permission;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{GroupBy, LimitWindow};
use bursar_rpc::KeyGrant;
use bursar_testkit::{engines, id, refused};
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::words::{
    Spending as _, Under, audit_of, balance_of, batch, entries_of, limit, limits_of, lots_of, reserve, settle, spend,
    usage_of,
};
use crate::world::{Person, World, until};

/// An organization with its Owner (person 1), an Admin (2) and a Member (3), each with a charge of the Owner's in sight.
async fn team(world: &World) -> (OwnerId, [Person; 3], pb::Charge) {
    let (team, owner) = world.organization_with(1, "100").await;
    world.hears(team, id(2), Some(Role::Admin), 1).await;
    world.hears(team, id(3), Some(Role::Member), 1).await;
    let charge = owner.charged(spend(team, "1")).await;
    (team, [owner, world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1)], charge)
}

/// Whether a call was allowed; it may only be refused for the caller's role.
fn may<T: std::fmt::Debug>(outcome: Result<T, Status>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(status) => {
            refused(Err::<T, _>(status), Code::PermissionDenied, "ROLE_NOT_ALLOWED");
            false
        }
    }
}

/// What each of Owner, Admin and Member sees: the balance, usage by member, the ledger, lots and their verification.
async fn seen(team: OwnerId, people: &[Person; 3]) -> [[bool; 5]; 3] {
    let mut seen = [[false; 5]; 3];
    for (person, seen) in people.iter().zip(&mut seen) {
        assert!(may(person.query_usage(usage_of(team, &[GroupBy::Model])).await), "totals are everybody's");
        *seen = [
            may(person.get_balance(balance_of(team)).await),
            may(person.query_usage(usage_of(team, &[GroupBy::Member])).await),
            may(person.list_ledger_entries(entries_of(team)).await),
            may(person.list_lots(lots_of(team)).await),
            may(person.verify_ledger(audit_of(team)).await),
        ];
    }
    seen
}

/// Whom and what limits are about that tell how much single members use, and then those that tell totals.
fn subjects(people: &[Person; 3]) -> [String; 6] {
    let [owner, _, member] = people;
    let key: bursar_id::ApiKeyId = id(5);
    let one = |person: &Person| format!("member {}", person.user);
    ["every".to_owned(), one(member), one(owner), format!("key {key}"), "project film".into(), "model a-model".into()]
}

/// How much of each of the team's limits is used, as somebody reads it who lists them.
async fn used_of(who: &Caller, limits: &[pb::Limit]) -> Vec<String> {
    let team = limits[0].owner.parse().expect("an owner");
    let listed = who.list_limits(limits_of(team)).await.expect("listed").limits;
    let used = |limit: &pb::Limit| listed.iter().find(|it| it.id == limit.id).map(|it| it.used.clone());
    limits.iter().map(|limit| used(limit).unwrap_or_else(|| "not listed".to_owned())).collect()
}

const MANAGER: [bool; 5] = [true; 5];
const MEMBER: [bool; 5] = [true, false, false, false, false];

engines! {
    async fn policies_decide_what_each_role_sees(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let own = OwnPolicy::default();
        let admin = |admin_billing| OwnPolicy { admin_billing: Some(admin_billing), ..own };
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..own };
        let hidden = OwnPolicy { balance_visibility: Some(BalanceVisibility::Managers), ..own };
        let no_lots = [true, true, true, false, false];
        let totals = [true, false, false, true, true];
        let all_usage = [true, true, true, false, false];
        let cases = [
            (own, [MANAGER, MANAGER, MEMBER]),
            (admin(AdminBilling::None), [MANAGER, no_lots, MEMBER]),
            (admin(AdminBilling::View), [MANAGER, MANAGER, MEMBER]),
            (usage(UsageVisibility::Nobody), [totals, totals, MEMBER]),
            (usage(UsageVisibility::Everyone), [MANAGER, MANAGER, all_usage]),
            (usage(UsageVisibility::Managers), [MANAGER, MANAGER, MEMBER]),
            (hidden, [MANAGER, MANAGER, [false; 5]]),
            (own, [MANAGER, MANAGER, MEMBER]),
        ];
        for (version, (own, expected)) in (1..).zip(cases) {
            world.decides(team, own, version).await;
            assert_eq!(seen(team, &people).await, expected, "{own:?}: Owner, Admin, Member");
        }
    }

    async fn an_organization_follows_the_deployment_where_it_has_set_nothing(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let strict = Policy {
            admin_billing: AdminBilling::None,
            usage_visibility: UsageVisibility::Nobody,
            balance_visibility: BalanceVisibility::Managers,
            ..Policy::default()
        };
        world.deploys(strict, 2).await;
        let totals = [true, false, false, true, true];
        assert_eq!(seen(team, &people).await, [totals, [true, false, false, false, false], [false; 5]]);
        let own = OwnPolicy { balance_visibility: Some(BalanceVisibility::Everyone), ..OwnPolicy::default() };
        world.decides(team, own, 1).await;
        assert_eq!(seen(team, &people).await, [totals, MEMBER, MEMBER]);
        world.decides(team, OwnPolicy::default(), 2).await;
        world.deploys(Policy::default(), 3).await;
        assert_eq!(seen(team, &people).await, [MANAGER, MANAGER, MEMBER]);
        // At home nobody hides anything from its user.
        world.deploys(strict, 4).await;
        let home = world.person(3);
        assert!(may(home.get_balance(balance_of(home.owner)).await));
        assert!(may(home.query_usage(usage_of(home.owner, &[GroupBy::Member])).await));
    }

    async fn others_charges_are_per_member_too(db: TestDb) {
        let world = World::on(db).await;
        let (team, [owner, admin, member], charge) = team(&world).await;
        let get = pb::GetChargeRequest { charge_id: charge.id, owner: team.to_string() };
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..OwnPolicy::default() };
        owner.get_charge(get.clone()).await.expect("the own one");
        admin.get_charge(get.clone()).await.expect("a manager");
        refused(member.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        world.decides(team, usage(UsageVisibility::Everyone), 1).await;
        member.get_charge(get.clone()).await.expect("everybody");
        world.decides(team, usage(UsageVisibility::Nobody), 2).await;
        owner.get_charge(get.clone()).await.expect("the own one");
        refused(admin.get_charge(get.clone()).await, Code::NotFound, "NOT_FOUND");
        refused(member.get_charge(get).await, Code::NotFound, "NOT_FOUND");
    }

    async fn what_single_members_use_of_limits_is_hidden_with_their_usage(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let [owner, admin, member] = &people;
        member.charged(spend(team, "4").for_project("film").on_model("a-model")).await;
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..OwnPolicy::default() };
        let warning = |subject: &str| pb::SetLimitRequest {
            mode: pb::LimitMode::Warn.into(),
            ..limit(team, subject, LimitWindow::Day, "50")
        };
        world.decides(team, usage(UsageVisibility::Nobody), 1).await;
        // Every limit counts what the day has seen: setting one tells no more than listing it.
        let mut set = Vec::new();
        for subject in subjects(&people) {
            set.push(owner.limited(warning(&subject)).await);
        }
        let owners = ["", "", "1", "", "4", "4"];
        assert_eq!(set.iter().map(|it| it.used.as_str()).collect::<Vec<_>>(), owners, "totals, and what is the own");
        for who in [&**owner, &world.product_for(owner)] {
            assert_eq!(used_of(who, &set).await, owners);
        }
        assert_eq!(used_of(admin, &set).await, ["", "", "", "", "4", "4"]);
        let none = "not listed";
        let members = [none, "4", none, none, none, none];
        assert_eq!(used_of(member, &set).await, members, "the own limit, in the place of every member's");
        let all = ["0", "4", "1", "0", "4", "4"];
        assert_eq!(used_of(&world.operator(), &set).await, all);
        world.decides(team, usage(UsageVisibility::Managers), 2).await;
        for who in [owner, admin] {
            assert_eq!(used_of(who, &set).await, all);
        }
        assert_eq!(admin.limited(warning("every")).await.used, "0", "both who used anything have an own limit");
        world.decides(team, usage(UsageVisibility::Everyone), 3).await;
        assert_eq!(used_of(member, &set).await, members, "who may not see billing sees what is the own");
        // At home nothing is hidden from its user.
        world.deploys(Policy { usage_visibility: UsageVisibility::Nobody, ..Policy::default() }, 2).await;
        let home = world.person_with(4, "10").await;
        home.charged(spend(home.owner, "2")).await;
        assert_eq!(home.limited(limit(home.owner, "every", LimitWindow::Day, "5")).await.used, "2");
    }

    async fn a_repetition_is_told_how_much_of_a_limit_is_used_by_the_policy_of_then(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        let [owner, _, member] = &people;
        member.charged(spend(team, "4")).await;
        let usage = |usage_visibility| OwnPolicy { usage_visibility: Some(usage_visibility), ..OwnPolicy::default() };
        let theirs = limit(team, &format!("member {}", member.user), LimitWindow::Day, "50").under("theirs");
        let set = owner.limited(theirs.clone()).await;
        let with = |used: &str| pb::Limit { used: used.to_owned(), ..set.clone() };
        assert_eq!(set, with("4"));
        world.decides(team, usage(UsageVisibility::Nobody), 1).await;
        assert_eq!(owner.limited(theirs.clone()).await, with(""), "no more than a list tells");
        let blind = limit(team, &format!("member {}", member.user), LimitWindow::Month, "50").under("blind");
        assert_eq!(owner.limited(blind.clone()).await.used, "");
        member.charged(spend(team, "1")).await;
        world.decides(team, usage(UsageVisibility::Managers), 2).await;
        assert_eq!(owner.limited(theirs.clone()).await, with("5"), "as it is then");
        assert_eq!(owner.limited(blind).await.used, "5", "though it was hidden when it was set");
        let (limit_id, owner_id) = (set.id.clone(), team.to_string());
        owner.delete_limit(pb::DeleteLimitRequest { owner: owner_id, limit_id, request_id: String::new() }).await.unwrap();
        assert_eq!(owner.limited(theirs).await, with(""), "of one that is gone there is no use");
    }

    async fn a_hidden_balance_is_in_no_answer_to_a_spender(db: TestDb) {
        let world = World::on(db).await;
        let (team, [_, admin, member], _) = team(&world).await;
        let hidden = OwnPolicy { balance_visibility: Some(BalanceVisibility::Managers), ..OwnPolicy::default() };
        world.decides(team, hidden, 1).await;
        let (theirs, services) = (world.product_for(&member), world.product());
        for caller in [&*member, &theirs] {
            assert_eq!(caller.charge(spend(team, "1")).await.unwrap().balance_after, "");
            let hold = caller.hold(reserve(team, "2")).await.unwrap();
            assert_eq!(hold.balance_after, "");
            let captured = caller.capture(settle(&hold.hold.unwrap(), "1")).await.unwrap();
            assert_eq!(captured.balance_after, "");
            let short = refused(caller.charge(spend(team, "1000")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
            assert_eq!((short.metadata.get("available"), &*short.metadata["required"]), (None, "1000"), "{short:?}");
            let batch = caller.batch_charge(batch([spend(team, "1")])).await.unwrap();
            assert_eq!(batch.outcomes[0].balance_after, "");
        }
        let by_service = spend(team, "1").by(member.user);
        for answer in [admin.charge(spend(team, "1")).await.unwrap(), services.charge(by_service).await.unwrap()] {
            assert!(!answer.balance_after.is_empty(), "who may see it");
        }
        let short = refused(admin.charge(spend(team, "1000")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert!(short.metadata.contains_key("available"), "{short:?}");
    }

    /// Each policy of who sees usage with each of who sees the balance.
    async fn a_hidden_balance_is_in_no_list_whoever_may_read_it(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, _) = team(&world).await;
        people[2].held(reserve(team, "2")).await;
        let shown = [["99", "99", "0"], ["97", "97", "2"]].map(|after| after.map(str::to_owned));
        let blank = [["", "", ""], ["", "", ""]].map(|after| after.map(str::to_owned));
        let usages = [UsageVisibility::Nobody, UsageVisibility::Managers, UsageVisibility::Everyone];
        let pairs = usages.into_iter().flat_map(|usage| {
            [BalanceVisibility::Everyone, BalanceVisibility::Managers].map(|balance| (usage, balance))
        });
        for (version, (usage, balance)) in (1..).zip(pairs) {
            let own = OwnPolicy { usage_visibility: Some(usage), balance_visibility: Some(balance), ..OwnPolicy::default() };
            world.decides(team, own, version).await;
            for (who, role) in people.iter().zip([Role::Owner, Role::Admin, Role::Member]) {
                let is_manager = role != Role::Member;
                let sees = is_manager || balance == BalanceVisibility::Everyone;
                let reads = match usage {
                    UsageVisibility::Nobody => false,
                    UsageVisibility::Managers => is_manager,
                    UsageVisibility::Everyone => true,
                };
                assert_eq!(may(who.get_balance(balance_of(team)).await), sees, "{role:?}, {own:?}");
                let listed = who.list_ledger_entries(entries_of(team)).await;
                assert_eq!(listed.is_ok(), reads, "{role:?}, {own:?}: {listed:?}");
                if let Ok(listed) = listed {
                    // The charge and the hold; a grant was before them.
                    let after = |it: &pb::LedgerEntry| [&it.available_after, &it.spendable_after, &it.held_after].map(Clone::clone);
                    let after: Vec<_> = listed.entries.iter().skip(1).map(after).collect();
                    assert_eq!(after, if sees { &shown } else { &blank }, "{role:?}, {own:?}");
                    assert!(listed.entries.iter().all(|it| !it.amount.is_empty()), "what was done is told");
                }
                let totals = who.query_usage(usage_of(team, &[GroupBy::Model])).await.expect("totals are everybody's");
                assert_eq!(totals.held, if sees { "2" } else { "" }, "{role:?}, {own:?}");
            }
            let operators = world.operator().list_ledger_entries(entries_of(team)).await.expect("an operator");
            assert_eq!(operators.entries.last().map(|it| it.held_after.as_str()), Some("2"), "{own:?}");
        }
    }

    /// A key of the Owner's, and one of somebody's at home, that were given each of these permissions.
    async fn a_key_is_shown_no_more_than_it_was_given_whatever_its_maker_may(db: TestDb) {
        let world = World::on(db).await;
        let (team, people, charge) = team(&world).await;
        let [owner, _, member] = &people;
        let theirs = member.charged(spend(team, "4")).await;
        owner.limited(limit(team, &format!("member {}", member.user), LimitWindow::Day, "50")).await;
        let home = world.person_with(4, "100").await;
        let at_work = || world.issuer.member(owner.user, team.organization().expect("one"), Role::Owner);
        let at_home = || world.issuer.user(home.user);
        for more in [None, Some(Permission::ViewBalance), Some(Permission::ViewUsage), Some(Permission::ViewBilling)] {
            let grant = || {
                let permissions = [Permission::UseWorkspace].into_iter().chain(more).collect();
                KeyGrant { id: id(1), permissions }
            };
            let [keyed, keyed_home] = [(at_work(), owner), (at_home(), &home)].map(|(token, maker)| {
                let token = token.by_key(grant()).at(world.now());
                Person { calls: Caller(world.nobody().0.with_token(&token)), ..maker.clone() }
            });
            let is = |permission| more == Some(permission);
            let (balance, usage) = (is(Permission::ViewBalance), is(Permission::ViewUsage));
            for (key, own) in [(&keyed, team), (&keyed_home, home.owner)] {
                assert_eq!(!key.charge(spend(own, "1")).await.expect("spent").balance_after.is_empty(), balance, "{more:?}");
                let short = refused(key.charge(spend(own, "1000")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
                assert_eq!(short.metadata.contains_key("available"), balance, "{more:?}");
                assert_eq!(!key.query_usage(usage_of(own, &[])).await.expect("totals").held.is_empty(), balance, "{more:?}");
                let by_member = key.query_usage(usage_of(own, &[GroupBy::Member])).await;
                let ledger = key.list_ledger_entries(entries_of(own)).await;
                if usage {
                    by_member.expect("given");
                    let entries = ledger.expect("given").entries;
                    assert!(entries.iter().all(|it| it.available_after.is_empty()), "{entries:#?}");
                } else {
                    refused(by_member, Code::PermissionDenied, "KEY_NOT_ALLOWED");
                    refused(ledger, Code::PermissionDenied, "KEY_NOT_ALLOWED");
                }
            }
            // What its maker did is the maker's, what others did is theirs.
            let get = |charge: &pb::Charge| pb::GetChargeRequest { charge_id: charge.id.clone(), owner: team.to_string() };
            keyed.get_charge(get(&charge)).await.expect("the maker's");
            assert_eq!(keyed.get_charge(get(&theirs)).await.is_ok(), usage, "{more:?}");
            let limits = keyed.list_limits(limits_of(team)).await.expect("listed").limits;
            let listed: Vec<_> = limits.iter().map(|it| it.used.as_str()).collect();
            assert_eq!(listed, if is(Permission::ViewBilling) { vec![""] } else { vec![] }, "{more:?}");
        }
    }

    async fn a_deployment_whose_services_alone_spend_refuses_users_everywhere(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let charge = ana.charged(spend(ana.owner, "1").under("before")).await;
        let hold = ana.held(reserve(ana.owner, "5")).await;
        let elsewhere = world.through(&world.another_instance().await, &ana);
        elsewhere.charged(spend(ana.owner, "1")).await;
        world.deploys(Policy { spending: Spending::Services, ..Policy::default() }, 2).await;
        // Whichever of the two has applied the event.
        for person in [&ana, &elsewhere] {
            until("spending is for services", async || person.charge(spend(ana.owner, "0.001")).await.is_err()).await;
            let (charged, held) = (person.charge(spend(ana.owner, "1")).await, person.hold(reserve(ana.owner, "1")).await);
            refused(charged, Code::PermissionDenied, "SPENDING_BY_SERVICES_ONLY");
            refused(held, Code::PermissionDenied, "SPENDING_BY_SERVICES_ONLY");
        }
        world.product().charged(spend(ana.owner, "1").by(ana.user)).await;
        world.product_for(&ana).charged(spend(ana.owner, "1")).await;
        let again = ana.charge(spend(ana.owner, "1").under("before")).await.unwrap();
        assert_eq!((again.replayed, again.charge.unwrap().id), (true, charge.id), "what was carried out is told");
        ana.captured(settle(&hold, "5")).await;
        world.deploys(Policy::default(), 3).await;
        for person in [&ana, &elsewhere] {
            until("users spend again", async || person.charge(spend(ana.owner, "0.001")).await.is_ok()).await;
        }
        world.audit(ana.owner).await;
    }

    async fn nothing_is_guessed_before_the_deployments_policies_are_told(db: TestDb) {
        let world = World::untold(db, |_| ()).await;
        let error = world.ready.check().await.expect_err("not ready");
        assert!(error.to_string().contains("policies"), "{error}");
        let (team, owner) = world.organization_with(1, "100").await;
        refused(owner.get_balance(balance_of(team)).await, Code::Unavailable, "FEED_STALE");
        let home = world.person(1);
        home.get_balance(balance_of(home.owner)).await.expect("a person's own account asks for none");
        world.deploys(Policy::default(), 1).await;
        world.ready.check().await.expect("ready");
        owner.get_balance(balance_of(team)).await.expect("known");
        let shown = world.ready.note().expect("the feed's age");
        assert!(shown.starts_with("organization heard "), "{shown}");
    }
}
