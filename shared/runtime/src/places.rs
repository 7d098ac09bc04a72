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
use tokio::time::{Instant, sleep};

use crate::{
    desk::{Desk, Stage},
    holders::{Entered, Holders},
};

/// The log says at most so often that places are short: whoever causes it could fill the disk otherwise.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// For so many connections that a port bears one more may be on its way out beside them.
const RESERVE: usize = 64;

/// How long an answer that is ready is in work while nobody takes any of it, at least; twice as long at most.
const UNTAKEN_LIMIT: Duration = Duration::from_mins(1);

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
        let Some(Entered { number, desk, instead }) = entered else {
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
        Some(Place { work: Work(Arc::new(Post { of: Arc::clone(&self.0), number, desk })) })
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
    work: Work,
}

impl Place {
    /// What is done there.
    pub(crate) fn work(&self) -> Work {
        self.work.clone()
    }

    /// Whoever has it has opened its connection, and is somebody to reckon with.
    pub(crate) fn open(&self) {
        let Post { of, number, .. } = &*self.work.0;
        of.change(|holders| holders.open(*number));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Post { of, number, desk } = &*self.work.0;
        of.change(|holders| holders.leave(*number));
        of.meters.taken(-1);
        // Whoever serves what had it need not wait any more.
        desk.told.cancel();
    }
}

/// What is done at a place: while a call is in work there, it gives way to nobody. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Work(Arc<Post>);

struct Post {
    of: Arc<Inner>,
    number: u64,
    desk: Arc<Desk>,
}

impl Work {
    /// A call begins.
    pub(crate) fn begin(&self) -> Call {
        self.0.desk.begin();
        Call { work: self.clone(), stage: Stage::Working }
    }

    /// Comes when the place shall give way, or is given back.
    pub(crate) async fn told(&self) {
        self.0.desk.told.cancelled().await;
    }

    /// Since when no call is in work; `None` while one is.
    pub(crate) fn idle(&self) -> Option<u64> {
        self.0.desk.idle()
    }

    /// Tells it to give way.
    #[cfg(test)]
    pub(crate) fn tell(&self) {
        self.0.desk.told.cancel();
    }

    /// Looks now and then whether anybody takes what is ready, and never ends. An answer is asked for no more while nobody takes what
    /// there is of it, and so cannot know.
    pub(crate) async fn look_on(&self) {
        loop {
            sleep(UNTAKEN_LIMIT).await;
            self.look();
        }
    }

    /// Looks once.
    fn look(&self) {
        self.tell_port(self.0.desk.look());
    }

    /// No call is in work any more, and the port has found one there before.
    fn tell_port(&self, is_heeded: bool) {
        if is_heeded {
            self.0.of.change(|holders| holders.settle(self.0.number));
        }
    }
}

/// A call in work; it has ended when this is dropped.
pub(crate) struct Call {
    work: Work,
    stage: Stage,
}

impl Call {
    /// All of its answer that was ready is taken, and more is to be made.
    pub(crate) fn works(&mut self) {
        self.work.0.desk.works(&mut self.stage);
    }

    /// Something of its answer is ready, and everything before that was taken.
    pub(crate) fn offers(&mut self) {
        self.work.0.desk.offers(&mut self.stage);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.work.tell_port(self.work.0.desk.end(self.stage));
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
mod tests;
