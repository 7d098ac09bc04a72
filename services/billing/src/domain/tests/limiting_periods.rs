//! Limits by billing period, where a subscription says when that begins: as it is renewed, in time or not, and as one moves in.

use bursar_time::Span;

use super::limiting::{Play, limit, member, reached};
use super::world::credits;
use crate::domain::*;

fn by_period(amount: &str) -> Vec<Limit> {
    vec![limit(1, member(1), LimitWindow::Period, amount)]
}

/// What a subscription books when it begins, is renewed or moves in: its month's allowance, with which the month begins.
fn begins(play: &mut Play, anchor: &str, number: u32) {
    let begins = Some((anchor.parse().unwrap(), number));
    let grant = GrantCommand { begins, ..GrantCommand::new(credits(1), LotSource::Allowance) };
    play.by(&Actor::Job, Command::Grant(grant)).unwrap();
}

#[test]
fn a_period_is_the_subscriptions_month_however_late_that_is_renewed() {
    const ANCHOR: &str = "2026-01-31T10:00:00Z";
    // The last instant of each month, and the first of the next.
    let turns = [
        ("2026-02-28T09:59:59.999999Z", "2026-02-28T10:00:00Z"),
        ("2026-03-31T09:59:59.999999Z", "2026-03-31T10:00:00Z"),
        ("2026-04-30T09:59:59.999999Z", "2026-04-30T10:00:00Z"),
    ];
    // In time; after it was past due for some days; never, since it has lapsed.
    for late in [Some(Span::ZERO), Some(Span::from_days(3)), None] {
        let mut play = Play::at(ANCHOR, "UTC", by_period("10"));
        begins(&mut play, ANCHOR, 0);
        play.charge("4").unwrap();
        for (number, (last, end)) in (1..).zip(turns) {
            play.is_now(last);
            play.charge("6").unwrap();
            reached(play.charge("0.000001"), "10", end);
            play.is_now(end);
            assert_eq!(play.used(), "0", "{late:?}, {end}");
            play.charge("4").unwrap();
            if let Some(late) = late {
                play.now = play.now.saturating_add(late);
                begins(&mut play, ANCHOR, number);
            }
            assert_eq!(play.used(), "4", "{late:?}, {end}: what was spent before it was renewed is of the new month");
        }
    }
}

#[test]
fn a_subscription_that_begins_begins_a_period() {
    let mut play = Play::at("2026-03-05T12:00:00Z", "UTC", by_period("10"));
    play.charge("10").unwrap();
    reached(play.charge("1"), "10", "2026-04-01T00:00:00Z");
    begins(&mut play, "2026-03-05T12:00:00Z", 0);
    assert_eq!(play.used(), "0");
    play.charge("10").unwrap();
    reached(play.charge("1"), "10", "2026-04-05T12:00:00Z");
}

#[test]
fn a_plan_that_moves_in_brings_its_month_of_which_nothing_is_used_yet() {
    // Its month had begun before the one that it puts an end to, or within that.
    for (anchor, ends) in
        [("2026-02-10T10:00:00Z", "2026-03-10T10:00:00Z"), ("2026-03-02T10:00:00Z", "2026-04-02T10:00:00Z")]
    {
        let mut play = Play::at("2026-03-05T12:00:00Z", "UTC", by_period("10"));
        play.charge("10").unwrap();
        begins(&mut play, anchor, 0);
        assert_eq!(play.used(), "0", "{anchor}: what was spent before is of the month that is over");
        play.charge("9").unwrap();
        reached(play.charge("2"), "9", ends);
        // Whoever sets the limit anew is told the same.
        play.set("UTC", Vec::new());
        play.set("UTC", by_period("10"));
        assert_eq!(play.used(), "9", "{anchor}");
    }
}

#[test]
fn what_is_above_a_hold_is_checked_in_the_month_that_a_plan_which_moved_in_has_ended() {
    const UNTIL: &str = "2026-04-01T00:00:00Z";
    let cases = [
        ("2026-02-10T10:00:00Z", true, UNTIL),
        ("2026-03-02T10:00:00Z", true, UNTIL),
        // Of a limit that was set since, the ledger says what was used; not when that month was over, but that it was not yet as the
        // hold was made.
        ("2026-02-10T10:00:00Z", false, "2026-03-10T10:00:00Z"),
        ("2026-03-02T10:00:00Z", false, "2026-03-05T12:00:00Z"),
    ];
    for (anchor, is_set, until) in cases {
        let mut play = Play::at("2026-03-05T12:00:00Z", "UTC", if is_set { by_period("10") } else { Vec::new() });
        play.charge("4").unwrap();
        let held = play.hold("5", Span::DAY).unwrap();
        begins(&mut play, anchor, 0);
        if !is_set {
            play.set("UTC", by_period("10"));
        }
        reached(play.capture(held, "6.000001"), "9", until);
        play.capture(held, "6").unwrap();
        assert_eq!(play.used(), "0", "{anchor}: nothing of it is of the month that is open");
    }
}

#[test]
fn what_was_spent_before_a_month_that_a_plan_moved_in_with_counts_where_holds_do_that_were_made_then() {
    let by_day = vec![limit(2, member(1), LimitWindow::Day, "100")];
    for sets_first in [false, true] {
        let mut play =
            Play::at("2026-03-01T12:00:00Z", "UTC", if sets_first { by_period("10") } else { by_day.clone() });
        play.charge("4").unwrap();
        play.is_now("2026-03-05T11:00:00Z");
        let held = play.hold("5", Span::DAY).unwrap();
        play.is_now("2026-03-05T12:00:00Z");
        begins(&mut play, "2026-03-03T10:00:00Z", 0);
        play.charge("3").unwrap();
        play.set("UTC", by_period("10"));
        assert_eq!(play.used(), "3", "what was spent before is of the month that is over");
        let outcome = play.capture(held, "6.000001");
        let Err(Refusal::LimitReached(it)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            Total(it.used).to_string(),
            "9",
            "4 long before, and 5: as where the limit was set first ({sets_first})"
        );
        // What is over is forgotten, but not as long as the hold counts in it.
        play.is_now("2026-03-06T10:59:00Z");
        play.forgets_what_is_over();
        let Err(Refusal::LimitReached(it)) = play.capture(held, "6.000001") else { panic!("it is known still") };
        assert_eq!(Total(it.used).to_string(), "9");
        play.capture(held, "6").unwrap();
        assert_eq!(play.used(), "3", "nothing of it is of the month that is open");
    }
}
