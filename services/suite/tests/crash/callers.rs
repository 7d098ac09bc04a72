//! Callers that charge one pool as fast as they are answered, and never forget what they have not heard of.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bursar_proto::billing::v1::ChargeRequest;
use bursar_testkit::{Client, Refusal};
use tokio::{sync::Notify, task::JoinSet};
use tonic::{Code, Request, Status};

use crate::support::{once, spend, waiting::PATIENCE};

/// How many call at once.
pub(crate) const CALLERS: usize = 64;
/// How long a caller waits for one answer.
const ONE_CALL: Duration = Duration::from_secs(2);
/// Amounts that callers charge in turn, so that mixed-up answers show.
const AMOUNTS: [&str; 4] = ["0.25", "1", "0.000001", "2.5"];

/// What all callers together know.
#[derive(Default)]
pub(crate) struct Known {
    /// Charges that were answered: request id → id and amount.
    pub(crate) acknowledged: BTreeMap<String, (String, String)>,
    /// Requests that were sent and not answered.
    pub(crate) unanswered: Vec<ChargeRequest>,
}

/// A crowd of callers of one pool.
pub(crate) struct Crowd {
    owner: String,
    known: Arc<Mutex<Known>>,
    answered: Arc<AtomicU64>,
    /// Told at every answer.
    news: Arc<Notify>,
    next: Arc<AtomicU64>,
}

impl Crowd {
    /// Callers that will charge this pool.
    pub(crate) fn of(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            known: Arc::default(),
            answered: Arc::default(),
            news: Arc::default(),
            next: Arc::default(),
        }
    }

    /// How many answers there were so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until there were `count` answers.
    pub(crate) async fn until_answered(&self, count: u64) {
        let enough = async {
            loop {
                let news = self.news.notified();
                if self.answered() >= count {
                    return;
                }
                news.await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, enough).await;
        assert!(in_time.is_ok(), "only {} of {count} charges were answered within {PATIENCE:?}", self.answered());
    }

    /// Sets everybody charging through the clients, in turn, until [`Running::stop`].
    pub(crate) fn start(&self, clients: &[Client]) -> Running {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for caller in 0..CALLERS {
            let client = clients[caller % clients.len()].clone();
            let (owner, over) = (self.owner.clone(), Arc::clone(&over));
            let (known, next) = (Arc::clone(&self.known), Arc::clone(&self.next));
            let (answered, news) = (Arc::clone(&self.answered), Arc::clone(&self.news));
            tasks.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let amount = AMOUNTS[usize::try_from(number).expect("a count") % AMOUNTS.len()];
                    let request = once(&format!("r{number}"), spend(&owner, amount));
                    let outcome = charge(&client, request.clone()).await;
                    let mut known = known.lock().expect("nobody panics with it");
                    match outcome {
                        Ok(id) => {
                            known.acknowledged.insert(request.request_id, (id, request.amount));
                            answered.fetch_add(1, Ordering::Relaxed);
                            news.notify_waiters();
                        }
                        Err(status) => {
                            assert!(may_be_lost(&status), "{request:?}: {:#?}", Refusal::of(&status));
                            known.unanswered.push(request);
                            // Whoever is not answered waits until asked to go on.
                            return;
                        }
                    }
                }
            });
        }
        Running { over, tasks }
    }

    /// Asks again for everything unanswered, with the same ids, until all is answered. Returns how much it was.
    pub(crate) async fn ask_again(&self, clients: &[Client]) -> usize {
        let unanswered = std::mem::take(&mut self.known.lock().expect("nobody panics with it").unanswered);
        let mut tasks = JoinSet::new();
        for (caller, request) in unanswered.into_iter().enumerate() {
            let client = clients[caller % clients.len()].clone();
            tasks.spawn(async move {
                let begin = Instant::now();
                loop {
                    match charge(&client, request.clone()).await {
                        Ok(id) => return (request, id),
                        Err(status) => {
                            assert!(may_be_lost(&status), "{request:?}: {:#?}", Refusal::of(&status));
                            assert!(begin.elapsed() < PATIENCE, "no answer to {request:?}: {status:?}");
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            });
        }
        let answers = tasks.join_all().await;
        let count = answers.len();
        let mut known = self.known.lock().expect("nobody panics with it");
        for (request, id) in answers {
            known.acknowledged.insert(request.request_id, (id, request.amount));
        }
        count
    }

    /// What was answered so far: request id → id and amount.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, (String, String)> {
        let known = self.known.lock().expect("nobody panics with it");
        assert!(known.unanswered.is_empty(), "ask again first");
        known.acknowledged.clone()
    }
}

/// Callers at work.
pub(crate) struct Running {
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Everybody finishes the call at hand.
    pub(crate) async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

async fn charge(client: &Client, charge: ChargeRequest) -> Result<String, Status> {
    let mut request = Request::new(charge);
    request.set_timeout(ONE_CALL);
    let answer = client.credits().charge(request).await?.into_inner();
    Ok(answer.charge.expect("an answer has its charge").id)
}

/// Whether the caller cannot know from this what became of the request.
pub(crate) fn may_be_lost(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Aborted
    ) || (status.code() == Code::ResourceExhausted && Refusal::of(status).reason == "OVERLOADED")
        || (status.code() == Code::Internal && Refusal::of(status).reason.is_empty())
}
