//! A shop for tests: the built-in catalog, a test clock and a till over a database of the test's own.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Db, DbError, on};
use bursar_events::{Feed, Outbox};
use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_members::{Members, Standing, standings};
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Answer, Asked, Call, Caller, Mutations, Permission, UserCaller};
use bursar_secret::{Entropy, Secret};
use bursar_testkit::stripe::{self, FakeStripe};
use bursar_testkit::{TestDb, at, credits, id};
use bursar_time::{Clock, Monotonic};
use sqlx::Row;

use super::access::Access;
use super::accounts::AccountUseCases;
use super::audit;
use super::cashier::Cashier;
use super::catalogs::CatalogSource;
use super::costly::Costly;
use super::farewells::{self, Farewell};
use super::finance;
use super::invoices::{Invoices, Terms};
use super::limits::LimitUseCases;
use super::moving::{Move, Moved};
use super::orders::{Order, Till};
use super::payments::PaymentUseCases;
use super::purchases::PurchaseUseCases;
use super::settings::SettingsUseCases;
use super::standings::Change;
use super::subscriptions::SubscriptionUseCases;
use crate::catalog;
use crate::domain::{
    Actor, Assortment, Attribution, BillingProfile, Card, Catalog, CatalogVersion, ChargeCommand, Command, Cost,
    GrantCommand, KeptCatalog, Labels, Lot, LotSource, OperationKey, Request, Rules, SavedMethod, SettingsChange,
    TaxProvider, TaxRate,
};
use crate::error::Error;
use crate::lane::{Batcher, Job, RulesHandle, RulesSource};
use crate::payment::stripe::{Account, Stripe, token};
use crate::payment::{Payments, ToSave};
use crate::store::{MIGRATIONS, accounts, lots, settings};

/// The use cases under test and what they stand on.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) subscriptions: SubscriptionUseCases,
    pub(super) purchases: PurchaseUseCases,
    pub(super) payments: PaymentUseCases,
    pub(super) rules: RulesHandle,
    source: Arc<RulesSource>,
}

/// A feed of which nothing was heard.
fn feed(source: &'static str) -> Feed {
    Feed::new(source, &Monotonic::test(), Duration::from_mins(5))
}

impl Shop {
    /// Opens at the time `now`.
    pub(super) async fn open(db: &TestDb, now: &str) -> Self {
        Self::open_by(db, Clock::test(at(now))).await
    }

    /// Opens at the time `now`, and sells these plans besides.
    pub(super) async fn selling(db: &TestDb, now: &str, plans: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{}{plans}", include_str!("../../catalog.toml"))).unwrap();
        let catalog = catalog::load(Some(file.path())).unwrap();
        Box::pin(Self::with(db, Clock::test(at(now)), catalog)).await
    }

    /// Opens by a clock.
    pub(super) async fn open_by(db: &TestDb, clock: Clock) -> Self {
        Box::pin(Self::with(db, clock, catalog::load(None).unwrap())).await
    }

    async fn with(db: &TestDb, clock: Clock, catalog: Catalog) -> Self {
        let db = db.open(&MIGRATIONS).await;
        let entropy = Entropy::seeded(7);
        let (catalog, version) = (Arc::new(catalog), CatalogVersion::new(1).unwrap());
        let present = KeptCatalog { version, first_used_at: clock.now(), catalog };
        let sold = Assortment::new(Arc::new(present), clock.now());
        let access = Access::new(Members::new(db.clone(), feed("organization")), feed("identity"));
        let rules = Rules::for_test(sold.catalog().rates().clone(), OperationKey::new([7; 32]));
        let source = Arc::new(RulesSource::new(Rules { catalog_version: version, ..rules }));
        let rules = source.handle();
        let sealer = bursar_secret::Sealer::from_key(&bursar_secret::Secret::new([7; 32]));
        let jobs = bursar_jobs::Jobs::new(db.clone(), sealer, entropy.clone(), clock.clone());
        let batcher = Batcher::new(db.clone(), clock.clone(), rules.clone()).topping_up(jobs.clone());
        let terms = Invoices::new(Terms::default(), entropy.clone());
        let till = Till { db: db.clone(), clock: clock.clone(), payments: Payments::Sandbox, batcher, invoices: terms };
        let outbox = Outbox::new("billing", db.clone(), clock.clone(), entropy.clone());
        let mutations = Mutations::new(db.clone(), clock.clone(), entropy.clone(), outbox.clone()).telling();
        let catalog = CatalogSource::new(sold).handle();
        let cashier = Cashier {
            till: till.clone(),
            entropy: entropy.clone(),
            catalog: catalog.clone(),
            outbox: outbox.clone(),
            jobs,
        };
        let subscriptions = SubscriptionUseCases {
            access: access.clone(),
            till: till.clone(),
            cashier: cashier.clone(),
            entropy,
            catalog,
            mutations: mutations.clone(),
            outbox,
            looks: Arc::default(),
        };
        let purchases =
            PurchaseUseCases { access: access.clone(), cashier: cashier.clone(), mutations: mutations.clone() };
        let payments = PaymentUseCases { access, cashier, mutations };
        Self { db, clock, subscriptions, purchases, payments, rules, source }
    }

    /// From now on people have no credits outside of organizations.
    pub(super) fn close_personal_accounts(&self) {
        self.source.change(|rules| rules.personal_accounts = false);
    }

    pub(super) fn set(&self, now: &str) {
        self.clock.set(at(now)).unwrap();
    }

    /// Grants so many lots of one credit.
    pub(super) async fn fills(&self, owner: OwnerId, lots: usize) {
        let grant = || {
            let command = Command::Grant(GrantCommand::new(credits("1"), LotSource::Goodwill));
            Job { owner, actor: Actor::Job, request: Request::unnamed(command) }
        };
        let jobs: Vec<_> = std::iter::repeat_with(grant).take(lots).collect();
        for some in jobs.chunks(250) {
            let mut tx = self.db.begin().await.unwrap();
            let granted = self.subscriptions.till.book_all(&mut tx, some).await.unwrap();
            assert!(granted.iter().all(Option::is_some), "all of them are granted");
            tx.commit().await.unwrap();
        }
    }

    /// The owner stands like this from now on.
    pub(super) async fn stands(&self, owner: OwnerId, standing: Standing) {
        let mut tx = self.db.begin().await.unwrap();
        standings::doubt(&mut tx, owner).await.unwrap();
        standings::learn(&mut tx, owner, standing, (1, 1)).await.unwrap();
        accounts::set_standing(&mut tx, owner, standing).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The person's account is deleted, and billing has heard of it; whatever follows is done ([`Shop::sees_off`]).
    pub(super) async fn gone(&self, user: UserId) {
        let mut tx = self.db.begin().await.unwrap();
        let jobs = &self.subscriptions.cashier.jobs;
        farewells::depart(&mut tx, jobs, user, (1, self.clock.now())).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Does what a farewell's job does.
    pub(super) async fn sees_off(&self, user: UserId) {
        farewells::see_off(&self.subscriptions, Farewell { user }).await.unwrap();
    }

    /// Does what a change of the owner's standing asks for.
    pub(super) async fn settles(&self, owner: OwnerId) {
        let jobs = &self.subscriptions.cashier.jobs;
        super::standings::settle(&self.subscriptions, jobs, Change { owner }).await.unwrap();
    }

    /// Moves the person's subscription to an organization.
    pub(super) async fn moves(&self, from: UserId, to: OrganizationId) -> Moved {
        let (from_owner, to_owner) = (OwnerId::User(from), OwnerId::Organization(to));
        let body = pb::MoveSubscriptionRequest {
            from_owner: from_owner.to_string(),
            to_owner: to_owner.to_string(),
            ..Default::default()
        };
        let call = Call::new(manager(from_owner), "bursar.billing.v1.SubscriptionService/MoveSubscription");
        let asked =
            Asked::read(call, &format!("move-{to}"), &body, |_, _| Some(Move { from, to, is_called_off: false }));
        match self.subscriptions.move_subscription(&asked).await.unwrap() {
            Answer::New(moved) => moved,
            Answer::Replay(_) => panic!("it is asked once"),
        }
    }

    /// Saves a payment method with the provider's name for it.
    pub(super) async fn saves(&self, owner: OwnerId, token: &str) -> SavedMethod {
        let card = Card { brand: "sandbox".to_owned(), last4: "4242".to_owned(), exp_month: 12, exp_year: 2030 };
        let (token, added_by) = (token.to_owned(), "usr".to_owned());
        let (n, created_at) = (u64::try_from(self.count("payment_methods").await).unwrap(), self.clock.now());
        let (is_default, serves_until) = (false, None);
        let new = SavedMethod { id: id(n), owner, token, card, is_default, added_by, created_at, serves_until };
        self.payments.entered(new).await.unwrap()
    }

    /// Grants credits as an operator does.
    pub(super) async fn grants(&self, owner: OwnerId, amount: Credits) {
        let command = Command::Grant(GrantCommand::new(amount, LotSource::Goodwill));
        let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command) };
        let mut tx = self.db.begin().await.unwrap();
        self.subscriptions.till.book(&mut tx, &job).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Subscribes and gives the subscription as it is stored for a repetition.
    pub(super) async fn subscribe(
        &self,
        owner: OwnerId,
        plan: &str,
        method: &str,
        request_id: &str,
    ) -> Result<pb::Subscription, Error> {
        let body = pb::SubscribeRequest {
            owner: owner.to_string(),
            plan_id: plan.to_owned(),
            payment_method: method.to_owned(),
            request_id: String::new(),
        };
        let call = Call::new(manager(owner), "bursar.billing.v1.SubscriptionService/Subscribe");
        let asked = Asked::read(call, request_id, &body, |_, _| Some(order(plan, method)));
        Ok(Box::pin(self.subscriptions.subscribe(owner, &asked)).await?.message()?)
    }

    /// Buys a pack and gives the purchase as it is stored for a repetition.
    pub(super) async fn buy(
        &self,
        owner: OwnerId,
        pack: &str,
        method: &str,
        request_id: &str,
    ) -> Result<pb::Purchase, Error> {
        let body = pb::PurchasePackRequest {
            owner: owner.to_string(),
            pack_id: pack.to_owned(),
            payment_method: method.to_owned(),
            request_id: String::new(),
        };
        let call = Call::new(manager(owner), "bursar.billing.v1.PurchaseService/PurchasePack");
        let asked = Asked::read(call, request_id, &body, |_, _| Some(order(pack, method)));
        Ok(Box::pin(self.purchases.purchase(owner, &asked)).await?.message()?)
    }

    /// Limits, of which an account may have ten.
    pub(super) fn limits(&self) -> LimitUseCases {
        LimitUseCases::beside(&self.subscriptions, (&self.rules, &Costly::new()), 10)
    }

    /// What managers set.
    pub(super) fn settings(&self) -> SettingsUseCases {
        SettingsUseCases::beside(&self.subscriptions, (&self.rules, &Costly::new()))
    }

    /// Spends from the owner's pool.
    pub(super) async fn spend(&self, owner: OwnerId, amount: &str) {
        self.spend_often(owner, amount, 1).await;
    }

    /// Spends so much from the owner's pool so many times.
    pub(super) async fn spend_often(&self, owner: OwnerId, amount: &str, times: usize) {
        let (job, mut tx) = (charge(owner, amount), self.db.begin().await.unwrap());
        for _ in 0..times {
            self.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap().unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// What the owner can spend now.
    pub(super) async fn available(&self, owner: OwnerId) -> Credits {
        let rules = self.rules.clone();
        let accounts = AccountUseCases { db: self.db.clone(), clock: self.clock.clone(), rules, costly: Costly::new() };
        accounts.balance(owner, None, None).await.unwrap().balance.available
    }

    /// The owner's lots, the oldest first.
    pub(super) async fn lots(&self, owner: OwnerId) -> Vec<Lot> {
        let mut tx = self.db.read().await.unwrap();
        let mut lots = lots::page(&mut tx, owner, i64::MAX, 1_000).await.unwrap();
        lots.reverse();
        lots
    }

    /// The owner's lots in words: source, granted, remaining, effective and expiry.
    pub(super) async fn lot_lines(&self, owner: OwnerId) -> Vec<String> {
        let lots = self.lots(owner).await;
        let line = |lot: Lot| {
            let expires = lot.terms.expires_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
            format!("{} {} ({}) {} {expires}", lot.terms.source, lot.granted, lot.remaining, lot.terms.effective_at)
        };
        lots.into_iter().map(line).collect()
    }

    /// How many rows a table has.
    pub(super) async fn count(&self, table: &'static str) -> i64 {
        let mut tx = self.db.read().await.unwrap();
        let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        async {
            Ok::<i64, bursar_db::DbError>(
                bursar_db::on!(&mut tx, c => sqlx::query(count).fetch_one(c).await?.try_get(0)?),
            )
        }
        .await
        .unwrap()
    }

    /// Returns once somebody waits for a row that somebody else has locked. On SQLite, where whoever writes is alone, at once.
    pub(super) async fn somebody_waits(&self) {
        bursar_testkit::postgres::somebody_waits(&self.db).await;
    }

    /// Runs a statement behind the program's back.
    pub(super) async fn sql(&self, statement: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        async {
            Ok::<u64, bursar_db::DbError>(
                bursar_db::on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected()),
            )
        }
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// From now on everybody in Germany pays 19 percent of taxes, and that is where the owner is.
    pub(super) async fn taxes(&self, owner: OwnerId) {
        let rate = TaxRate { country: "DE".parse().unwrap(), name: "USt.".to_owned(), percent: "19".parse().unwrap() };
        let taxes = TaxProvider::table(vec![rate]).unwrap();
        self.subscriptions.till.invoices.taxes().replace(&Arc::new(taxes));
        let profile = BillingProfile { country: "DE".parse().ok(), ..BillingProfile::default() };
        let change = SettingsChange { profile: Some(profile), ..SettingsChange::default() };
        let mut tx = self.db.begin().await.unwrap();
        let before = settings::of(&mut tx, owner).await.unwrap();
        settings::put(&mut tx, owner, &before.with(&change), self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// From now on everybody's subscription is paid with this.
    pub(super) async fn pays_with(&self, method: &str) {
        let set = async {
            let mut tx = self.db.begin().await?;
            let sql = "UPDATE subscriptions SET payment_method = $1";
            on!(&mut tx, c => sqlx::query(sql).bind(method).execute(c).await?.rows_affected());
            tx.commit().await
        };
        set.await.unwrap();
    }

    /// From now on the provider can be asked for nothing.
    pub(super) fn fails(&mut self) {
        self.asks("http://127.0.0.1:1".to_owned(), "sk_test_none", Duration::from_secs(1));
    }

    /// From now on subscriptions are paid at a fake of Stripe, with the default of each of these people, who save a card there.
    pub(super) async fn pays_at(&mut self, fake: &FakeStripe, owners: impl Iterator<Item = OwnerId>) {
        self.asks(fake.url(), FakeStripe::KEY, Duration::from_secs(10));
        let payments = self.subscriptions.till.payments.clone();
        for (n, owner) in (1..).zip(owners) {
            let new = ToSave { id: id(n), owner, by: "usr" };
            let setup = payments.begin_setup(new, "https://example.com/done", self.clock.now()).await.unwrap();
            let method = fake.enters(&setup.action.url, stripe::Card::Good);
            let entered = fake.object(&method).unwrap();
            self.saves(owner, &token(entered["customer"].as_str().unwrap(), &method).unwrap()).await;
        }
        self.pays_with("").await;
    }

    fn asks(&mut self, url: String, key: &str, timeout: Duration) {
        let return_url = "https://example.com/back".to_owned();
        let account = Account { url, key: Secret::from(key), timeout, return_url };
        let payments = Payments::Stripe(Arc::new(Stripe::new(account).unwrap()));
        self.subscriptions.till.payments = payments.clone();
        self.subscriptions.cashier.till.payments = payments;
    }

    /// What a month's report comes to in dollars' millionths, of all accounts: earned and breakage, and what is left.
    pub(super) async fn reported(&self, month: &str) -> (i64, i64, i64) {
        let from = at(&format!("{month}-01T00:00:00Z"));
        let month = (from, from.add_months_anchored(1));
        let report = finance::report(&self.db, None, (month, self.clock.now()), Vec::<u8>::new()).await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
        let sums = report.sums.get("USD").copied().unwrap_or_default();
        (sums.earned, sums.breakage, sums.left_value)
    }

    /// How many months a program that knows nothing of plans that wait would begin. Nothing of it stays.
    pub(super) async fn renewed_by_an_older_program(&self) -> u64 {
        let renewed = async {
            let mut tx = self.db.begin().await?;
            let sql = "UPDATE subscriptions SET period_number = period_number + 1, failures = 0 WHERE state <> 'ENDED'";
            let renewed = on!(&mut tx, c => sqlx::query(sql).execute(c).await?.rows_affected());
            tx.rollback().await?;
            Ok::<_, DbError>(renewed)
        };
        renewed.await.unwrap()
    }

    /// Forgets answers as the job does that runs every hour; they must be older than a month by the clock.
    pub(super) async fn forget_requests(&self) {
        bursar_db::idempotency::prune(&self.db, self.clock.now()).await.unwrap();
        assert_eq!(self.count("requests").await, 0, "all of them are forgotten");
    }

    /// Sells other plans from now on; whoever has one keeps it.
    pub(super) fn sells(&mut self, plans: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), plans).unwrap();
        let (catalog, now) = (Arc::new(catalog::load(Some(file.path())).unwrap()), self.clock.now());
        let before = self.subscriptions.catalog.current();
        let version = CatalogVersion::new(before.present().version.get() + 1).unwrap();
        let next = before.followed_by(Arc::new(KeptCatalog { version, first_used_at: now, catalog }), now);
        let sold = CatalogSource::new(next).handle();
        self.subscriptions.catalog = sold.clone();
        self.subscriptions.cashier.catalog = sold;
    }

    /// The ledger of the owner adds up.
    pub(super) async fn assert_sound(&self, owner: OwnerId) {
        let verdict = self.verdict(owner).await;
        assert!(verdict.result.is_ok(), "{verdict:?}");
    }

    /// What an audit says of an account.
    pub(super) async fn verdict(&self, owner: OwnerId) -> audit::Verdict {
        audit::verify(&self.db, self.rules.current().key, owner, self.clock.now()).await.unwrap()
    }
}

/// A charge of the owner's pool.
pub(super) fn charge(owner: OwnerId, amount: &str) -> Job {
    let command = Command::Charge(ChargeCommand {
        cost: Cost::Amount(credits(amount)),
        attribution: Attribution { member: id(1), project: None, model: None },
        labels: Labels::default(),
        occurred_at: None,
    });
    Job { owner, actor: Actor::Job, request: Request::unnamed(command).with_renewal_settled() }
}

/// Who may manage the owner's billing: the person, at home. Nobody may for an organization, which has no member here.
pub(super) fn manager(owner: OwnerId) -> Caller {
    let user = match owner {
        OwnerId::User(user) => user,
        OwnerId::Organization(_) => id(1),
    };
    let (context, permission) = (owner, Permission::ManageBilling);
    Caller::User(UserCaller { context, permission, ..UserCaller::for_test(user) })
}

fn order(product: &str, method: &str) -> Order {
    Order { product: product.to_owned(), method: Payments::Sandbox.method(method).unwrap() }
}
