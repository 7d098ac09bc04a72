//! By whom a bucket is asked where the settings name no key: somebody else tells it, a metadata server or a cloud's own sign-in,
//! and may keep silent.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use object_store::{CredentialProvider, Error};
use tokio::time::{Instant, timeout};

/// How long it may take to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// For how long nobody is asked again once that has failed.
const GIVEN_UP_FOR: Duration = Duration::from_secs(3);

/// Who asks, as it is told in time. What asks for it lets one wait for the other: without this each would wait for all before
/// it, too.
pub(super) struct Identity<C> {
    asked: Arc<dyn CredentialProvider<Credential = C>>,
    /// When it was not told last, and why.
    missed: Mutex<Option<(Instant, String)>>,
}

impl<C> Identity<C> {
    pub(super) fn new(asked: Arc<dyn CredentialProvider<Credential = C>>) -> Self {
        Self { asked, missed: Mutex::default() }
    }

    /// Why it is not told, for as long as that is believed.
    fn missed(&self) -> Option<String> {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.as_ref().filter(|(at, _)| at.elapsed() < GIVEN_UP_FOR).map(|(_, why)| why.clone())
    }

    fn remember(&self, missed: Option<&Error>) {
        let missed = missed.map(|error| (Instant::now(), error.to_string()));
        *self.missed.lock().unwrap_or_else(PoisonError::into_inner) = missed;
    }
}

impl<C> fmt::Debug for Identity<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl<C: Send + Sync + 'static> CredentialProvider for Identity<C> {
    type Credential = C;

    fn get_credential<'a, 'b>(&'a self) -> BoxFuture<'b, object_store::Result<Arc<C>>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            if let Some(why) = self.missed() {
                return Err(untold(why));
            }
            let told = timeout(TOLD_WITHIN, self.asked.get_credential()).await;
            let told =
                told.unwrap_or_else(|_| Err(untold(format!("not told within {} seconds", TOLD_WITHIN.as_secs()))));
            self.remember(told.as_ref().err());
            told
        })
    }
}

fn untold(why: String) -> Error {
    Error::Generic { store: "identity", source: why.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Says nothing, or at once that there is nobody; counts who asks.
    #[derive(Debug, Default)]
    struct Unknown {
        is_silent: bool,
        asked: AtomicU32,
    }

    impl CredentialProvider for Unknown {
        type Credential = ();

        fn get_credential<'a, 'b>(&'a self) -> BoxFuture<'b, object_store::Result<Arc<()>>>
        where
            'a: 'b,
            Self: 'b,
        {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                if self.is_silent {
                    std::future::pending::<()>().await;
                }
                Err(untold("nobody".to_owned()))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_who_asks_is_given_up_and_left_alone_for_a_while() {
        for is_silent in [true, false] {
            let unknown = Arc::new(Unknown { is_silent, ..Unknown::default() });
            let told: Arc<dyn CredentialProvider<Credential = ()>> = Arc::<Unknown>::clone(&unknown);
            let identity = Identity::new(told);
            for asked in [1, 1, 2] {
                let began = Instant::now();
                identity.get_credential().await.expect_err("nobody");
                assert!(began.elapsed() <= TOLD_WITHIN + Duration::from_millis(10), "{:?}", began.elapsed());
                assert_eq!(unknown.asked.load(Ordering::Relaxed), asked, "{is_silent}");
                tokio::time::advance(GIVEN_UP_FOR / 2 + Duration::from_millis(1)).await;
            }
        }
    }
}
