//! Refusing work beyond what can be done in time, rather than doing all of it too late.
//!
//! Whoever comes first must not take all places: a caller may have as many calls in work as there are places left for
//! everybody else ([`has_room`]), as owners may in a lane's queue (billing's `lane/places.rs`).
//!
//! A caller is a person, with whatever token and through whatever service, or a service for itself, which asks for everybody:
//! the owners that it asks about are told apart where they are known, in billing's queue. Whoever proves nothing is the place
//! that the call comes from. Until that is known a call counts for who has sent it ([`By::Arriving`]), and apart from those who
//! prove nothing: what a stranger begins and never sends keeps out nobody who has a token and stands behind the same address.
//!
//! One customer may have all of an IPv6 /48, and a connection from each of very many places in it. So all of a site together has
//! no more than one caller, and within it a place as much as its others could still have ([`has_room_within`]).
//!
//! By the same callers, and sites, those who wait for a connection of the store take turns ([`bursar_db::Asker`]); there a service
//! for itself stands before the people and addresses.
//!
//! The place is the call's, and is given back when the call is answered or dropped, and its handler with it. Work that goes on
//! without its handler (what waits in a lane, hashing, costly reading) has places of its own, which the work holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bursar_db::Asker;
use http::Request;

use super::Shared;
use super::auth::peer;
use super::methods::{Access, Method};
use super::weight::SMALL;
use crate::caller::{Caller, Party};
use crate::problem::reason;
use crate::{Origin, Problem, TrustedProxies, has_room, has_room_within, origin};

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum By {
    /// Nobody knows yet. It counts for the address that has sent it (port 0), and where that is a proxy's, which sends
    /// everybody's, for the connection. `None`: it is sent in this process.
    Arriving(Option<SocketAddr>),
    /// Of somebody whose token is verified.
    Known(Party),
    /// Of somebody there who proves nothing.
    Nobody(Origin),
}

impl By {
    fn arriving(peer: Option<SocketAddr>, trusted: &TrustedProxies) -> Self {
        let counted = |peer: SocketAddr| {
            if trusted.contain(peer.ip()) { peer } else { SocketAddr::new(origin::counted(peer.ip()), 0) }
        };
        Self::Arriving(peer.map(counted))
    }

    /// Whose it is once the call's tokens are verified.
    pub(super) fn of(caller: &Caller, origin: Origin) -> Self {
        match (caller.party(), origin) {
            (Some(party), _) => Self::Known(party),
            (None, Origin::Address(address)) => Self::Nobody(Origin::Address(origin::counted(address))),
            // Of a service: it asks for strangers whose places it does not say, who are not the service.
            (None, origin @ (Origin::Service(_) | Origin::Local)) => Self::Nobody(origin),
        }
    }

    /// All callers of the site that this one is in, who count as one; others than addresses are by themselves.
    fn site(self) -> Self {
        match self {
            Self::Arriving(Some(peer)) if peer.port() == 0 => {
                Self::Arriving(Some(SocketAddr::new(of_site(peer.ip()), 0)))
            }
            Self::Nobody(Origin::Address(address)) => Self::Nobody(Origin::Address(of_site(address))),
            Self::Arriving(_) | Self::Known(_) | Self::Nobody(_) => self,
        }
    }

    /// Whether there may be others in its site.
    fn has_neighbours(self) -> bool {
        match self {
            Self::Arriving(Some(peer)) => peer.port() == 0 && Origin::Address(peer.ip()).within_site().is_some(),
            Self::Nobody(origin) => origin.within_site().is_some(),
            Self::Arriving(None) | Self::Known(_) => false,
        }
    }

    /// For whom it takes connections of the store.
    pub(super) fn asker(self) -> Asker {
        match self {
            Self::Known(Party::Service(_)) => Asker::service(&self),
            Self::Known(Party::Person(_)) | Self::Arriving(_) | Self::Nobody(_) => Asker::caller(&self.site()),
        }
    }
}

/// The address that stands for all of its site.
fn of_site(address: IpAddr) -> IpAddr {
    match Origin::Address(address).site().first() {
        Origin::Address(first) => first,
        Origin::Service(_) | Origin::Local => address,
    }
}

/// The calls in work, and what their messages have in memory.
pub(super) struct InFlight {
    calls: Mutex<Calls>,
    most: usize,
    most_bytes: usize,
}

/// How many there are, and how many of whom.
#[derive(Default)]
struct Calls {
    all: usize,
    /// Taken for messages, beside what goes with the calls' places ([`SMALL`]).
    bytes: usize,
    /// Of each caller; of those in one site together.
    of: HashMap<By, Taken>,
    /// Of each caller whose site may have others.
    within: HashMap<By, Taken>,
}

/// What one caller has.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    calls: usize,
    bytes: usize,
}

impl Calls {
    /// One more of a caller's; `false` if it has as many as would be left for everybody else.
    fn enter(&mut self, by: By, most: usize) -> bool {
        let left = most.saturating_sub(self.all);
        if !self.may_have(by, |of| of.calls, 1, left) {
            return false;
        }
        self.more(by, |of| of.calls += 1);
        self.all += 1;
        true
    }

    fn leave(&mut self, by: By) {
        self.all = self.all.saturating_sub(1);
        self.less(by, |of| of.calls = of.calls.saturating_sub(1));
    }

    /// So many bytes more of a caller's messages; `false` if it would have more than would be left for everybody else.
    fn take(&mut self, by: By, bytes: usize, most: usize) -> bool {
        let left = most.saturating_sub(self.bytes).saturating_sub(self.all.saturating_mul(SMALL));
        if !self.may_have(by, |of| of.bytes, bytes, left) {
            return false;
        }
        self.more(by, |of| of.bytes += bytes);
        self.bytes += bytes;
        true
    }

    fn give_back(&mut self, by: By, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.less(by, |of| of.bytes = of.bytes.saturating_sub(bytes));
    }

    /// Whether a caller may have so much more of something, of which so much is left.
    fn may_have(&self, by: By, what: impl Fn(&Taken) -> usize, more: usize, left: usize) -> bool {
        let taken = self.of.get(&by.site()).map_or(0, &what);
        if !by.has_neighbours() {
            return has_room(taken, more, left);
        }
        has_room_within(self.within.get(&by).map_or(0, &what), taken, more, left)
    }

    fn more(&mut self, by: By, take: impl Fn(&mut Taken)) {
        take(self.of.entry(by.site()).or_default());
        if by.has_neighbours() {
            take(self.within.entry(by).or_default());
        }
    }

    fn less(&mut self, by: By, give: impl Fn(&mut Taken)) {
        less(&mut self.of, by.site(), &give);
        if by.has_neighbours() {
            less(&mut self.within, by, &give);
        }
    }
}

/// Whoever has nothing any more is not remembered.
fn less(of: &mut HashMap<By, Taken>, by: By, give: impl FnOnce(&mut Taken)) {
    if let Entry::Occupied(mut of) = of.entry(by) {
        give(of.get_mut());
        if *of.get() == Taken::default() {
            of.remove();
        }
    }
}

impl InFlight {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { calls: Mutex::default(), most, most_bytes }
    }

    /// A place for one more call.
    fn enter(&self, by: By) -> Result<Place<'_>, Problem> {
        if self.calls().enter(by, self.most) { Ok(Place { in_flight: self, by: Some(by) }) } else { Err(overloaded()) }
    }

    /// Takes so many bytes more for a message of this caller's.
    pub(super) fn take(&self, by: By, bytes: usize) -> Result<(), Problem> {
        if self.calls().take(by, bytes, self.most_bytes) { Ok(()) } else { Err(too_heavy()) }
    }

    pub(super) fn give_back(&self, by: By, bytes: usize) {
        self.calls().give_back(by, bytes);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.calls().bytes
    }

    /// Counting cannot be left half-way.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place that a call in work has; given back when it is dropped.
pub(super) struct Place<'a> {
    in_flight: &'a InFlight,
    /// For whom it counts. `None`: for nobody any more, the call is refused.
    by: Option<By>,
}

impl Place<'_> {
    /// For whom the call takes connections of the store.
    pub(super) fn asker(&self) -> Asker {
        self.by.map_or(Asker::PROGRAM, By::asker)
    }

    /// Whether it counts for anybody.
    pub(super) fn counts(&self) -> bool {
        self.by.is_some()
    }

    /// It counts for this caller from now on, if that may have one more.
    pub(super) fn belongs_to(&mut self, by: By) -> Result<(), Problem> {
        let mut calls = self.in_flight.calls();
        if let Some(arriving) = self.by.take() {
            calls.leave(arriving);
        }
        if !calls.enter(by, self.in_flight.most) {
            return Err(overloaded());
        }
        self.by = Some(by);
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(by) = self.by {
            self.in_flight.calls().leave(by);
        }
    }
}

/// A place for a call that arrives. `None`: health checks need none. A busy server is not a dead one.
pub(super) fn enter<'a>(
    shared: &'a Shared,
    method: Method,
    request: &Request<Body>,
) -> Result<Option<Place<'a>>, Problem> {
    if matches!(method.access, Access::Infrastructure) {
        return Ok(None);
    }
    shared.in_flight.enter(By::arriving(peer(request), &shared.limits.trusted_proxies)).map(Some)
}

fn overloaded() -> Problem {
    come_again("as many calls are in work as the server takes, of this caller or of all; try again later")
}

/// Where the message comes by itself, the handler has not run and nothing took effect.
fn too_heavy() -> Problem {
    come_again("the messages in work are as large as the server takes, of this caller or of all; try again later")
}

fn come_again(sentence: &'static str) -> Problem {
    Problem::exhausted(reason::OVERLOADED, sentence).with_retry_after(Duration::from_millis(250))
}

#[cfg(test)]
mod tests {
    use bursar_id::UserId;

    use super::*;

    const BYTES: usize = 1024 * 1024;

    fn person(number: u8) -> By {
        By::Known(Party::Person(UserId::from_parts(1, [number; 10])))
    }

    fn all_of(in_flight: &InFlight, by: By) -> Vec<Place<'_>> {
        std::iter::from_fn(|| in_flight.enter(by).ok()).collect()
    }

    #[test]
    fn room_is_given_back() {
        let in_flight = InFlight::new(2, BYTES);
        let first = in_flight.enter(person(1)).expect("room");
        let second = in_flight.enter(person(2)).expect("room");
        assert!(in_flight.enter(person(3)).is_err(), "a third of two");
        assert!(in_flight.enter(person(3)).is_err(), "a refusal takes no room");
        drop(first);
        assert!(in_flight.enter(person(3)).is_ok(), "room again");
        drop(second);
        assert!(in_flight.calls().of.is_empty(), "nobody is remembered");
        assert_eq!(in_flight.calls().all, 0);
    }

    #[test]
    fn one_callers_calls_leave_room_for_others() {
        let in_flight = InFlight::new(12, BYTES);
        let hers = all_of(&in_flight, person(1));
        assert_eq!(hers.len(), 6, "half of them");
        let his = all_of(&in_flight, person(2));
        assert_eq!(his.len(), 3, "half of what is left");
        let newcomer = all_of(&in_flight, person(3));
        assert!(!newcomer.is_empty(), "there is always room");
        drop((hers, his, newcomer));
        assert_eq!(all_of(&in_flight, person(3)).len(), 6, "everything was given back");
    }

    #[test]
    fn a_call_counts_for_whom_it_is_once_that_is_known() {
        let in_flight = InFlight::new(8, BYTES);
        let arriving = By::Arriving(None);
        let mut hers: Vec<_> = (0..4).map(|_| in_flight.enter(arriving).expect("room")).collect();
        assert!(in_flight.enter(arriving).is_err(), "of those who arrive as many as are left");
        for place in &mut hers {
            place.belongs_to(person(1)).expect("hers");
        }
        let mut fifth = in_flight.enter(arriving).expect("nobody else arrives");
        assert!(fifth.belongs_to(person(1)).is_err(), "she has as many as are left");
        assert_eq!(in_flight.calls().all, 4, "whose call is refused has no place");
        drop(fifth);
        assert_eq!(in_flight.calls().all, 4, "and gives none back");
        in_flight.enter(arriving).expect("room").belongs_to(person(2)).expect("others have room");
        drop(hers);
        let calls = in_flight.calls();
        assert!(calls.all == 0 && calls.of.is_empty(), "everything was given back");
    }

    #[test]
    fn what_arrives_counts_by_address_and_behind_a_proxy_by_connection() {
        let trusted: TrustedProxies = "10.0.0.0/8".parse().expect("proxies");
        let by = |text: &str| By::arriving(Some(text.parse().expect("an address")), &trusted);
        assert_eq!(by("192.0.2.1:1000"), by("192.0.2.1:1001"), "another connection is no other caller");
        assert_ne!(by("192.0.2.1:1000"), by("192.0.2.2:1000"));
        assert_eq!(by("[2001:db8:1:2::3]:1000"), by("[2001:db8:1:2::4]:1001"), "whoever has one of a /64 has all");
        assert_ne!(by("[2001:db8:1:2::3]:1000"), by("[2001:db8:1:3::3]:1000"));
        assert_eq!(by("[2001:db8:1:2::3]:1000").site(), by("[2001:db8:1:3::3]:1000").site(), "but of one site");
        assert_ne!(by("[2001:db8:1:2::3]:1000").site(), by("[2001:db8:2:2::3]:1000").site());
        assert_ne!(by("10.1.2.3:1000"), by("10.1.2.3:1001"), "a proxy sends everybody's");
    }

    /// One of the places of a network that one holder may have.
    fn inside(number: u16) -> Origin {
        Origin::Address([0x2001, 0xdb8, 7, number, 0, 0, 0, 0].into())
    }

    fn at(number: u8) -> Origin {
        Origin::Address([192, 0, 2, number].into())
    }

    fn arriving(origin: Origin) -> By {
        let Origin::Address(address) = origin else { panic!("{origin} sends nothing") };
        By::arriving(Some(SocketAddr::new(address, 1000)), &TrustedProxies::default())
    }

    #[test]
    fn the_places_of_one_network_together_leave_room_for_others() {
        let kinds: [fn(Origin) -> By; 2] = [arriving, By::Nobody];
        for by in kinds {
            let in_flight = InFlight::new(4_096, BYTES);
            let alone = all_of(&in_flight, by(at(1))).len();
            let first = all_of(&in_flight, by(inside(0)));
            assert!(!first.is_empty() && first.len() < alone, "one of its places leaves the others some");
            let second = all_of(&in_flight, by(inside(1)));
            assert!(!second.is_empty(), "and so they have");
            let rest: Vec<_> = (2..4_096).flat_map(|number| all_of(&in_flight, by(inside(number)))).collect();
            assert_eq!(first.len() + second.len() + rest.len(), alone, "together as many as one address");
            assert_eq!(all_of(&in_flight, by(at(1))).len(), alone / 2, "others have room");
            assert_eq!(all_of(&in_flight, person(1)).len(), alone / 2, "who has a token, too");
            drop((first, second, rest));
            let calls = in_flight.calls();
            assert!(calls.all == 0 && calls.of.is_empty() && calls.within.is_empty(), "everything was given back");
        }
    }

    #[test]
    fn the_places_of_one_network_together_leave_memory_for_the_messages_of_others() {
        let in_flight = InFlight::new(4_096, BYTES);
        let taken = (0..4_096_u16).filter(|number| in_flight.take(By::Nobody(inside(*number)), 1_024).is_ok()).count();
        assert_eq!(taken * 1_024, BYTES / 2, "together as much as one address");
        assert!(in_flight.take(By::Nobody(at(1)), BYTES / 4).is_ok(), "others have room");
    }

    #[test]
    fn the_places_of_one_network_have_turns_at_the_store_as_one() {
        let of = |origin| By::Nobody(origin).asker();
        assert_eq!(of(inside(0)), of(inside(9)));
        assert_ne!(of(inside(0)), of(at(1)));
        assert_ne!(of(at(1)), of(at(2)));
        assert_ne!(of(inside(0)), arriving(inside(0)).asker());
    }
}
