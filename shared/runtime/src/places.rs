//! Places: how many connections a port bears, or streams that ask for no account, and how many of them one address has.
//!
//! Whoever comes first must not take all of them: an address (an IPv6 one by its /48) may have as many as are left for
//! everybody else ([`has_room`](bursar_rpc::has_room)). One alone gets half of them, the next half of what is left then, and a
//! dozen would have all (thirteen all 4,096 of a gRPC port, ten all 512 of one of HTTP/1.1). So of those who keep them one
//! connection gives way to whoever has clearly fewer ([`Holders`]). It ends as all do when the program stops, and has its own
//! place meanwhile, of a small [reserve](RESERVE) beside the others: whoever comes waits for nobody, and how many sockets are open
//! stays bounded. Streams give way to nobody: of those a dozen can have all.
//!
//! On gRPC ports that holds for loopback, ingresses and the product's own services too: over HTTP/2 the calls of many share a
//! connection, and half of the places is more than one of them needs. On the ports of HTTP/1.1 each request has a connection
//! of its own. To that for webhooks everybody may come through one ingress: one that is among `trusted_proxies` may have all of
//! its places ([`Places::behind`]). The operations port is asked by a few, each for a moment.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bursar_rpc::{Origin, TrustedProxies};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter, UpDownCounter},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::holders::{Entered, Holders};

/// The log says at most so often that places are short: whoever causes it could fill the disk otherwise.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// For so many connections that a port bears one more may be on its way out beside them.
const RESERVE: usize = 64;

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
struct Taken {
    holders: Holders,
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

    /// Whoever waits, to be woken: there is a place by now.
    fn wakes(&mut self) -> Option<Waker> {
        if self.waiting.is_some() && self.holders.may_enter() { self.waiting.take() } else { None }
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
        let reserve = match kind {
            Kind::Connections => (most / RESERVE).max(1),
            Kind::Streams => 0,
        };
        let taken = Taken { holders: Holders::new(most, reserve), waiting: None, told: None };
        Self(Arc::new(Inner { most, taken: Mutex::new(taken), unshared, kind, port, meters }))
    }

    /// One more for whoever is there; `None` if that has as many as would be left for everybody else, and nobody so many more
    /// that one of those gives way.
    pub(crate) fn take(&self, origin: Origin) -> Option<Place> {
        let has_all = matches!(origin, Origin::Address(address) if self.0.unshared.contain(address));
        let site = origin.site();
        let mut taken = self.0.taken();
        let entered = taken.holders.enter(site, has_all);
        let is_short = entered.as_ref().is_none_or(|entered| entered.instead.is_some());
        let tells = is_short && taken.may_tell();
        drop(taken);
        let (kind, port, most) = (self.0.kind.name(), self.0.port, self.0.most);
        let Some(Entered { number, told, instead }) = entered else {
            self.0.meters.refused();
            if tells {
                tracing::warn!(kind, port, most, origin = %site, "an address has as many places as it may: more are refused");
            }
            return None;
        };
        self.0.meters.taken(1);
        if let Some(giver) = instead {
            giver.told.cancel();
            self.0.meters.gave_way();
            if tells {
                let (origin, newcomer) = (giver.site, site);
                tracing::warn!(kind, port, most, %origin, %newcomer, "places are short: of an address with many one gives way");
            }
        }
        Some(Place { of: Arc::clone(&self.0), number, told })
    }

    /// Ready while one is free, or would give way to somebody who has none. There is one who waits: the listener.
    pub(crate) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut taken = self.0.taken();
        if taken.holders.may_enter() {
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

    /// Changes who has what, and wakes whoever has waited for that.
    fn change(&self, change: impl FnOnce(&mut Holders)) {
        let mut taken = self.taken();
        change(&mut taken.holders);
        let waiting = taken.wakes();
        drop(taken);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

/// A place that is taken; given back when it is dropped, however what has it ends.
pub(crate) struct Place {
    of: Arc<Inner>,
    number: u64,
    told: CancellationToken,
}

impl Place {
    /// What is done there.
    pub(crate) fn work(&self) -> Work {
        Work { of: Arc::clone(&self.of), number: self.number, told: self.told.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.change(|holders| holders.leave(self.number));
        self.of.meters.taken(-1);
        // Whoever serves what had it need not wait any more.
        self.told.cancel();
    }
}

/// What is done at a place: while a call is in work there, it gives way to nobody.
#[derive(Clone)]
pub(crate) struct Work {
    of: Arc<Inner>,
    number: u64,
    told: CancellationToken,
}

impl Work {
    /// A call begins.
    pub(crate) fn begin(&self) -> Call {
        self.of.change(|holders| holders.begin(self.number));
        Call { of: Arc::clone(&self.of), number: self.number }
    }

    /// Comes when the place shall give way, or is given back.
    pub(crate) async fn told(&self) {
        self.told.cancelled().await;
    }
}

/// A call in work; it has ended when this is dropped.
pub(crate) struct Call {
    of: Arc<Inner>,
    number: u64,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.of.change(|holders| holders.end(self.number));
    }
}

/// What operators see of it.
struct Meters {
    taken: UpDownCounter<i64>,
    refused: Counter<u64>,
    gave_way: Counter<u64>,
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
            gave_way: meter
                .u64_counter("bursar.places.gave_way")
                .with_unit("{place}")
                .with_description("Those of an address with many that gave way to one with few, by kind and port.")
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

    fn gave_way(&self) {
        self.gave_way.add(1, &self.labels);
    }
}

#[cfg(test)]
mod tests {
    use std::{io, ops::RangeInclusive};

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
        assert!(places.0.taken().holders.is_empty(), "nobody is remembered");
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
        assert!(places.0.taken().holders.is_empty(), "nobody is remembered");
    }

    /// What each of these hosts may have of what those before it have left: nothing of theirs is idle until all have come.
    fn all_of_each(places: &Places, hosts: RangeInclusive<u8>) -> Vec<Place> {
        let (mut held, mut calls) = (Vec::new(), Vec::new());
        for host in hosts {
            let own = all_of(places, at(&format!("192.0.2.{host}")));
            calls.extend(own.iter().map(|place| place.work().begin()));
            held.extend(own);
        }
        held
    }

    /// Takes what an origin may have, where each that shall give way is gone at once. How many that is.
    fn all_in_place_of_others(places: &Places, held: &mut Vec<Place>, origin: Origin) -> usize {
        let (before, mut own) = (held.len(), 0);
        while let Some(place) = places.take(origin) {
            held.retain(|held| !held.told.is_cancelled());
            held.push(place);
            own += 1;
        }
        assert_eq!(held.len(), before, "one goes for one that comes");
        own
    }

    #[test]
    fn a_dozen_that_hold_all_places_make_room_for_whoever_comes() {
        for (most, takers) in [(512, 10), (4_096, 13)] {
            let places = places(most);
            let mut held = all_of_each(&places, 1..=takers);
            assert_eq!(held.len(), most, "they hold everything");
            for host in 0..3_u8 {
                let origin = at(&format!("198.51.100.{host}"));
                let equal = most / (usize::from(takers) + usize::from(host) + 1);
                let own = all_in_place_of_others(&places, &mut held, origin);
                assert!(own >= equal, "{own} of {most} are less than an equal part, {equal}");
            }
            drop(held);
            assert!(places.0.taken().holders.is_empty(), "nobody is remembered");
        }
    }

    #[test]
    fn what_a_trusted_proxy_has_gives_way_to_nobody_and_strangers_to_it_down_to_an_equal_part() {
        let proxies = "10.0.0.0/8".parse().expect("a network");
        let meter = opentelemetry::global::meter("test");
        let places = Places::behind(proxies, 12, Kind::Connections, "test", &meter);
        let mut held = all_of_each(&places, 1..=4);
        assert_eq!(held.len(), 12, "strangers have all: six, three, two and one");
        let own = all_in_place_of_others(&places, &mut held, at("10.1.2.3"));
        assert_eq!(own, 5, "four of those with six, one of those with three: an equal part of five is two");
        for host in 1..=2 {
            assert!(places.take(at(&format!("192.0.2.{host}"))).is_none(), "they have no fewer than another stranger");
        }
        assert!(places.take(at("198.51.100.1")).is_none(), "nobody else has more than an equal part of six, two");
    }

    /// What is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").extend_from_slice(data);
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_says_of_whom_one_gives_way_and_to_whom() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let places = places(4);
            let hosts = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.4"];
            let held: Vec<_> = hosts.iter().filter_map(|host| places.take(at(host))).collect();
            assert_eq!(held.len(), hosts.len(), "the last one's is of the first, which has two");
        });
        let log = String::from_utf8(log.0.lock().expect("nobody panics").clone()).expect("text");
        let both = format!("origin={} newcomer={}", at("192.0.2.1").site(), at("198.51.100.4").site());
        assert!(log.contains(&both), "no {both} in {log}");
    }

    #[test]
    fn streams_give_way_to_nobody() {
        let places = Places::new(4, Kind::Streams, "test", &opentelemetry::global::meter("test"));
        let held = all_of_each(&places, 1..=3);
        assert_eq!(held.len(), 4, "three have all");
        assert!(places.take(at("192.0.2.4")).is_none());
        assert!(held.iter().all(|held| !held.told.is_cancelled()));
    }

    #[test]
    fn whoever_waits_for_a_place_is_woken_when_a_call_ends_at_one_that_can_give_way() {
        let places = places(4);
        let mut context = Context::from_waker(Waker::noop());
        let held = all_of_each(&places, 1..=3);
        assert_eq!(held.len(), 4, "three have all");
        let mut calls: Vec<_> = held.iter().map(|held| held.work().begin()).collect();
        assert!(places.poll_free(&mut context).is_pending(), "everything is in work");
        drop(calls.pop());
        assert!(places.0.taken().waiting.is_some(), "whoever has one place keeps it");
        drop(calls);
        assert!(places.0.taken().waiting.is_none(), "it was woken");
        assert!(places.poll_free(&mut context).is_ready());
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
