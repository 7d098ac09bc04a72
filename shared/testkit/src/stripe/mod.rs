//! A fake of Stripe's API, as far as Bursar speaks it: customers, payment methods, checkout in setup mode, setup intents,
//! payment intents, refunds and disputes, in the documented shapes. It has the state that Stripe has, remembers idempotency
//! keys, refuses what Stripe refuses, and keeps the webhooks of what happened for a test to deliver: once, twice, late, in any
//! order, or unsigned.
//!
//! What goes wrong goes wrong on demand ([`Mishap`]).

mod api;
mod deliver;
mod objects;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::Router;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Barrier, task::JoinHandle};

pub use deliver::{deliver, post, signed};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing is done, and the answer is 503.
    Down,
    /// Nothing is done, and the answer is 500: for as long as its key is remembered, if it has one.
    Failed,
    /// It is done, and the connection breaks before the answer has come.
    Lost,
    /// It is done, and no answer comes.
    Slow,
    /// It is done, and the answer is a page that says something else.
    Rubbish,
    /// It is done, and the answer is megabytes of nothing.
    Endless,
}

/// Why nothing is done of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astray {
    /// The version of the API that is asked for is none any more.
    Version,
    /// The key is of another account, where nothing is of what was made here.
    Account,
    /// The key is none any more.
    Key,
    /// Whatever is to be paid is refused in this word. The rest goes on.
    Word(&'static str),
}

/// How a card behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// It pays.
    Good,
    /// It is declined, for this reason.
    Declined(&'static str),
    /// Its bank wants to see its owner each time (3-D Secure).
    Challenged,
    /// What it pays is on its way.
    Pending,
    /// Stripe refuses in this word to take what it is to pay, and no bank is asked.
    Refused(&'static str),
    /// Stripe refuses in this word to make an intent for it.
    Barred(&'static str),
}

/// A webhook that is to be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// The event's id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The event.
    pub event: Value,
}

impl Webhook {
    /// What is sent.
    pub fn body(&self) -> Vec<u8> {
        self.event.to_string().into_bytes()
    }
}

/// When everything is made, in seconds since 1970.
const CREATED: i64 = 1_767_225_600;

/// What the fake remembers.
#[derive(Default)]
pub(super) struct State {
    objects: BTreeMap<String, Value>,
    cards: BTreeMap<String, Card>,
    keys: BTreeMap<String, (String, u16, Value)>,
    events: Vec<Webhook>,
    mishaps: VecDeque<Option<Mishap>>,
    gate: Option<Arc<Barrier>>,
    astray: Option<Astray>,
    asked: Vec<String>,
    made: u64,
}

/// A running fake. Dropping it ends it.
#[derive(Clone)]
pub struct FakeStripe(Arc<Running>);

struct Running {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl std::fmt::Debug for FakeStripe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeStripe").field(&self.0.address).finish()
    }
}

impl FakeStripe {
    /// The key that it takes.
    pub const KEY: &str = "sk_test_fake";
    /// What it signs webhooks with.
    pub const SECRET: &str = "whsec_fake";
    /// The version of the API that it speaks.
    pub const VERSION: &str = "2025-03-31.basil";

    /// Starts one on a port of its own.
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    /// Starts one at an address.
    pub async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port for the fake");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let router = Router::new().fallback(api::answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self(Arc::new(Running { address, state, server }))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has this go wrong with each of the next requests, one after the other, or nothing.
    pub fn fails(&self, mishaps: impl IntoIterator<Item = Option<Mishap>>) {
        self.state().mishaps.extend(mishaps);
    }

    /// Has nothing go wrong any more.
    pub fn recovers(&self) {
        self.state().mishaps.clear();
    }

    /// From now on nobody is answered before so many wait for their answers.
    pub fn answers_together(&self, many: usize) {
        self.state().gate = Some(Arc::new(Barrier::new(many)));
    }

    /// Has whoever asks be astray from now on, or be right again.
    pub fn is_astray(&self, how: Option<Astray>) {
        self.state().astray = how;
    }

    /// A day has passed: all keys are forgotten.
    pub fn forgets_keys(&self) {
        self.state().keys.clear();
    }

    /// What has happened since it was asked last: to be delivered.
    pub fn webhooks(&self) -> Vec<Webhook> {
        std::mem::take(&mut self.state().events)
    }

    /// An event of a type of its own, about an object of the test's.
    pub fn event(&self, kind: &str, object: &Value) -> Webhook {
        self.state().tell(kind, object);
        self.state().events.pop().expect("what was just told")
    }

    /// The customer enters a card on the page at this address.
    pub fn enters(&self, page: &str, card: Card) -> String {
        self.state().enter(page, card)
    }

    /// What card a payment method is from now on.
    pub fn becomes(&self, method: &str, card: Card) {
        self.state().cards.insert(method.to_owned(), card);
    }

    /// The bank replaces a card: it has another last month and year from now on.
    pub fn renews(&self, method: &str, (month, year): (u32, u32)) {
        self.state().renew(method, (month, year));
    }

    /// Somebody removes a card in the dashboard, and its customer.
    pub fn removes(&self, method: &str) {
        self.state().remove(method);
    }

    /// The card is taken from its customer in the dashboard, who stays.
    pub fn detaches(&self, method: &str) {
        self.state().detach(method);
    }

    /// An object is not there any more.
    pub fn loses(&self, id: &str) {
        self.state().objects.remove(id);
    }

    /// The bank of a customer sends back what was given back last.
    pub fn refund_fails(&self, intent: &str) {
        self.state().fail_refund(intent);
    }

    /// The customer does what the bank asks for at this address, or fails to.
    pub fn authenticates(&self, page: &str, succeeds: bool) {
        let mut state = self.state();
        let is_it = |it: &&Value| it["next_action"]["redirect_to_url"]["url"] == *page;
        let intent = state.objects.values().find(is_it).map(|it| it["id"].clone()).expect("a page of the fake");
        state.settle(intent.as_str().expect("an id"), succeeds);
    }

    /// What was on its way has come, or has not.
    pub fn arrives(&self, intent: &str, succeeds: bool) {
        self.state().settle(intent, succeeds);
    }

    /// The customer disputes so much of a payment; gives the dispute's id.
    pub fn disputes(&self, intent: &str, amount: i64) -> String {
        self.state().dispute(intent, amount)
    }

    /// The bank decides a dispute (`won`, `lost`).
    pub fn decides(&self, dispute: &str, status: &str) {
        self.state().decide(dispute, status);
    }

    /// Somebody gives so much of a payment back in the dashboard.
    pub fn refunds(&self, intent: &str, amount: i64) {
        let form = [("payment_intent", intent), ("amount", &amount.to_string())];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (status, body) = self.state().refund(&form);
        assert_eq!(status, 200, "{body}");
    }

    /// An object as it is.
    pub fn object(&self, id: &str) -> Option<Value> {
        self.state().objects.get(id).cloned()
    }

    /// All objects of a kind (`payment_intent`, `customer`, …) in the order of their ids.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.state().objects.values().filter(|it| it["object"] == kind && it["deleted"] != true).cloned().collect()
    }

    /// What was taken from everybody and not given back, in the smallest unit of whatever currency.
    pub fn takings(&self) -> i64 {
        let all = self.all("charge");
        let sum = |name: &str| all.iter().map(|it| it[name].as_i64().unwrap_or_default()).sum::<i64>();
        sum("amount_captured") - sum("amount_refunded")
    }

    /// What was asked, as `METHOD /path`, in order.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }
}

impl State {
    /// An id that nothing else has. They sort by when they were made.
    fn id(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_fake{:08}", self.made)
    }

    fn put(&mut self, mut object: Value) -> Value {
        object["created"] = CREATED.into();
        let id = object["id"].as_str().expect("an id").to_owned();
        self.objects.insert(id, object.clone());
        object
    }

    fn tell(&mut self, kind: &str, object: &Value) {
        let id = self.id("evt");
        let event = json!({
            "id": id, "object": "event", "api_version": FakeStripe::VERSION, "created": CREATED, "type": kind,
            "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
            "request": {"id": null, "idempotency_key": null},
        });
        self.events.push(Webhook { id, kind: kind.to_owned(), event });
    }
}
