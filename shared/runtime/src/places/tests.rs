//! Who gets a place, and who makes room.

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
    stranger.iter().for_each(Place::open);
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
        own.iter().for_each(Place::open);
        calls.extend(own.iter().map(|place| place.work().begin()));
        held.extend(own);
    }
    held
}

/// Takes what an origin may have, where each that shall give way is gone at once. How many that is.
fn all_in_place_of_others(places: &Places, held: &mut Vec<Place>, origin: Origin) -> usize {
    let (before, mut own) = (held.len(), 0);
    while let Some(place) = places.take(origin) {
        held.retain(|held| !held.work.0.desk.told.is_cancelled());
        place.open();
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
    // With one subscriber alone another test's thread, which has none, could decide that nobody is interested in the event.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
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
fn an_answer_that_nobody_takes_is_no_work_and_gives_way() {
    let places = places(4);
    let hosts = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let held: Vec<_> = hosts.iter().map(|host| places.take(at(host)).expect("room")).collect();
    let mut calls: Vec<_> = held.iter().map(|place| place.work().begin()).collect();
    let look = || {
        for place in &held {
            place.work().look();
        }
    };
    for call in calls.iter_mut().take(1) {
        call.offers();
    }
    let mut context = Context::from_waker(Waker::noop());
    look();
    assert!(places.poll_free(&mut context).is_pending(), "it was ready just now");
    assert!(places.take(at("198.51.100.1")).is_none());
    look();
    assert!(places.0.taken().waiting.is_none(), "whoever waits is woken");
    let newcomer = places.take(at("198.51.100.1")).expect("what nobody takes makes room");
    let told: Vec<_> = held.iter().map(|place| place.work.0.desk.told.is_cancelled()).collect();
    assert_eq!(told, [true, false, false, false], "what is not ready is in work");
    drop((calls, newcomer, held));
    assert!(places.0.taken().holders.is_empty(), "nobody is remembered");
}

#[test]
fn streams_give_way_to_nobody() {
    let places = Places::new(4, Kind::Streams, "test", &opentelemetry::global::meter("test"));
    let held = all_of_each(&places, 1..=3);
    assert_eq!(held.len(), 4, "three have all");
    assert!(places.take(at("192.0.2.4")).is_none());
    assert!(held.iter().all(|held| !held.work.0.desk.told.is_cancelled()));
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

#[test]
fn calls_that_begin_and_end_while_somebody_looks_leave_no_place_that_never_gives_way() {
    let places = places(4);
    let hosts = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let held: Vec<_> = hosts.iter().map(|host| places.take(at(host)).expect("room")).collect();
    let mut context = Context::from_waker(Waker::noop());
    std::thread::scope(|scope| {
        for place in &held {
            scope.spawn(move || (0..10_000).for_each(|_| drop(place.work().begin())));
        }
        for _ in 0..10_000 {
            let _ = places.poll_free(&mut context);
        }
    });
    let newcomer = places.take(at("198.51.100.1"));
    assert!(newcomer.is_some(), "nothing is in work any more");
    assert!(held.iter().take(2).any(|place| place.work.0.desk.told.is_cancelled()), "the one with two gives way");
}
