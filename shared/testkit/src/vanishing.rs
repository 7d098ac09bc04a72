//! A mutation under which the database's host vanishes, at one step after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use crate::proxy::{Proxy, Vanish};

/// How soon after the database can be reached again everybody else is served.
const OTHERS_WITHIN: Duration = Duration::from_secs(2);

/// How long may take what is asked again until it is answered.
const AGAIN_WITHIN: Duration = Duration::from_mins(1);

/// A mutation has fewer steps: as many messages to the database.
const STEPS: u32 = 60;

/// Who asks for a mutation, where, and under which request id.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Whether a replica is asked whose host stays: the others' database lies behind the proxy.
    pub beside: bool,
    /// Each has an account of its own. The first two are those beside whom it happens.
    pub person: u64,
    /// What makes the mutation one.
    pub request_id: &'a str,
}

/// Asks for a mutation, as a new person each time, while the host vanishes at its first step, at its second, and so on, before
/// and after the server saw the step. Whoever asked hears within `answered_within`; two others, one at the same replica and one at
/// another, are served within two seconds of the database being reachable; and the same request id has one answer.
/// Gives the request ids back. `ask` answers with what is never the same for two mutations.
pub async fn at_every_step<A>(proxy: &Proxy, answered_within: Duration, ask: A) -> Vec<String>
where
    A: AsyncFn(Asking<'_>) -> Result<String, Status>,
{
    let mut asked = Vec::new();
    beside(&ask, "beforehand").await;
    for seen in [false, true] {
        for after in 0.. {
            assert!(after < STEPS, "it has only so many steps");
            let request_id = format!("{seen}-{after}");
            let mine = Asking { beside: false, person: 2 + asked.len() as u64, request_id: &request_id };
            proxy.arm(Vanish { after, seen });
            let (told, others) = beside_others(proxy, &ask, mine, answered_within).await;
            let over = proxy.disarm();
            let since = Instant::now();
            beside(&ask, &format!("{request_id} usually")).await;
            let usual = since.elapsed();
            if let Some(others) = others {
                assert!(others < OTHERS_WITHIN + usual, "{request_id}: others after {others:?}, usually {usual:?}");
            }
            if let Err(status) = &told {
                assert!(!over && is_unknown(status), "{request_id}: {status:?}");
            }
            asked.push((mine.person, request_id, told));
            if over {
                break;
            }
        }
    }
    let unknown = asked.iter().filter(|(.., told)| told.is_err()).count();
    assert!(unknown >= 4, "{unknown} of {} were never answered: it has more steps than that", asked.len());
    for (person, request_id, told) in &asked {
        let again = Asking { beside: false, person: *person, request_id };
        let once = until_answered(&ask, again).await;
        assert_eq!(until_answered(&ask, Asking { beside: true, ..again }).await, once, "{request_id}: the one answer");
        assert!(told.as_ref().is_ok_and(|told| *told == once) || told.is_err(), "{request_id}: {told:?}, then {once}");
    }
    asked.into_iter().map(|(_, request_id, _)| request_id).collect()
}

/// The mutation, and how long two others had to wait if the host vanished meanwhile.
async fn beside_others<A>(
    proxy: &Proxy,
    ask: &A,
    mine: Asking<'_>,
    within: Duration,
) -> (Result<String, Status>, Option<Duration>)
where
    A: AsyncFn(Asking<'_>) -> Result<String, Status>,
{
    let answered = AtomicBool::new(false);
    let asking = async {
        let since = Instant::now();
        let told = ask(mine).await;
        answered.store(true, Ordering::Relaxed);
        assert!(since.elapsed() < within, "{}: answered after {:?}", mine.request_id, since.elapsed());
        told
    };
    let others = async {
        while !proxy.has_vanished() {
            if answered.load(Ordering::Relaxed) {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.is_answered().await;
        let since = Instant::now();
        beside(ask, mine.request_id).await;
        Some(since.elapsed())
    };
    tokio::join!(asking, others)
}

/// The two others.
async fn beside<A>(ask: &A, request_id: &str)
where
    A: AsyncFn(Asking<'_>) -> Result<String, Status>,
{
    let here = Asking { beside: false, person: 0, request_id };
    let there = Asking { beside: true, person: 1, request_id };
    tokio::join!(until_answered(ask, here), until_answered(ask, there));
}

/// Asks until the answer is one: what is unknown or not possible at the moment is asked again, under the same id.
async fn until_answered<A>(ask: &A, asking: Asking<'_>) -> String
where
    A: AsyncFn(Asking<'_>) -> Result<String, Status>,
{
    let since = Instant::now();
    loop {
        match ask(asking).await {
            Ok(answer) => return answer,
            Err(status) => assert!(is_unknown(&status) && since.elapsed() < AGAIN_WITHIN, "{asking:?}: {status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
