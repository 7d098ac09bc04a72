//! Services that hand on people's calls and do not say where the people are: whatever is counted by place counts all of them as
//! one, and nobody would notice before strangers keep each other from signing in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_id::ServiceAccountId;
use bursar_proto::access::MethodRule;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::time::Instant;

use crate::{Caller, Origin};

/// How often a service is told of in the log.
const EVERY: Duration = Duration::from_hours(1);
/// Services that are remembered as told of; while there are so many, others are only counted.
const MOST: usize = 1_024;

/// Counts such calls, and tells of the services.
#[derive(Debug)]
pub(crate) struct Unstated {
    calls: Counter<u64>,
    told: Mutex<HashMap<ServiceAccountId, Instant>>,
}

impl Unstated {
    pub(crate) fn new(meter: &Meter) -> Self {
        let calls = meter
            .u64_counter("bursar.origins.unstated")
            .with_unit("{call}")
            .with_description("People's calls that are counted for the place of a service, which does not say theirs.")
            .build();
        Self { calls, told: Mutex::default() }
    }

    fn note(&self, service: ServiceAccountId, method: &'static str) {
        self.calls.add(1, &[KeyValue::new("rpc.method", method)]);
        if self.is_news(service, Instant::now()) {
            tracing::warn!(
                %service,
                method,
                "a service hands on calls without bursar-client-address: all people behind it are counted as one place, and \
                 one of them can keep the others out"
            );
        }
    }

    /// Whether this service was not told of lately; it is from now on.
    fn is_news(&self, service: ServiceAccountId, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < EVERY;
        if told.get(&service).is_some_and(lately) {
            return false;
        }
        if told.len() >= MOST {
            told.retain(|_, at| lately(at));
        }
        let has_room = told.len() < MOST;
        if has_room {
            told.insert(service, now);
        }
        has_room
    }
}

/// What is to be noted once somebody counts a call's place.
#[derive(Clone, Debug)]
pub(crate) struct Unheard {
    unstated: Arc<Unstated>,
    service: ServiceAccountId,
    method: &'static str,
}

impl Unheard {
    /// Where a place that is counted would be a service's, though it is people who call. What a secret proves is the service's own
    /// call, and Bursar's services hand on nothing that is counted so.
    pub(crate) fn of(
        unstated: &Arc<Unstated>,
        (method, rule): (&'static str, &MethodRule),
        proven: &Caller,
        origin: Origin,
    ) -> Option<Self> {
        let Origin::Service(service) = origin else { return None };
        let own = proven.service().is_none_or(|service| service.role.is_bursars_own());
        (!own && !rule.proven_by_secret).then(|| Self { unstated: Arc::clone(unstated), service, method })
    }

    pub(crate) fn note(&self) {
        self.unstated.note(self.service, self.method);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u64) -> ServiceAccountId {
        ServiceAccountId::from_parts(n, [1; 10])
    }

    #[tokio::test]
    async fn each_service_is_told_of_once_an_hour_however_many_there_are() {
        let unstated = Unstated::new(&opentelemetry::global::meter("test"));
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let table = [(1, 0, true), (1, 1, false), (2, 1, true), (1, 3_599, false), (1, 3_600, true), (1, 3_601, false)];
        for (n, seconds, expected) in table {
            assert_eq!(unstated.is_news(account(n), later(seconds)), expected, "{n} after {seconds} s");
        }
        let told = (10..10_000).filter(|n| unstated.is_news(account(*n), later(3_602))).count();
        assert_eq!(told, MOST - 1, "one was told of within the hour");
        let kept = || unstated.told.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(kept(), MOST);
        assert!(unstated.is_news(account(20_000), later(10_000)), "there is room again");
        assert_eq!(kept(), 1);
    }
}
