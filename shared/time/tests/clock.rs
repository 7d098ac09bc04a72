//! The clock: it never goes back, and whoever waits on a test clock hears of every jump.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as loudly as tests do")]

use std::task::Poll;

use bursar_time::{Clock, ClockError, Doubt, Span, Timestamp};

fn secs(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(secs).unwrap()
}

/// Whether a future is done when polled once.
macro_rules! done {
    ($future:expr) => {
        std::future::poll_fn(|context| Poll::Ready($future.as_mut().poll(context).is_ready())).await
    };
}

#[test]
fn the_system_clock_moves_by_itself_only() {
    let clock = Clock::system();
    assert!(!clock.is_test());
    let mut last = clock.now();
    assert!(last > secs(1_700_000_000), "{last}");
    for _ in 0..1_000 {
        let now = Clock::system().now();
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    assert_eq!(clock.set(Timestamp::MAX), Err(ClockError::NotATestClock));
    assert_eq!(clock.advance(Span::DAY), Err(ClockError::NotATestClock));
}

#[test]
fn a_test_clock_only_goes_forward() {
    let clock = Clock::test(secs(100));
    let same = clock.clone();
    assert!(clock.is_test());
    assert_eq!(same.now(), secs(100));
    assert_eq!(clock.set(secs(150)), Ok(()));
    assert_eq!(same.now(), secs(150));
    assert_eq!(same.set(secs(150)), Ok(()));
    assert_eq!(same.set(secs(149)), Err(ClockError::Backwards { now: secs(150) }));
    assert_eq!(same.advance(Span::from_secs(5)), Ok(secs(155)));
    assert_eq!(clock.advance(Span::MAX), Err(ClockError::OutOfRange));
    assert_eq!(clock.now(), secs(155));
    assert_eq!(format!("{clock:?}"), "Clock(test, 1970-01-01T00:02:35Z)");
}

#[test]
fn racing_setters_never_turn_the_time_back() {
    let clock = Clock::test(secs(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let clock = &clock;
            scope.spawn(move || {
                for step in 0..500 {
                    let _ = clock.set(secs(step * 4 + thread));
                }
            });
        }
        let mut last = clock.now();
        while last < secs(1_996) {
            let now = clock.now();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    });
    assert_eq!(clock.now(), secs(1_999));
}

#[tokio::test]
async fn a_jump_between_asking_and_waiting_is_not_missed() {
    let clock = Clock::test(secs(0));
    let changed = clock.changed();
    let slept = clock.sleep(Span::DAY);
    clock.set(secs(1)).unwrap();
    changed.await;
    slept.await;
}

#[tokio::test]
async fn only_a_real_jump_wakes() {
    let clock = Clock::test(secs(5));
    let mut jump = Box::pin(clock.changed());
    assert!(!done!(jump));
    clock.set(secs(5)).unwrap();
    clock.set(secs(4)).unwrap_err();
    assert!(!done!(jump), "woken without a jump");
    clock.set(secs(6)).unwrap();
    assert!(done!(jump));

    let mut changes = clock.subscribe();
    clock.set(secs(7)).unwrap();
    clock.set(secs(8)).unwrap();
    changes.changed().await;
    let mut second = Box::pin(changes.changed());
    assert!(!done!(second), "two jumps before looking are one");
    drop(clock);
    assert!(!done!(second), "a clock that is gone does not jump");

    let mut never = Box::pin(Clock::system().changed());
    assert!(!done!(never));
}

#[tokio::test(start_paused = true)]
async fn sleeping_takes_real_time_at_most() {
    for clock in [Clock::system(), Clock::test(secs(0))] {
        let before = tokio::time::Instant::now();
        clock.sleep(Span::HOUR).await;
        assert!(before.elapsed().as_secs() >= 3_600, "{clock:?}");
    }
}

#[tokio::test]
async fn sleeping_until_a_time_waits_for_the_test_clock() {
    let clock = Clock::test(secs(0));
    let mut until = Box::pin(clock.sleep_until(secs(10)));
    assert!(!done!(until));
    clock.set(secs(9)).unwrap();
    assert!(!done!(until));
    clock.set(secs(11)).unwrap();
    assert!(done!(until));
    clock.sleep_until(secs(3)).await;
    Clock::system().sleep_until(secs(3)).await;
}

#[test]
fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
    let clock = Clock::system();
    let before = clock.now();
    clock.skew(-Span::HOUR.as_micros());
    let after = clock.now();
    assert!(after >= before && after.since(before) < Span::MINUTE, "{before} {after}");
    assert!(clock.system_lead() < -Span::from_mins(59).as_micros(), "the system's own is behind");
    clock.follow_system();
    assert!(before.since(clock.now()) > Span::from_mins(59), "until that is what is right");
    assert_eq!(Clock::test(before).system_lead(), 0);
}

#[test]
fn a_leap_is_doubted_at_once_and_no_longer_than_it_lasts() {
    let clock = Clock::system();
    let judged = clock.judged_apart();
    clock.skew(Span::from_days(400).as_micros());
    assert!(judged.believed().is_ok(), "nobody has said yet what is right");
    clock.skew(0);
    judged.confirm(judged.read(), Span::from_secs(5));
    clock.skew(Span::from_secs(4).as_micros());
    assert!(judged.believed().is_ok(), "within the bound");
    clock.skew(Span::from_secs(7).as_micros());
    let Err(Doubt::Leapt { by, ahead: true }) = judged.believed() else { panic!("{:?}", judged.doubt()) };
    assert!((Span::from_secs(6)..Span::MINUTE).contains(&by), "{by}");
    assert_eq!(clock.doubt(), None, "the one is not judged by what is known of the other");
    clock.skew(0);
    assert_eq!(judged.doubt(), None);
    let told = Doubt::Differs { by: Span::HOUR, ahead: true };
    judged.distrust(told);
    assert_eq!(judged.believed(), Err(told));
    judged.confirm(judged.read(), Span::from_secs(5));
    assert!(judged.believed().is_ok());
    // Between the look and what is said of it the clock leaps: what was looked at is confirmed.
    let reading = judged.read();
    clock.skew(Span::HOUR.as_micros());
    judged.confirm(reading, Span::from_secs(5));
    assert!(judged.believed().is_err(), "a leap that nobody has looked at");
    clock.skew(0);
    let test = Clock::test(secs(0));
    test.confirm(test.read(), Span::SECOND);
    test.distrust(told);
    test.set(Timestamp::MAX).unwrap();
    assert_eq!(test.believed(), Ok(Timestamp::MAX), "a test clock is always believed");
}
