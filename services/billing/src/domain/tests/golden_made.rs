//! How the golden ledger was made, and what stands in it: one of every kind of entry, every kind of actor and every
//! field in use.

use bursar_id::{ChargeId, HoldId, LotId, OwnerId};
use bursar_money::Quantity;
use bursar_time::Span;

use super::golden::{FORMAT_1, Golden};
use super::script::actor;
use super::world::{KEY, Store, World, at, credits, id, model, owner, project, rules};
use crate::domain::*;

/// The account and what was made in it.
struct Scene {
    world: World,
    asked: u8,
}

impl Scene {
    fn ask(&mut self, second: u64, who: &str, name: Option<&str>, command: Command) -> Outcome {
        self.asked += 1;
        let who = actor(who);
        let name = name.map(|name| RequestName::new(&who, name.parse().unwrap()));
        let outcome = self.world.run(&Request::new(name, [self.asked; 16], command), &who, at(second)).unwrap();
        // In batches of four, so that pages of details have several entries and several pages there are.
        if self.asked.is_multiple_of(4) {
            self.world.forget();
        }
        outcome
    }

    fn grant(&mut self, second: u64, who: &str, name: Option<&str>, command: GrantCommand) -> LotId {
        let Outcome::Granted(it) = self.ask(second, who, name, Command::Grant(command)) else { panic!("no lot") };
        it.lot.id
    }

    fn charge(&mut self, second: u64, who: &str, name: Option<&str>, command: Command) -> ChargeId {
        let Outcome::Charged(it) = self.ask(second, who, name, command) else { panic!("no charge") };
        it.charge.id
    }

    fn hold(&mut self, second: u64, who: &str, name: Option<&str>, command: HoldCommand) -> HoldId {
        let Outcome::Held(it) = self.ask(second, who, name, Command::Hold(command)) else { panic!("no hold") };
        it.hold.id
    }
}

fn grant(whole: u32, source: LotSource) -> GrantCommand {
    GrantCommand::new(credits(whole), source)
}

fn work(member: u64, of: Option<&str>, with: Option<&str>) -> Attribution {
    Attribution { member: id(member), project: of.map(project), model: with.map(model) }
}

fn charge(whole: u32, attribution: Attribution) -> ChargeCommand {
    let cost = Cost::Amount(credits(whole));
    ChargeCommand { cost, attribution, labels: Labels::default(), occurred_at: None }
}

fn hold(whole: u32, seconds: u64, attribution: Attribution) -> HoldCommand {
    let (amount, ttl) = (credits(whole), Span::from_secs(seconds));
    HoldCommand { amount, ttl, attribution, labels: Labels::default() }
}

fn used(meters: &[(&str, i64)]) -> Cost {
    let one = |(meter, millionths): &(&str, i64)| MeterUse {
        meter: MeterName::parse(meter).ok(),
        quantity: Quantity::from_millionths(*millionths).unwrap(),
    };
    Cost::Metered(meters.iter().map(one).collect())
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Labels::parse(pairs.iter().map(own).collect()).unwrap()
}

fn note(text: &str) -> Option<Note> {
    Note::parse(text).ok()
}

/// Lots from every source and with every origin; gives the pack.
fn grants(scene: &mut Scene) -> LotId {
    let month = Month::anchored(at(0), 0);
    scene.grant(
        0,
        "job",
        None,
        GrantCommand {
            effective_at: Some(month.start),
            expires_at: Some(month.end),
            origin: Origin {
                subscription: Some((id(41), 0)),
                payment: Some(id(42)),
                paid: "100.00 USD".parse().ok(),
                ..Origin::default()
            },
            begins: Some((at(0), 0)),
            ..grant(1_500, LotSource::Allowance)
        },
    );
    let pack = scene.grant(
        1,
        "s4",
        Some("purchase"),
        GrantCommand {
            origin: Origin {
                purchase: Some(id(43)),
                payment: Some(id(44)),
                paid: "20.00 USD".parse().ok(),
                ..Origin::default()
            },
            note: note("Starter pack"),
            ..grant(300, LotSource::Pack)
        },
    );
    scene.grant(
        2,
        "o3/u1",
        Some("promo/1"),
        GrantCommand {
            scope: Scope::new([model("veo"), model("kling")], [project("film")]).unwrap(),
            priority: -7,
            expires_at: Some(at(100)),
            note: note("Für den Film: \"viel Glück\""),
            ..grant(10, LotSource::Promotion)
        },
    );
    scene.grant(
        3,
        "s1",
        Some("moved"),
        GrantCommand {
            effective_at: Some(at(50)),
            expires_at: Some(at(5_000_000)),
            priority: 3,
            origin: Origin {
                moved_from: Some(OwnerId::User(id(2))),
                subscription: Some((id(45), 11)),
                ..Origin::default()
            },
            ..grant(25, LotSource::Adjustment)
        },
    );
    let sorry = GrantCommand { priority: 9, expires_at: Some(at(100)), ..grant(1, LotSource::Goodwill) };
    scene.grant(4, "s2", None, sorry);
    pack
}

/// Builds the golden account.
fn made() -> Store {
    let mut scene = Scene { world: World::new(rules()), asked: 0 };
    let pack = grants(&mut scene);
    // Charges: by meters on behalf of a user, plain by a user's token, by a key.
    let metered = Command::Charge(ChargeCommand {
        cost: used(&[("output", 1_234_567_000_000), ("input", 500_000)]),
        labels: labels(&[("job", "42"), ("trace/id", "ä \"b\" \\")]),
        occurred_at: Some(at(0)),
        ..charge(0, work(1, Some("film"), Some("claude")))
    });
    let first = scene.charge(10, "s1/u1", Some("charge 1"), metered);
    scene.charge(11, "u2", None, Command::Charge(charge(2, work(2, None, None))));
    let labelled = ChargeCommand { labels: labels(&[("k", "")]), ..charge(3, work(2, None, Some("sora"))) };
    scene.charge(12, "k2", Some("charge 3"), Command::Charge(labelled));
    // Holds, and how they end.
    let on_film = HoldCommand { labels: labels(&[("shot", "7")]), ..hold(12, 600, work(1, Some("film"), Some("veo"))) };
    let captured = scene.hold(20, "s1", Some("hold 1"), on_film);
    let released = scene.hold(21, "u2", Some("hold 2"), hold(4, 600, work(2, None, None)));
    let own = HoldCommand { labels: labels(&[("open", "yes")]), ..hold(5, 86_400, work(2, None, None)) };
    scene.hold(22, "k2", None, own);
    scene.hold(23, "o3/u2", Some("hold 4"), hold(6, 30, work(2, Some("book"), None)));
    let metered = CaptureCommand { hold: captured, cost: Some(used(&[("seconds", 28_000_000)])), allow_excess: true };
    let second = scene.charge(40, "s2", Some("capture 1"), Command::Capture(metered));
    scene.ask(41, "u2", Some("release 1"), Command::Release { hold: released });
    // The lapse at 53 and the expiry at 100 book themselves.
    scene.ask(60, "job", None, Command::Sweep);
    let part = |charge, amount| Command::Refund(RefundCommand { charge, amount });
    scene.ask(110, "s1", Some("refund 1"), part(second, Some(credits(1))));
    scene.ask(111, "s1", None, part(second, None));
    scene.ask(112, "job", Some("refund 3"), part(first, Some("0.000001".parse().unwrap())));
    // Voided while part of it is held.
    let all = hold(1_000, 3_600, work(1, None, None));
    scene.hold(120, "s1", Some("hold 5"), HoldCommand { amount: credits(1_600), ..all });
    scene.ask(121, "s4", Some("void"), Command::Void(VoidCommand { lot: pack, note: note("charged back") }));
    // Erased, and what came after.
    scene.ask(130, "s3", Some("erase 2"), Command::Erase { member: Some(id(2)) });
    scene.ask(131, "job", None, Command::Erase { member: None });
    let later = ChargeCommand { labels: labels(&[("after", "erasure")]), ..charge(1, work(2, None, None)) };
    scene.charge(140, "u2", Some("charge 4"), Command::Charge(later));
    scene.grant(141, "s4", Some("purchase 2"), GrantCommand { note: note("kept"), ..grant(2, LotSource::Pack) });
    scene.world.forget();
    scene.world.store
}

const ABOUT: &str = "An account as the first released program stored it. Never written anew.";

/// As long as entries of format 1 are what is written, the same requests make the same ledger.
///
/// A later format makes another one: this test then goes, and `golden` keeps on reading the file.
#[test]
fn the_golden_ledger_is_what_this_program_writes() {
    let store = made();
    store.verify().unwrap();
    let made = Golden::of(ABOUT, owner(), [7; 32], &store);
    let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
    if std::env::var_os("BURSAR_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1.json");
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert_eq!(made, Golden::format_1());
    assert!(text == FORMAT_1, "the file's own spelling");
    assert_eq!(Golden::format_1().ledger(), store.ledger());
}

/// As the tables of cases call them.
fn called(who: &Actor) -> String {
    match who {
        Actor::User { user, .. } => format!("u{}", user.timestamp_millis()),
        Actor::ApiKey { user, .. } => format!("k{}", user.timestamp_millis()),
        Actor::Service { service } => format!("s{}", service.timestamp_millis()),
        Actor::ServiceOnBehalf { service, user, .. } => {
            format!("s{}/u{}", service.timestamp_millis(), user.timestamp_millis())
        }
        Actor::OperatorOnBehalf { operator, user, .. } => {
            format!("o{}/u{}", operator.timestamp_millis(), user.timestamp_millis())
        }
        Actor::Job => "job".to_owned(),
    }
}

/// An entry in a line: second, kind, actor, amount; available, spendable and held after it; what is kept of its details.
fn line(entry: &Entry) -> String {
    let kept = match (&entry.details_digest, &entry.details) {
        (None, _) => "",
        (Some(_), None) => " erased",
        (Some(_), Some(_)) => " kept",
    };
    format!(
        "{} {} {} {}: {} {} {}{kept}",
        entry.at.since(at(0)).as_secs(),
        entry.kind(),
        called(&entry.actor),
        entry.amount,
        entry.available_after,
        entry.spendable_after,
        entry.held_after,
    )
}

#[test]
fn the_golden_ledger_says_what_happened() {
    let said: Vec<String> = Golden::format_1().ledger().iter().map(line).collect();
    let expected = [
        "0 GRANT job 1500: 1500 1500 0",
        "1 GRANT s4 300: 1800 1800 0 erased",
        "2 GRANT o3/u1 10: 1810 1810 0 erased",
        "3 GRANT s1 25: 1835 1810 0 erased",
        "4 GRANT s2 1: 1836 1811 0",
        "10 CHARGE s1/u1 1.284567: 1834.715433 1809.715433 0 kept",
        "11 CHARGE u2 2: 1832.715433 1807.715433 0",
        "12 CHARGE k2 3: 1829.715433 1804.715433 0 erased",
        "20 HOLD s1 12: 1817.715433 1792.715433 12 kept",
        "21 HOLD u2 4: 1813.715433 1788.715433 16 erased",
        "22 HOLD k2 5: 1808.715433 1783.715433 21 erased",
        "23 HOLD o3/u2 6: 1802.715433 1777.715433 27 erased",
        "40 CAPTURE s2 14: 1800.715433 1775.715433 15 kept",
        "41 RELEASE u2 4: 1804.715433 1779.715433 11 erased",
        "53 HOLD_LAPSED job 6: 1810.715433 1810.715433 5",
        "100 EXPIRE job 1: 1809.715433 1809.715433 5",
        "110 REFUND s1 1: 1810.715433 1810.715433 5 kept",
        "111 REFUND s1 13: 1813.715433 1813.715433 5",
        "112 REFUND job 0.000001: 1813.715434 1813.715434 5 kept",
        "120 HOLD s1 1600: 213.715434 213.715434 1605 kept",
        "121 VOID s4 188.715434: 25 25 1605 erased",
        "130 ERASE s3 0: 25 25 1605 erased",
        "131 ERASE job 0: 25 25 1605",
        "140 CHARGE u2 1: 24 24 1605 kept",
        "141 GRANT s4 2: 26 26 1605 kept",
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_keys_of_the_golden_ledger_lead_to_its_entries() {
    let golden = Golden::format_1();
    assert_eq!(format!("{:?}", golden.key()), format!("{KEY:?}"));
    let key = |who: &str, name: &str| RequestKey::new(&actor(who), &name.parse().unwrap());
    for (seq, who, name) in [(2, "s4", "purchase"), (6, "s1/u2", "charge 1"), (8, "u2", "charge 3")] {
        let entry = &golden.ledger()[seq - 1];
        assert_eq!(entry.request_key, Some(key(who, name)), "entry {seq}");
    }
}

fn entry(number: usize) -> Entry {
    Golden::format_1().ledger().swap_remove(number - 1)
}

#[test]
fn the_golden_lots_keep_their_terms() {
    let terms = |number| match entry(number).event {
        Event::Grant { lot, terms } => (lot, terms),
        other => panic!("entry {number} is {other:?}"),
    };
    let (_, allowance) = terms(1);
    assert_eq!((allowance.source, allowance.priority), (LotSource::Allowance, 0));
    assert_eq!(allowance.effective_at, at(0));
    assert_eq!(allowance.expires_at, Some(Month::anchored(at(0), 0).end));
    assert_eq!(allowance.origin.subscription, Some((id(41), 0)));
    assert_eq!(allowance.origin.payment, Some(id(42)));
    assert_eq!(allowance.origin.paid, "100 USD".parse().ok());
    let (pack, bought) = terms(2);
    assert_eq!((bought.source, bought.expires_at), (LotSource::Pack, None));
    assert_eq!((bought.origin.purchase, bought.origin.payment), (Some(id(43)), Some(id(44))));
    let (_, film) = terms(3);
    assert_eq!((film.source, film.priority), (LotSource::Promotion, -7));
    assert_eq!(film.scope, Scope::new([model("kling"), model("veo")], [project("film")]).unwrap());
    let (_, moved) = terms(4);
    assert_eq!((moved.source, moved.effective_at), (LotSource::Adjustment, at(50)));
    assert_eq!(moved.origin.moved_from, Some(OwnerId::User(id(2))));
    assert_eq!(moved.origin.subscription, Some((id(45), 11)));
    assert_eq!(terms(5).1.source, LotSource::Goodwill);
    let lots = Golden::format_1().lots();
    let pack = lots.iter().find(|lot| lot.id == pack).unwrap();
    assert_eq!((pack.voided_at, pack.note.as_ref()), (Some(at(121)), None), "its note is erased");
    let parts = [pack.granted, pack.remaining, pack.held, pack.spent, pack.expired, pack.voided];
    assert_eq!(parts.map(|it| it.to_string()), ["300", "0", "111.284566", "0", "0", "188.715434"]);
    let notes = lots.iter().filter_map(|lot| lot.note.as_ref()).map(Note::as_str);
    assert_eq!(notes.collect::<Vec<_>>(), ["kept"]);
}

#[test]
fn the_golden_charges_and_holds_keep_their_fields() {
    let Event::Charge(first) = entry(6).event else { panic!("entry 6 is no charge") };
    assert_eq!(first.attribution, work(1, Some("film"), Some("claude")));
    assert_eq!((first.occurred_at, first.key, first.period), (Some(at(0)), None, at(0)));
    let metered = first.metered.unwrap();
    assert_eq!(metered.catalog_version.get(), 3);
    let parts: Vec<_> = metered
        .components
        .iter()
        .map(|it| format!("{}: {} at {} = {}", it.meter, it.quantity, it.rate, it.amount))
        .collect();
    assert_eq!(parts, ["output: 1234567 at 0.000001 = 1.234567", "input: 0.5 at 0.1 = 0.05"]);
    let details = entry(6).details.unwrap();
    assert_eq!((details.member, details.salt), (Some(id(1)), [6; 16]));
    assert_eq!(details.labels, labels(&[("job", "42"), ("trace/id", "ä \"b\" \\")]));
    assert_eq!(details.request.as_ref().unwrap().id.as_str(), "charge 1");
    let Event::Charge(keyed) = entry(8).event else { panic!("entry 8 is no charge") };
    assert_eq!((keyed.key, keyed.metered), (Some(id(2)), None));

    let Event::Hold(hold) = entry(9).event else { panic!("entry 9 is no hold") };
    assert_eq!((hold.deadline, hold.key, hold.period), (at(620), None, at(0)));
    let Event::Capture(capture) = entry(13).event else { panic!("entry 13 is no capture") };
    assert_eq!(capture.hold, hold.hold);
    assert_eq!(capture.metered.unwrap().components[0].amount, credits(14));
    let refunded = [17, 18, 19].map(|number| match entry(number).event {
        Event::Refund(it) => (it.charge == capture.charge, it.refunded_after.to_string()),
        other => panic!("entry {number} is {other:?}"),
    });
    assert_eq!(refunded, [(true, "1"), (true, "14"), (false, "0.000001")].map(|(it, sum)| (it, sum.to_owned())));
    let lost = Refund::from_entry(&entry(18)).unwrap().lost;
    assert_eq!(lost, credits(10), "what belonged to the expired lot");
    let erased = [22, 23].map(|number| entry(number).event);
    assert_eq!(erased, [Event::Erase { member: Some(id(2)) }, Event::Erase { member: None }]);

    let holds = Golden::format_1().holds();
    let states = |state| holds.iter().filter(|hold| hold.state == state).count();
    assert_eq!(HoldState::ALL.map(states), [2, 1, 1, 1]);
    let captured = holds.iter().find(|it| it.id == capture.hold).unwrap();
    assert_eq!((captured.captured, captured.charge), (credits(14), Some(capture.charge)));
    assert_eq!(captured.labels, labels(&[("shot", "7")]));
    let open = holds.iter().find(|hold| hold.number == 11).unwrap();
    assert!(open.labels.is_empty(), "erased");
    assert_eq!(open.terms.placed_by, Actor::ApiKey { key: id(2), user: id(2) });
}
