//! Who lives through the year by the service: a person and the organization that the person's plan may move to. Each does what its
//! life says.

use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::event::v1::OrganizationCreated;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1 as testing;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, id};

use super::life::Life;
use super::mind::Deed;
use super::sold::decimal;
use crate::contracts::{contract, paid_with};
use crate::given_back::settles;
use crate::moving::moving;
use crate::topping_up::{set, without};
use crate::words::{buy, cancel, change_to, resume, set_seats, spend, subscribe};
use crate::world::{Person, World, until};

fn usd(cents: u64) -> Money {
    let (units, cents) = (i64::try_from(cents / 100).unwrap(), i32::try_from(cents % 100).unwrap());
    Money { currency_code: "USD".to_owned(), units, nanos: cents * 10_000_000 }
}

/// A person and an organization of theirs, which has nothing until their plan moves there.
pub(super) struct Household {
    home: Account,
    team: Account,
}

/// Somebody who lives through it.
pub(super) struct Account {
    pub(super) person: Person,
    life: Life,
    /// The card that pays now; empty where there is none.
    card: String,
    /// The payment of the pack that was bought last.
    bought: String,
    /// What a person's plan may move to.
    team: Option<OwnerId>,
}

impl World {
    async fn saves(&self, owner: OwnerId, method: &str) -> String {
        let request = testing::SaveMethodRequest {
            owner: owner.to_string(),
            payment_method: method.to_owned(),
            exp_month: 12,
            exp_year: 2035,
        };
        self.nobody().0.sandbox().save_method(request).await.unwrap().into_inner().payment_method.unwrap().id
    }

    /// Billing is told that a person has an organization of their own; gives them in it.
    async fn founds(&self, number: u64, person: &Person) -> Person {
        let (organization, user): (OrganizationId, _) = (id(number), person.user);
        let owner = OwnerId::Organization(organization);
        let (organization_id, owner_user_id) = (organization.to_string(), user.to_string());
        let created = OrganizationCreated { organization_id, owner_user_id, ..Default::default() };
        self.tell(Payload::OrganizationCreated(created)).await;
        self.announce(owner, user, Some(Role::Owner), 1).await;
        self.member(number, owner, Role::Owner, 1)
    }
}

impl Household {
    pub(super) async fn of(world: &World, number: u64) -> Self {
        let person = world.person(number);
        let boss = world.founds(number, &person).await;
        let card = world.saves(person.owner, "sandbox_ok").await;
        let home = Account { card, team: Some(boss.owner), ..Account::of(person, Life::of(number)) };
        Self { home, team: Account::of(boss, Life::of_nobody(number)) }
    }

    /// Both say where they are, once billing knows them.
    pub(super) async fn settles_down(&self, world: &World) {
        for account in [&self.home, &self.team] {
            account.says_where_it_is(account.life.papers.country.code).await;
            assert_eq!(world.available(account.person.owner).await, "0");
        }
    }

    /// Both do what their lives say for this day.
    pub(super) async fn lives(&mut self, world: &World, day: usize) {
        Box::pin(self.home.lives(world, day)).await;
        if let Some(heritage) = self.home.life.leaves() {
            self.team.life.takes_over(heritage, day);
            self.team.card = self.team.only_card().await;
        }
        Box::pin(self.team.lives(world, day)).await;
    }

    pub(super) async fn is_as_its_lives_say(&self, world: &World) {
        for account in [&self.home, &self.team] {
            account.is_as_its_life_says(world).await;
        }
    }

    /// Everything that is left of both.
    pub(super) async fn everything(&self, world: &World) -> Vec<String> {
        let mut told = self.home.everything(world).await;
        told.extend(self.team.everything(world).await);
        told
    }
}

impl Account {
    /// Somebody with nothing.
    fn of(person: Person, life: Life) -> Self {
        Self { person, life, card: String::new(), bought: String::new(), team: None }
    }

    async fn lives(&mut self, world: &World, day: usize) {
        for deed in self.life.deeds(day) {
            self.does(world, &deed).await;
        }
    }

    async fn does(&mut self, world: &World, deed: &Deed) {
        let (person, owner) = (&self.person, self.person.owner);
        match deed {
            Deed::Subscribes(plan) => {
                let request = pb::SubscribeRequest { payment_method: self.card.clone(), ..subscribe(owner, plan) };
                person.subscribe(request).await.unwrap();
            }
            Deed::Agrees => {
                // What the model's enterprise has.
                world.operator().set_contract(paid_with("invoice", contract(owner, 900))).await.unwrap();
            }
            Deed::Changes(plan) => {
                person.change_plan(change_to(owner, plan)).await.unwrap();
            }
            Deed::SetsSeats(seats) => {
                person.set_seats(set_seats(owner, *seats)).await.unwrap();
            }
            Deed::Moves => {
                let request = moving(owner, self.team.unwrap());
                world.service(ServiceRole::Organization).move_subscription(request).await.unwrap();
            }
            Deed::Spends { credits, enough } => {
                let told = person.charge(spend(owner, &credits.to_string())).await;
                let reason = told.err().map(|status| Refusal::of(&status).reason);
                assert_eq!(reason.is_none(), *enough, "{owner} spends {credits}: {reason:?}");
            }
            Deed::Buys(pack) => {
                let bought = person.purchase_pack(buy(owner, pack)).await.unwrap();
                self.bought = bought.payment.unwrap().id;
            }
            Deed::Regrets(cents) => self.regrets(world, self.bought.clone(), *cents).await,
            Deed::RegretsTheMonth(cents) => self.regrets(world, self.paid_month().await, *cents).await,
            Deed::IsDisputed => settles(world, &self.bought, testing::Outcome::Disputed).await,
            Deed::IsDecided { won: true } => settles(world, &self.bought, testing::Outcome::DisputeWon).await,
            Deed::IsDecided { won: false } => settles(world, &self.bought, testing::Outcome::DisputeLost).await,
            Deed::TopsUp(pack) => self.tops_up(pack).await,
            Deed::Emigrates(country) => self.says_where_it_is(country).await,
            Deed::CancelsAtTheEnd => {
                person.cancel(cancel(owner, pb::CancelAt::PeriodEnd)).await.unwrap();
            }
            Deed::Resumes => {
                person.resume(resume(owner)).await.unwrap();
            }
            Deed::CancelsNow => {
                person.cancel(cancel(owner, pb::CancelAt::Now)).await.unwrap();
            }
            Deed::CardFails => self.pays_with(world, "sandbox_declined").await,
            Deed::CardIsMended => self.pays_with(world, "sandbox_ok").await,
        }
    }

    /// In which country it is, and where its days begin.
    async fn says_where_it_is(&self, country: &str) {
        let profile = pb::BillingProfile { country: country.to_owned(), ..Default::default() };
        let time_zone = self.life.papers.zone.to_owned();
        let settings = pb::AccountSettings { billing_profile: Some(profile), time_zone, ..Default::default() };
        let owner = self.person.owner.to_string();
        let change = pb::UpdateAccountSettingsRequest { owner, settings: Some(settings), ..Default::default() };
        self.person.update_account_settings(change).await.unwrap();
    }

    /// The payment of the month that began last.
    async fn paid_month(&self) -> String {
        let owner = self.person.owner.to_string();
        let list = pb::ListPaymentsRequest { owner, page_size: 100, ..Default::default() };
        let payments = self.person.list_payments(list).await.unwrap().payments;
        let is_month =
            |it: &&pb::Payment| it.state() == pb::PaymentState::Paid && it.purpose() != pb::PaymentPurpose::Purchase;
        payments.iter().find(is_month).expect("a month that was paid").id.clone()
    }

    /// Has so many cents of what was paid given back, or the rest of it.
    async fn regrets(&self, world: &World, payment_id: String, cents: Option<u64>) {
        let owner = self.person.owner.to_string();
        let back = pb::RefundPaymentRequest { owner, payment_id, amount: cents.map(usd), ..Default::default() };
        world.operator().refund_payment(back).await.unwrap();
    }

    /// Has a pack bought by itself, since any balance is below its threshold, and then no other.
    async fn tops_up(&self, pack: &str) {
        let (person, owner) = (&self.person, self.person.owner);
        let lots = self.lots().await.len();
        let top_up = pb::AutoTopUp {
            enabled: true,
            threshold: "1000000".to_owned(),
            pack_id: pack.to_owned(),
            monthly_ceiling: Some(usd(100_000_000)),
            payment_method: "sandbox_ok".to_owned(),
            stopped_by: String::new(),
        };
        person.update_account_settings(set(owner, top_up)).await.unwrap();
        until("the pack is bought", async || self.lots().await.len() > lots).await;
        person.update_account_settings(without(owner)).await.unwrap();
    }

    /// Another card instead of the one there was.
    async fn pays_with(&mut self, world: &World, method: &str) {
        let owner = self.person.owner;
        let new = world.saves(owner, method).await;
        let prefer = pb::SetDefaultPaymentMethodRequest {
            owner: owner.to_string(),
            payment_method_id: new.clone(),
            ..Default::default()
        };
        self.person.set_default_payment_method(prefer).await.unwrap();
        let remove = pb::RemovePaymentMethodRequest {
            owner: owner.to_string(),
            payment_method_id: std::mem::replace(&mut self.card, new),
            ..Default::default()
        };
        self.person.remove_payment_method(remove).await.unwrap();
    }

    /// The card that has come with a plan.
    async fn only_card(&self) -> String {
        let list = pb::ListPaymentMethodsRequest { owner: self.person.owner.to_string(), ..Default::default() };
        let saved = self.person.list_payment_methods(list).await.unwrap().payment_methods;
        assert_eq!(saved.len(), 1, "one has come: {saved:?}");
        saved[0].id.clone()
    }

    async fn is_as_its_life_says(&self, world: &World) {
        let (owner, life) = (self.person.owner, &self.life);
        assert_eq!(self.lots().await, life.lots(), "lots of {owner}: {life:#?}");
        assert_eq!(self.invoices().await, life.invoices(), "invoices of {owner}: {life:#?}");
        assert_eq!(self.subscription().await, life.subscription(), "subscription of {owner}: {life:#?}");
        assert_eq!(world.available(owner).await, decimal(life.available()), "credits of {owner}: {life:#?}");
        world.audit(owner).await;
    }
}
