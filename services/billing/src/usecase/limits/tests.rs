//! What is read of a ledger for a limit, and where its days begin.

use bursar_id::HoldId;
use bursar_id::kinds::Project;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, ServiceCaller, ServiceRole};
use bursar_testkit::{credits, engines, id, organization, personal};
use bursar_time::Span;

use super::counting::following::{PORTION, Portion};
use super::*;
use crate::domain::{
    Actor, Attribution, CaptureCommand, Command, Cost, HoldCommand, Labels, Outcome, ProjectName, Request,
    SettingsChange, Total,
};
use crate::lane::{Job, Refused};
use crate::usecase::shop::{Shop, charge, manager};
use crate::usecase::walk::Walk;

/// What sets a limit on all that is spent.
pub(super) fn asked(owner: OwnerId, window: LimitWindow, amount: &str) -> Asked<SetCommand> {
    about(LimitSubject::EveryMember, owner, window, amount)
}

fn about(subject: LimitSubject, owner: OwnerId, window: LimitWindow, amount: &str) -> Asked<SetCommand> {
    under("", subject, (owner, window, amount))
}

/// The same under this request id.
fn under(
    request_id: &str,
    subject: LimitSubject,
    (owner, window, amount): (OwnerId, LimitWindow, &str),
) -> Asked<SetCommand> {
    let mode = LimitMode::Hard;
    let command = SetCommand { subject, window, mode, amount: credits(amount), alerts: Percents::default() };
    let call = Call::new(manager(owner), "bursar.billing.v1.LimitService/SetLimit");
    Asked::read(call, request_id, &pb::SetLimitRequest::default(), |_, _| Some(command.clone()))
}

/// The same as an operator asks it, who belongs to no organization.
fn by_operator(window: LimitWindow, amount: &str) -> Asked<SetCommand> {
    let (subject, mode, alerts) = (LimitSubject::EveryMember, LimitMode::Hard, Percents::default());
    let command = SetCommand { subject, window, mode, amount: credits(amount), alerts };
    let (role, permission) = (ServiceRole::Operator, Permission::Operate);
    let caller = Caller::Service(ServiceCaller { account: id(7), role, on_behalf_of: None, permission });
    let call = Call::new(caller, "bursar.billing.v1.LimitService/SetLimit");
    Asked::read(call, "", &pb::SetLimitRequest::default(), |_, _| Some(command.clone()))
}

/// Captures more than was held. `Err`: how much of the limit is used that it would go above.
async fn capture(shop: &Shop, owner: OwnerId, hold: HoldId, amount: &str) -> Result<(), String> {
    let command = CaptureCommand { hold, cost: Some(Cost::Amount(credits(amount))), allow_excess: true };
    let job = Job { owner, actor: Actor::Job, request: Request::unnamed(Command::Capture(command)) };
    let mut tx = shop.db.begin().await.unwrap();
    match shop.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap() {
        Ok(_) => tx.commit().await.map_err(|error| error.to_string()),
        Err(Refused::Rule(Refusal::LimitReached(it))) => Err(Total(it.used).to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

/// Sets a limit as `set` does, after `reading`. Says whether it is set.
async fn put(limits: &LimitUseCases, owner: OwnerId, reading: &mut Option<Reading>) -> bool {
    let asked = asked(owner, LimitWindow::Month, "10000");
    let standing = limits.access.to(asked.caller(), owner).await;
    let mut m = limits.mutations.begin(&asked).await.unwrap();
    match limits.put(&mut m, owner, &asked, standing, reading).await.transpose() {
        Some(done) => limits.mutations.end(m, done).await.map(|_| true).unwrap(),
        None => false,
    }
}

/// The account's limits: how much is used, and when they reset.
pub(super) async fn listed(limits: &LimitUseCases, owner: OwnerId) -> Vec<(LimitWindow, i64, String)> {
    let mut tx = limits.db.read().await.unwrap();
    let all = limits.shown(&mut tx, owner, Viewer::Manager).await.unwrap();
    all.into_iter().map(|it| (it.limit.window, it.used.unwrap() / 1_000_000, it.resets_at.to_string())).collect()
}

/// What changes where the account's days begin.
fn begins_in(owner: OwnerId, zone: &str) -> Asked<SettingsChange> {
    begins_in_under("", owner, zone)
}

/// The same under this request id.
fn begins_in_under(request_id: &str, owner: OwnerId, zone: &str) -> Asked<SettingsChange> {
    changes(request_id, owner, &SettingsChange { zone: Some(zone.parse().unwrap()), ..SettingsChange::default() })
}

/// What changes the account's settings.
fn changes(request_id: &str, owner: OwnerId, change: &SettingsChange) -> Asked<SettingsChange> {
    let body = pb::UpdateAccountSettingsRequest::default();
    let call = Call::new(manager(owner), "bursar.billing.v1.AccountService/UpdateAccountSettings");
    Asked::read(call, request_id, &body, |_, _| Some(change.clone()))
}

/// An earlier program changes where the account's days begin: it leaves those of the limits as they were.
pub(super) async fn moves_as_before(shop: &Shop, owner: OwnerId, zone: &str) {
    let mut tx = shop.db.begin().await.unwrap();
    let before = settings::of(&mut tx, owner).await.unwrap();
    let change = SettingsChange { zone: Some(zone.parse().unwrap()), ..SettingsChange::default() };
    settings::put(&mut tx, owner, &before.with(&change), shop.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// What deletes a limit.
fn deletion(owner: OwnerId, limit: LimitId) -> Asked<LimitId> {
    let call = Call::new(manager(owner), "bursar.billing.v1.LimitService/DeleteLimit");
    Asked::read(call, "", &pb::DeleteLimitRequest::default(), |_, _| Some(limit))
}

/// Nobody can read the ledger any more.
const LOSE_THE_LEDGER: &str = "ALTER TABLE ledger_entries RENAME TO lost_entries";

/// The account's limits in the order of their windows, the shortest first.
async fn by_window(limits: &LimitUseCases, owner: OwnerId) -> Vec<(LimitWindow, i64, String)> {
    let mut all = listed(limits, owner).await;
    all.sort();
    all
}

/// Tries to spend: whether no limit is in the way.
async fn may_spend(shop: &Shop, owner: OwnerId, amount: &str) -> bool {
    let (job, mut tx) = (charge(owner, amount), shop.db.begin().await.unwrap());
    match shop.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap() {
        Ok(_) => {
            tx.commit().await.unwrap();
            true
        }
        Err(Refused::Rule(Refusal::LimitReached(_))) => false,
        Err(other) => panic!("{other:?}"),
    }
}

/// It is done.
fn is_done<T>(outcome: Result<Answer<T>, Error>) {
    assert!(matches!(outcome, Ok(Answer::New(_))), "{:?}", outcome.err());
}

async fn book(shop: &Shop, owner: OwnerId, command: Command) -> Outcome {
    let mut tx = shop.db.begin().await.unwrap();
    let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command) };
    let outcome = shop.subscriptions.till.book(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

/// Reserves so much for a day.
async fn hold(shop: &Shop, owner: OwnerId, amount: &str) -> HoldId {
    let command = Command::Hold(HoldCommand {
        amount: credits(amount),
        ttl: Span::DAY,
        attribution: Attribution { member: id(1), project: None, model: None },
        labels: Labels::default(),
    });
    match book(shop, owner, command).await {
        Outcome::Held(held) => held.hold.id,
        other => panic!("{other:?}"),
    }
}

engines! {
    async fn days_and_months_of_limits_begin_elsewhere_as_soon_as_the_accounts_do(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-31T22:30:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        for (window, amount) in [(LimitWindow::Hour, "100"), (LimitWindow::Day, "7"), (LimitWindow::Month, "100")] {
            limits.set(owner, &asked(owner, window, amount)).await.unwrap();
        }
        assert!(may_spend(&shop, owner, "5").await);
        shop.set("2026-01-31T23:30:00Z");
        assert!(may_spend(&shop, owner, "2").await);
        assert!(!may_spend(&shop, owner, "1").await, "seven of a day of UTC");
        let line = |window, used, resets_at: &str| (window, used, resets_at.to_owned());
        let in_utc = [
            line(LimitWindow::Hour, 2, "2026-02-01T00:00:00Z"),
            line(LimitWindow::Day, 7, "2026-02-01T00:00:00Z"),
            line(LimitWindow::Month, 7, "2026-02-01T00:00:00Z"),
        ];
        assert_eq!(by_window(&limits, owner).await, in_utc);
        is_done(settings.update(owner, &begins_in(owner, "Europe/Berlin")).await);
        let in_berlin = [
            line(LimitWindow::Hour, 2, "2026-02-01T00:00:00Z"),
            line(LimitWindow::Day, 2, "2026-02-01T23:00:00Z"),
            line(LimitWindow::Month, 2, "2026-02-28T23:00:00Z"),
        ];
        assert_eq!(by_window(&limits, owner).await, in_berlin);
        assert!(may_spend(&shop, owner, "5").await, "of a day that began at eleven");
        assert!(!may_spend(&shop, owner, "1").await);
        is_done(settings.update(owner, &begins_in(owner, "America/New_York")).await);
        let in_new_york = [
            line(LimitWindow::Hour, 7, "2026-02-01T00:00:00Z"),
            line(LimitWindow::Day, 12, "2026-02-01T05:00:00Z"),
            line(LimitWindow::Month, 12, "2026-02-01T05:00:00Z"),
        ];
        assert_eq!(by_window(&limits, owner).await, in_new_york);
        shop.set("2026-02-01T05:00:00Z");
        assert!(may_spend(&shop, owner, "7").await && !may_spend(&shop, owner, "1").await, "the next day of New York's");
    }

    async fn a_hold_counts_in_the_day_of_the_new_zone_that_it_was_made_in(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T22:30:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Day, "10")).await.unwrap();
        let early = hold(&shop, owner, "4").await;
        shop.set("2026-01-15T23:30:00Z");
        let late = hold(&shop, owner, "5").await;
        is_done(settings.update(owner, &begins_in(owner, "Europe/Berlin")).await);
        let used = async || by_window(&limits, owner).await[0].1;
        assert_eq!(used().await, 5);
        book(&shop, owner, Command::Release { hold: early }).await;
        assert_eq!(used().await, 5, "it was made the day before");
        book(&shop, owner, Command::Release { hold: late }).await;
        assert_eq!(used().await, 0);
    }

    async fn what_an_earlier_program_left_follows_with_any_other_setting(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T23:30:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Day, "10")).await.unwrap();
        shop.sql("UPDATE limits SET zone = 'America/New_York'").await;
        is_done(settings.update(owner, &begins_in(owner, "UTC")).await);
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 0, "2026-01-16T00:00:00Z".to_owned())]);
    }

    async fn settings_change_where_days_begin_as_nobody_may_choose_any_more(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Day, "10")).await.unwrap();
        shop.spend(owner, "1").await;
        // Half an hour from any hour of UTC.
        moves_as_before(&shop, owner, "Asia/Kolkata").await;
        is_done(settings.update(owner, &changes("", owner, &SettingsChange::default())).await);
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 1, "2026-01-15T18:30:00Z".to_owned())]);
        let chosen = settings.update(owner, &begins_in(owner, "Asia/Kolkata")).await;
        assert!(matches!(chosen, Err(Error::TimeZoneUnsupported(_))), "{:?}", chosen.err());
    }

    async fn a_long_ledger_is_not_read_while_the_account_whose_days_move_is_locked(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T23:30:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Day, "100")).await.unwrap();
        shop.spend_often(owner, "0.001", 2_100).await;
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let mut tx = shop.db.begin().await.unwrap();
        let account = lock(&mut tx, owner).await.unwrap();
        let counting = &limits.counting;
        assert!(!counting.follow(&mut tx, (owner, &account), &zone, &mut None).await.unwrap());
        tx.rollback().await.unwrap();
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 2, "2026-01-16T00:00:00Z".to_owned())]);
        is_done(settings.update(owner, &begins_in(owner, "Europe/Berlin")).await);
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 2, "2026-01-16T23:00:00Z".to_owned())]);
    }

    async fn a_long_ledger_is_not_read_while_the_account_is_locked(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        let (owner, limits) = (personal(1), shop.limits());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend_often(owner, "0.001", 2_100).await;
        // As if a limit that counted was deleted after the reading was found to be needless.
        let mut reading = None;
        assert!(!put(&limits, owner, &mut reading).await);
        assert_eq!(listed(&limits, owner).await, [], "nothing is set, and the account is free");
        let asked_for = asked(owner, LimitWindow::Month, "10000");
        let (caller, command) = (asked_for.caller(), asked_for.command().unwrap());
        limits.read_ahead(caller, owner, command, &mut reading).await.unwrap();
        assert!(put(&limits, owner, &mut reading).await);
        shop.spend(owner, "1").await;
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Month, 3, "2026-02-01T00:00:00Z".to_owned())]);
        limits.set(owner, &asked(owner, LimitWindow::Day, "10000")).await.expect("what is in the way is read first");
    }

    async fn who_sets_a_limit_again_is_answered_before_anything_is_read(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        let (owner, limits) = (personal(1), shop.limits());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        let first = under("first", LimitSubject::EveryMember, (owner, LimitWindow::Month, "10"));
        let set = limits.set(owner, &first).await.unwrap().made().expect("it is set now");
        // Nobody counts what was counted for it: whoever sets it anew has to read.
        limits.delete(owner, &deletion(owner, set.limit.id)).await.unwrap();
        shop.sql(LOSE_THE_LEDGER).await;
        let again = limits.set(owner, &first).await;
        assert!(matches!(again, Ok(Answer::Replay(_))), "{:?}", again.err());
        let anew = limits.set(owner, &asked(owner, LimitWindow::Month, "10")).await;
        assert!(anew.is_err(), "it cannot be counted");
    }

    async fn who_moves_the_days_again_is_answered_before_anything_is_read(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        let (owner, limits, settings) = (personal(1), shop.limits(), shop.settings());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Day, "10")).await.unwrap();
        let first = begins_in_under("first", owner, "Europe/Berlin");
        is_done(settings.update(owner, &first).await);
        is_done(settings.update(owner, &begins_in(owner, "America/New_York")).await);
        shop.sql(LOSE_THE_LEDGER).await;
        let again = settings.update(owner, &first).await;
        assert!(matches!(again, Ok(Answer::Replay(_))), "{:?}", again.err());
        let anew = settings.update(owner, &begins_in(owner, "Europe/Berlin")).await;
        assert!(anew.is_err(), "it cannot be counted");
    }

    async fn nothing_is_read_for_a_limit_on_what_is_not_known(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        let (owner, limits) = (personal(1), shop.limits());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        let named = |name: &str| LimitSubject::One(Subject::Project(ProjectName::given(name).unwrap()));
        // The one is no project that there ever was; of the other organization alone can tell, and was not heard.
        for name in ["flim".to_owned(), id::<Project>(1).to_string()] {
            let unknown = about(named(&name), owner, LimitWindow::Month, "10");
            let mut reading = None;
            limits.read_ahead(unknown.caller(), owner, unknown.command().unwrap(), &mut reading).await.unwrap();
            assert!(reading.is_none(), "{name}");
            let refused = limits.set(owner, &unknown).await.map(drop);
            assert!(matches!(refused, Err(Error::NotFound("project") | Error::Refused(Refusal::FeedStale))), "{name}: {refused:?}");
        }
        let (known, mut reading) = (asked(owner, LimitWindow::Month, "10"), None);
        limits.read_ahead(known.caller(), owner, known.command().unwrap(), &mut reading).await.unwrap();
        assert!(reading.is_some(), "what is known is read for");
    }

    async fn what_an_earlier_program_left_follows_when_a_limit_is_set(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T22:30:00Z").await;
        let (owner, limits) = (personal(1), shop.limits());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        limits.set(owner, &asked(owner, LimitWindow::Day, "100")).await.unwrap();
        shop.set("2026-01-15T23:30:00Z");
        shop.spend(owner, "2").await;
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 3, "2026-01-16T00:00:00Z".to_owned())]);
        moves_as_before(&shop, owner, "Europe/Berlin").await;
        limits.set(owner, &asked(owner, LimitWindow::Hour, "100")).await.unwrap();
        let now = [
            (LimitWindow::Day, 2, "2026-01-16T23:00:00Z".to_owned()),
            (LimitWindow::Hour, 2, "2026-01-16T00:00:00Z".to_owned()),
        ];
        assert_eq!(listed(&limits, owner).await, now);
        shop.spend(owner, "4").await;
        assert_eq!(listed(&limits, owner).await[0].1, 6);
    }

    async fn what_an_earlier_program_left_follows_by_itself(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T22:30:00Z").await;
        let limits = shop.limits();
        for n in 1..=3 {
            shop.buy(personal(n), "starter", "sandbox_ok", "pack").await.unwrap();
            shop.spend(personal(n), "1").await;
            limits.set(personal(n), &asked(personal(n), LimitWindow::Day, "100")).await.unwrap();
        }
        shop.set("2026-01-15T23:30:00Z");
        for n in 1..=3 {
            shop.spend(personal(n), "2").await;
        }
        moves_as_before(&shop, personal(1), "Europe/Berlin").await;
        moves_as_before(&shop, personal(3), "America/New_York").await;
        // Nobody's settings, nor limits, are touched by anybody.
        let (walk, portion) = (Walk::default(), Portion { page: 1, ..PORTION });
        for _ in 0..2 {
            while limits.counting.follow_on(&walk, portion).await.unwrap() {}
        }
        let line = |used, resets_at: &str| [(LimitWindow::Day, used, resets_at.to_owned())];
        assert_eq!(listed(&limits, personal(1)).await, line(2, "2026-01-16T23:00:00Z"));
        assert_eq!(listed(&limits, personal(2)).await, line(3, "2026-01-16T00:00:00Z"), "it is where it was");
        assert_eq!(listed(&limits, personal(3)).await, line(3, "2026-01-16T05:00:00Z"));
        shop.spend(personal(1), "4").await;
        assert_eq!(listed(&limits, personal(1)).await[0].1, 6, "and counts on from there");
    }

    async fn a_limit_that_is_set_after_a_plan_moved_in_knows_what_was_spent_where_open_holds_count(db: TestDb) {
        let shop = Shop::open(&db, "2026-03-01T12:00:00Z").await;
        let (team, limits) = (organization(1), shop.limits());
        shop.grants(team, credits("100")).await;
        shop.spend(team, "4").await;
        shop.set("2026-03-03T10:00:00Z");
        shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
        shop.set("2026-03-05T11:00:00Z");
        let held = hold(&shop, team, "5").await;
        shop.set("2026-03-05T12:00:00Z");
        shop.moves(id(1), id(1)).await;
        shop.spend(team, "3").await;
        is_done(limits.set(team, &by_operator(LimitWindow::Period, "10")).await);
        let now = [(LimitWindow::Period, 3, "2026-04-03T10:00:00Z".to_owned())];
        assert_eq!(listed(&limits, team).await, now, "what was spent before is of the month that is over");
        assert_eq!(capture(&shop, team, held, "6.000001").await, Err("9".to_owned()), "4 before the plan's month, and 5");
        // What is over for good is forgotten, but not what the hold counts in.
        shop.set("2026-03-06T10:59:00Z");
        limits::prune(&shop.db, shop.clock.now()).await.unwrap();
        assert_eq!(capture(&shop, team, held, "6.000001").await, Err("9".to_owned()));
        assert_eq!(capture(&shop, team, held, "6").await, Ok(()));
        assert_eq!(listed(&limits, team).await, now, "nothing of it is of the month that is open");
        shop.assert_sound(team).await;
    }
}
