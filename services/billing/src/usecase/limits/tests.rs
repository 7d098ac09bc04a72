//! What is read of a ledger for a limit, and where its days begin.

use bursar_id::kinds::Project;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call};
use bursar_testkit::{credits, engines, id, personal};

use super::*;
use crate::domain::{ProjectName, SettingsChange};
use crate::usecase::shop::{Shop, manager};

fn asked(owner: OwnerId, window: LimitWindow, amount: &str) -> Asked<SetCommand> {
    about(LimitSubject::EveryMember, owner, window, amount)
}

fn about(subject: LimitSubject, owner: OwnerId, window: LimitWindow, amount: &str) -> Asked<SetCommand> {
    let mode = LimitMode::Hard;
    let command = SetCommand { subject, window, mode, amount: credits(amount), alerts: Percents::default() };
    let call = Call::new(manager(owner), "bursar.billing.v1.LimitService/SetLimit");
    Asked::read(call, "", &pb::SetLimitRequest::default(), |_, _| Some(command.clone()))
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
async fn listed(limits: &LimitUseCases, owner: OwnerId) -> Vec<(LimitWindow, i64, String)> {
    let mut tx = limits.db.read().await.unwrap();
    let all = limits.shown(&mut tx, owner, Viewer::Manager).await.unwrap();
    all.into_iter().map(|it| (it.limit.window, it.used / 1_000_000, it.resets_at.to_string())).collect()
}

engines! {
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

    async fn days_and_months_of_limits_begin_where_the_accounts_do_when_one_is_set(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T22:30:00Z").await;
        let (owner, limits) = (personal(1), shop.limits());
        shop.buy(owner, "starter", "sandbox_ok", "pack").await.unwrap();
        shop.spend(owner, "1").await;
        limits.set(owner, &asked(owner, LimitWindow::Day, "100")).await.unwrap();
        shop.set("2026-01-15T23:30:00Z");
        shop.spend(owner, "2").await;
        assert_eq!(listed(&limits, owner).await, [(LimitWindow::Day, 3, "2026-01-16T00:00:00Z".to_owned())]);
        let mut tx = shop.db.begin().await.unwrap();
        let before = settings::of(&mut tx, owner).await.unwrap();
        let change = SettingsChange { zone: Some("Europe/Berlin".parse().unwrap()), ..SettingsChange::default() };
        settings::put(&mut tx, owner, &before.with(&change), shop.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        limits.set(owner, &asked(owner, LimitWindow::Hour, "100")).await.unwrap();
        let now = [
            (LimitWindow::Day, 2, "2026-01-16T23:00:00Z".to_owned()),
            (LimitWindow::Hour, 2, "2026-01-16T00:00:00Z".to_owned()),
        ];
        assert_eq!(listed(&limits, owner).await, now);
        shop.spend(owner, "4").await;
        assert_eq!(listed(&limits, owner).await[0].1, 6);
    }
}
