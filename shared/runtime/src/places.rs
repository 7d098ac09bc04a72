//! Places: how many connections a port bears, or streams that ask for no account, and how many of them one address has.
//!
//! Whoever comes first must not take all of them: an address (an IPv6 one by its /48) may have as many as are left for
//! everybody else ([`has_room`]). One alone gets half of them, the next half of what is left then; what a connection has taken
//! does not shrink when others come, so a dozen addresses can take all of them (thirteen all 4,096 of a gRPC port, ten all 512
//! of one of HTTP/1.1). Against those the network has to say who may reach the port.
//!
//! On gRPC ports that holds for loopback, ingresses and the product's own services too: over HTTP/2 the calls of many share a
//! connection, and half of the places is more than one of them needs. On the ports of HTTP/1.1 each request has a connection
//! of its own. To that for webhooks everybody may come through one ingress: one that is among `trusted_proxies` may have all of
//! its places ([`Places::behind`]). The operations port is asked by a few, each for a moment.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bursar_rpc::{Origin, Site, TrustedProxies, has_room};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter, UpDownCounter},
};
use tokio::time::Instant;

/// The log says at most so often that places are short: whoever causes it could fill the disk otherwise.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A connection to a port.
    Connections,
    /// A stream on one that no layer of a service's looks at.
    Streams,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Streams => "streams",
        }
    }
}

/// The places of one port. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    most: usize,
    taken: Mutex<Taken>,
    /// Who may have all of them.
    unshared: TrustedProxies,
    kind: Kind,
    port: &'static str,
    meters: Meters,
}

/// How many are taken, and how many by whom.
#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<Site, usize>,
    /// Whoever waits until there is a free one.
    waiting: Option<Waker>,
    /// When the log was told last that they are short.
    told: Option<Instant>,
}

impl Taken {
    /// Whether the log may be told again.
    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if may {
            self.told = Some(now);
        }
        may
    }
}

impl Places {
    /// So many of a port, all free.
    pub(crate) fn new(most: usize, kind: Kind, port: &'static str, meter: &Meter) -> Self {
        Self::behind(TrustedProxies::default(), most, kind, port, meter)
    }

    /// The same, of which these proxies may have all: they bring everybody's.
    pub(crate) fn behind(unshared: TrustedProxies, most: usize, kind: Kind, port: &'static str, meter: &Meter) -> Self {
        let meters = Meters::new(meter, kind, port);
        Self(Arc::new(Inner { most, taken: Mutex::default(), unshared, kind, port, meters }))
    }

    /// One more for whoever is there; `None` if that has as many as would be left for everybody else.
    pub(crate) fn take(&self, origin: Origin) -> Option<Place> {
        let has_all = matches!(origin, Origin::Address(address) if self.0.unshared.contain(address));
        let site = origin.site();
        let mut taken = self.0.taken();
        let own = taken.of.get(&site).copied().unwrap_or_default();
        let left = self.0.most.saturating_sub(taken.all);
        if has_room(if has_all { 0 } else { own }, 1, left) {
            taken.of.insert(site, own + 1);
            taken.all += 1;
            drop(taken);
            self.0.meters.taken(1);
            return Some(Place { of: Arc::clone(&self.0), site });
        }
        let tells = taken.may_tell();
        drop(taken);
        self.0.meters.refused();
        if tells {
            let (kind, port, most) = (self.0.kind.name(), self.0.port, self.0.most);
            tracing::warn!(kind, port, most, origin = %site, "an address has as many places as it may: more are refused");
        }
        None
    }

    /// Ready while one is free. There is one who waits: the listener.
    pub(crate) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = self.0.taken();
        if taken.all < self.0.most {
            return Poll::Ready(());
        }
        taken.waiting = Some(cx.waker().clone());
        let tells = taken.may_tell();
        drop(taken);
        if tells {
            let (kind, port, most) = (self.0.kind.name(), self.0.port, self.0.most);
            tracing::warn!(kind, port, most, "all places are taken: whoever comes waits for one");
        }
        Poll::Pending
    }
}

impl Inner {
    /// Counting cannot be left half-way.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken; given back when it is dropped, however what has it ends.
pub(crate) struct Place {
    of: Arc<Inner>,
    site: Site,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        taken.all = taken.all.saturating_sub(1);
        // Whoever has nothing any more is not remembered.
        if let Entry::Occupied(mut of) = taken.of.entry(self.site) {
            if *of.get() > 1 {
                *of.get_mut() -= 1;
            } else {
                of.remove();
            }
        }
        let waiting = taken.waiting.take();
        drop(taken);
        self.of.meters.taken(-1);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// What operators see of it.
struct Meters {
    taken: UpDownCounter<i64>,
    refused: Counter<u64>,
    labels: [KeyValue; 2],
}

impl Meters {
    fn new(meter: &Meter, kind: Kind, port: &'static str) -> Self {
        Self {
            taken: meter
                .i64_up_down_counter("bursar.places.taken")
                .with_unit("{place}")
                .with_description("Connections, and streams that ask for no account, that are open, by kind and port.")
                .build(),
            refused: meter
                .u64_counter("bursar.places.refused")
                .with_unit("{place}")
                .with_description("Those that were refused, as one address had as many as it may, by kind and port.")
                .build(),
            labels: [KeyValue::new("kind", kind.name()), KeyValue::new("port", port)],
        }
    }

    fn taken(&self, more: i64) {
        self.taken.add(more, &self.labels);
    }

    fn refused(&self) {
        self.refused.add(1, &self.labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize) -> Places {
        Places::new(most, Kind::Connections, "test", &opentelemetry::global::meter("test"))
    }

    fn at(address: &str) -> Origin {
        Origin::at(address.parse().expect("an address"))
    }

    fn all_of(places: &Places, origin: Origin) -> Vec<Place> {
        std::iter::from_fn(|| places.take(origin)).collect()
    }

    #[test]
    fn one_address_leaves_places_for_others_and_gives_them_back() {
        let places = places(12);
        let first = all_of(&places, at("192.0.2.1"));
        assert_eq!(first.len(), 6, "half of them");
        let second = all_of(&places, at("2001:db8:1:2::1"));
        assert_eq!(second.len(), 3, "half of what is left");
        assert!(places.take(at("2001:db8:1:3::1")).is_none(), "whoever has one of a /48 has all");
        assert!(places.take(at("2001:db8:2:2::1")).is_some(), "there is room for a newcomer");
        drop((first, second));
        assert!(places.0.taken().of.is_empty(), "nobody is remembered");
        assert_eq!(all_of(&places, at("192.0.2.1")).len(), 6, "everything was given back");
    }

    #[test]
    fn a_proxy_that_is_trusted_may_have_all_places_and_nobody_beside_it() {
        let proxies = "10.0.0.0/8".parse().expect("a network");
        let meter = opentelemetry::global::meter("test");
        let places = Places::behind(proxies, 12, Kind::Connections, "test", &meter);
        let stranger = all_of(&places, at("192.0.2.1"));
        assert_eq!(stranger.len(), 6, "half of them");
        let behind = all_of(&places, at("10.1.2.3"));
        assert_eq!(behind.len(), 6, "all that are left");
        drop((stranger, behind));
        assert_eq!(all_of(&places, at("::ffff:10.1.2.3")).len(), 12, "however it is written");
        assert!(places.0.taken().of.is_empty(), "nobody is remembered");
    }

    #[test]
    fn whoever_waits_for_a_place_is_woken_when_there_is_one() {
        let places = places(2);
        let mut context = Context::from_waker(Waker::noop());
        let first = places.take(at("192.0.2.1")).expect("room");
        assert!(places.poll_free(&mut context).is_ready(), "one is free");
        let second = places.take(at("192.0.2.2")).expect("room");
        assert!(places.poll_free(&mut context).is_pending(), "all are taken");
        assert!(places.0.taken().waiting.is_some());
        drop(second);
        assert!(places.0.taken().waiting.is_none(), "it was woken");
        assert!(places.poll_free(&mut context).is_ready());
        drop(first);
    }
}
