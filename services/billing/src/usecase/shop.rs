//! A shop for tests: the built-in catalog, a test clock and a till over a database of the test's own.

use std::sync::Arc;
use std::time::Duration;

use bursar_db::Db;
use bursar_events::{Feed, Outbox};
use bursar_id::OwnerId;
use bursar_members::Members;
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, AuthMethods, Call, Caller, Mutations, Permission, UserCaller};
use bursar_secret::Entropy;
use bursar_testkit::{TestDb, at, credits, id};
use bursar_time::{Clock, Monotonic};
use sqlx::Row;

use super::access::Access;
use super::accounts::AccountUseCases;
use super::audit;
use super::costly::Costly;
use super::orders::{Order, Till};
use super::purchases::PurchaseUseCases;
use super::subscriptions::SubscriptionUseCases;
use crate::catalog;
use crate::domain::{
    Actor, Attribution, CatalogVersion, ChargeCommand, Command, Cost, Labels, Lot, OperationKey, Request, Rules,
    Spending,
};
use crate::error::Error;
use crate::lane::{Batcher, Job, RulesHandle, RulesSource};
use crate::payment::Payments;
use crate::store::{MIGRATIONS, lots};

/// The use cases under test and what they stand on.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) subscriptions: SubscriptionUseCases,
    pub(super) purchases: PurchaseUseCases,
    rules: RulesHandle,
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

    /// Opens by a clock.
    pub(super) async fn open_by(db: &TestDb, clock: Clock) -> Self {
        let db = db.open(&MIGRATIONS).await;
        let entropy = Entropy::seeded(7);
        let catalog = Arc::new(catalog::load(None).unwrap());
        let access = Access::new(Members::new(db.clone(), feed("organization")), feed("identity"));
        let source = Arc::new(RulesSource::new(Rules {
            rates: catalog.rates().clone(),
            catalog_version: CatalogVersion::new(1).unwrap(),
            spending: Spending::UsersAndServices,
            personal_accounts: true,
            max_hold: Rules::MAX_HOLD,
            max_open_holds: Rules::MAX_OPEN_HOLDS,
            key: OperationKey::new([7; 32]),
        }));
        let rules = source.handle();
        let batcher = Batcher::new(db.clone(), clock.clone(), rules.clone());
        let till = Till { db: db.clone(), clock: clock.clone(), payments: Payments::Sandbox, batcher };
        let outbox = Outbox::new("billing", db.clone(), clock.clone(), entropy.clone());
        let mutations = Mutations::new(db.clone(), clock.clone(), entropy.clone(), outbox.clone()).telling();
        let subscriptions = SubscriptionUseCases {
            access: access.clone(),
            till: till.clone(),
            entropy: entropy.clone(),
            catalog: Arc::clone(&catalog),
            mutations: mutations.clone(),
            outbox,
        };
        let purchases = PurchaseUseCases { access, till, entropy, catalog, mutations };
        Self { db, clock, subscriptions, purchases, rules, source }
    }

    /// From now on people have no credits outside of organizations.
    pub(super) fn close_personal_accounts(&self) {
        self.source.change(|rules| rules.personal_accounts = false);
    }

    pub(super) fn set(&self, now: &str) {
        self.clock.set(at(now)).unwrap();
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
        Ok(self.subscriptions.subscribe(owner, &asked).await?.message()?)
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
        Ok(self.purchases.purchase(owner, &asked).await?.message()?)
    }

    /// Spends from the owner's pool.
    pub(super) async fn spend(&self, owner: OwnerId, amount: &str) {
        let command = Command::Charge(ChargeCommand {
            cost: Cost::Amount(credits(amount)),
            attribution: Attribution { member: id(1), project: None, model: None },
            labels: Labels::default(),
            occurred_at: None,
        });
        let job = Job { owner, actor: Actor::Job, request: Request::unnamed(command).with_renewal_settled() };
        let mut tx = self.db.begin().await.unwrap();
        let answer = self.subscriptions.till.batcher.apply(&mut tx, &job).await.unwrap();
        tx.commit().await.unwrap();
        answer.unwrap();
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

    /// Forgets answers as the job does that runs every hour; they must be older than a month by the clock.
    pub(super) async fn forget_requests(&self) {
        bursar_db::idempotency::prune(&self.db, self.clock.now()).await.unwrap();
        assert_eq!(self.count("requests").await, 0, "all of them are forgotten");
    }

    /// The ledger of the owner adds up.
    pub(super) async fn assert_sound(&self, owner: OwnerId) {
        let verdict = audit::verify(&self.db, self.rules.current().key, owner).await.unwrap();
        assert!(verdict.result.is_ok(), "{:?}", verdict.result);
    }
}

/// Who may manage the owner's billing: the person, at home. Nobody may for an organization, which has no member here.
fn manager(owner: OwnerId) -> Caller {
    let user = match owner {
        OwnerId::User(user) => user,
        OwnerId::Organization(_) => id(1),
    };
    Caller::User(UserCaller {
        user,
        session: id(1),
        branch: None,
        context: owner,
        role: None,
        membership_version: 0,
        membership_incarnation: 0,
        email: "u@example.com".into(),
        email_verified: true,
        authenticated_at: None,
        methods: AuthMethods::default(),
        operator: None,
        key: None,
        permission: Permission::ManageBilling,
    })
}

fn order(product: &str, method: &str) -> Order {
    Order { product: product.to_owned(), method: Payments::Sandbox.method(method).unwrap() }
}
