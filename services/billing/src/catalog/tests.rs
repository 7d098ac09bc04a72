//! The file's form, and everything that can be wrong with it.

use super::*;

mod form;

fn flaws(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws,
    }
}

#[test]
fn the_built_in_catalog_is_what_the_product_sells() {
    let catalog = load(None).unwrap_or_else(|error| panic!("{error}"));
    let plans: Vec<_> = catalog
        .plans()
        .iter()
        .map(|it| {
            let price = it.price.map(|price| price.to_string());
            (it.id.as_str(), price, it.credits.to_string(), it.seats, it.organization, it.single_sign_on)
        })
        .collect();
    let price = |text: &str| Some(text.to_owned());
    assert_eq!(
        plans,
        [
            ("free", price("0.00 USD"), "0".to_owned(), 5, false, false),
            ("business", price("100.00 USD"), "1500".to_owned(), 10, true, false),
            ("enterprise", None, "0".to_owned(), 100, true, true),
        ]
    );
    let packs: Vec<_> = catalog.packs().iter().map(|it| format!("{} {} {}", it.id, it.price, it.credits)).collect();
    assert_eq!(packs, ["starter 20.00 USD 300", "standard 100.00 USD 1500", "premium 200.00 USD 3000"]);
    let models: Vec<_> = catalog.models().iter().map(|it| it.model.as_str()).collect();
    let known = ["veo-3.1", "kling-3.0-pro", "seedance-2.0", "hailuo-2.3", "claude-opus-4.7", "gemini-3.1-pro"];
    for model in known {
        assert!(models.contains(&model), "{model} has a price");
    }
    assert_eq!(models[0], "veo-3.1", "models stay in the file's order");
}

const VEO: &str = r#"[{ id = "seconds", unit = "second", credits = "6" }]"#;
const TWO_CHANGES_AT_ONCE: &str = r#"credits = "6", changes = [
    { from = "2027-01-01T00:00:00Z", credits = "5" }, { from = "2027-01-01T00:00:00Z", credits = "4" }] }"#;

/// Each changes one thing of the built-in catalog: what, into what, and what is said about it.
const FLAWS: &[(&str, &str, &str)] = &[
    (r#"credits = "1500""#, r#"credits = "1e3""#, "plan business: credits must"),
    (r#"credits = "1500""#, r#"credits = "-1""#, "plan business: credits must"),
    (r#"price = "100.00 USD""#, r#"price = "100.00""#, "plan business: price must"),
    (r#"price = "100.00 USD""#, r#"price = "100.00 usd""#, "plan business: price must"),
    (r#"price = "100.00 USD""#, r#"price = "100.001 USD""#, "the price of plan business must be a whole number"),
    (r#"price = "100.00 USD""#, r#"price = "-1.00 USD""#, "the price of plan business must"),
    (r#"price = "100.00 USD""#, r#"price = "100.00 EUR""#, "plan business is priced in another currency"),
    (r#"id = "free""#, r#"id = "gratis""#, "the catalog needs a plan `free`"),
    (r#"price = "0.00 USD""#, r#"price = "1.00 USD""#, "the catalog needs a plan `free`"),
    (r#"id = "business""#, r#"id = "free""#, "plan free is listed twice"),
    (r#"id = "business""#, r#"id = "Business""#, "plan Business: id must be 1 to 63 of a-z"),
    ("seats = 10\n", "seats = 0\n", "plan business must have at least one seat"),
    ("seats = 10\n", "seats = -1\n", "invalid value"),
    ("seats = 10\n", "", "missing field `seats`"),
    ("seats = 10\n", "seats = 10\ncolour = 1\n", "unknown field `colour`"),
    (r#"name = "Business""#, "name = \"Business\"\ninterval = \"week\"", "unknown variant"),
    (r#"name = "Free""#, "name = \"Free\"\ninterval = \"year\"", "plan free is paid by the year: it must have a price"),
    (r#"name = "Enterprise""#, "name = \"Enterprise\"\ninterval = \"year\"", "plan enterprise is paid by the year"),
    (r#"seat_price = "10.00 USD""#, r#"seat_price = "10""#, "plan business: seat_price must"),
    (r#"seat_price = "10.00 USD""#, r#"seat_price = "10.001 USD""#, "the price of a seat of plan business must"),
    (r#"seat_price = "10.00 USD""#, r#"seat_price = "0.00 USD""#, "the price of a seat of plan business must"),
    (r#"seat_price = "10.00 USD""#, r#"seat_price = "-1.00 USD""#, "the price of a seat of plan business must"),
    (r#"seat_price = "10.00 USD""#, r#"seat_price = "10.00 EUR""#, "plan business is priced in another currency"),
    ("seat_price = \"10.00 USD\"\n", "", "plan business: seat_price is missing"),
    (r#"credits_per_seat = "150""#, r#"credits_per_seat = "-1""#, "plan business: credits_per_seat must"),
    ("seats = 10\n", "seats = 10\nrollover = \"much\"\n", "plan business: rollover must"),
    ("seats = 10\n", "seats = 10\nrollover = \"\"\n", "plan business: rollover must"),
    ("seats = 10\n", "seats = 10\nrollover = \"-500\"\n", "plan business: rollover must"),
    ("seats = 10\n", "seats = 10\nrollover = \"0.0000001\"\n", "plan business: rollover must"),
    ("seats = 10\n", "seats = 10\nrollover = \"1000000000001\"\n", "plan business: rollover must"),
    ("seats = 10\n", "seats = 10\nrollover = 500\n", "expected a string"),
    ("seats = 10\n", "seats = 10\nrollover = \"0\"\n", "plan business has a rollover: that must be above zero"),
    ("seats = 5\n", "seats = 5\nrollover = \"500\"\n", "plan free has a rollover"),
    ("seats = 100\n", "seats = 100\nrollover = \"500\"\n", "plan enterprise: rollover must be left out"),
    ("seats = 10\n", "seats = 10\ngrant_in_grace = \"yes\"\n", "expected a boolean"),
    ("seats = 5\n", "seats = 5\ngrant_in_grace = true\n", "plan free has grant_in_grace"),
    ("seats = 100\n", "seats = 100\ngrant_in_grace = true\n", "plan enterprise: grant_in_grace must be left out"),
    ("seats = 5\n", "seats = 5\nseat_price = \"1.00 USD\"\n", "the plan `free` has none to sell"),
    ("seats = 100\n", "seats = 100\nseat_price = \"1.00 USD\"\n", "plan enterprise: seat_price must be left out"),
    (r#"["organizations"]"#, r#"["teleport"]"#, "unknown variant `teleport`"),
    ("contract = true\n", "", "plan enterprise: price is missing"),
    ("contract = true\n", "contract = true\ncredits = \"5\"\n", "plan enterprise: credits must be left out"),
    (r#"credits = "300""#, r#"credits = "0""#, "pack starter must be worth more than zero credits"),
    (r#"price = "20.00 USD""#, r#"price = "0.00 USD""#, "a pack cannot be free"),
    (r#"name = "Starter""#, r#"name = " ""#, "pack starter has no name"),
    (r#"id = "standard""#, r#"id = "starter""#, "pack starter is listed twice"),
    (r#"unit = "second""#, r#"unit = """#, "meter seconds of model veo-3.1 has no name or unit"),
    (r#"name = "Veo 3.1""#, r#"name = """#, "model veo-3.1 has no name or unit"),
    (r#"id = "veo-3.1""#, r#"id = "veo-3.1 ""#, "model veo-3.1 : id must be 1 to 128 bytes"),
    (r#"credits = "6""#, r#"credits = "0.0000001""#, "meter seconds of model veo-3.1: credits must"),
    (r#"credits = "6""#, r#"credits = "0""#, "meter seconds of model veo-3.1 must be worth more than zero"),
    (VEO, "[]", "model veo-3.1 must have 1 to 32 meters"),
    (r#"id = "seconds""#, r#"id = " ""#, "meter   of model veo-3.1: id must be 1 to 128 bytes"),
    (
        r#"id = "cached_tokens""#,
        r#"id = "input_tokens""#,
        "meter input_tokens of model claude-opus-4.7 is listed twice",
    ),
    (r#"credits = "6" }"#, r#"credits = "6", changes = [{ from = "soon", credits = "5" }] }"#, "changes.from must"),
    (
        r#"credits = "6" }"#,
        r#"credits = "6", changes = [{ from = "2027-01-01T00:00:00Z" }] }"#,
        "missing field `credits`",
    ),
    (r#"credits = "6" }"#, TWO_CHANGES_AT_ONCE, "meter seconds of model veo-3.1 must have one rate without a date"),
    (r#"credits = "300""#, "credits = \"300\"\nscope = {}", "pack starter: scope must name a model or a project"),
    (
        r#"credits = "300""#,
        "credits = \"300\"\nscope = { models = [\"sora\"] }",
        "pack starter is scoped to the model sora",
    ),
    (
        r#"credits = "300""#,
        "credits = \"300\"\nscope = { models = [\"a\", \"a\"] }",
        "pack starter: scope names a twice",
    ),
    (
        r#"credits = "300""#,
        "credits = \"300\"\nscope = { projects = [\"\"] }",
        "pack starter: scope.projects must be 1 to 128",
    ),
    (r#"credits = "1500""#, "credits = \"1500\"\nscope = { teams = [] }", "unknown field `teams`"),
    (r#"name = "Starter""#, "name = \"St\u{200b}arter\"", "pack starter: name must have no invisible characters"),
    (r#"name = "Business""#, "name = \"\u{202e}Business\"", "plan business: name must have no invisible characters"),
    (r#"unit = "second""#, "unit = \"sec\u{2066}ond\"", "of model veo-3.1: unit must have no invisible characters"),
    (r#"id = "seconds""#, "id = \"sec\u{ad}onds\"", "of model veo-3.1: id must have no invisible characters"),
    (r#"id = "veo-3.1""#, "id = \"veo\u{200b}-3.1\"", ": id must have no invisible characters"),
    (
        r#"credits = "300""#,
        "credits = \"300\"\nscope = { projects = [\"\u{202e}a\"] }",
        "pack starter: scope.projects must have no invisible characters",
    ),
    ("[[models]]", "[[modles]]", "unknown field `modles`"),
    ("[[packs]]", "[[packs", "TOML parse error"),
];

#[test]
fn every_flaw_is_told_by_its_place() {
    for &(from, to, said) in FLAWS {
        assert!(BUILT_IN.contains(from), "the built-in catalog has {from}");
        let found = flaws(&BUILT_IN.replacen(from, to, 1));
        assert!(found.iter().any(|flaw| flaw.contains(said)), "{from} → {to}: wanted {said:?}, found {found:#?}");
    }
}

#[test]
fn several_flaws_are_told_together() {
    let text = BUILT_IN
        .replace(r#"price = "20.00 USD""#, r#"price = "cheap""#)
        .replace(r#"credits = "0.1""#, r#"credits = "x""#);
    let found = flaws(&text);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("pack starter: price"), "{found:#?}");
    assert!(found[1].starts_with("meter input_tokens of model gemini-3.1-pro: credits"), "{found:#?}");
}

/// The built-in catalog with each of these in the place of what it was.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(BUILT_IN.to_owned(), |text, &(from, to)| {
        assert!(text.contains(from), "the catalog has {from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn flaws_of_every_kind_are_told_in_one_go() {
    let found = flaws(&edited(&[
        ("seats = 5\n", "seats = 5\ncolour = 1\n"),
        (r#"unit = "song", credits"#, r#"unit = "song", size = 1, credits"#),
        ("name = \"Veo 3.1\"\n", ""),
        (r#"name = "Enterprise""#, "name = \"Enter\u{200b}prise\""),
        (r#"price = "20.00 USD""#, r#"price = "cheap""#),
        (r#"id = "standard""#, r#"id = "starter""#),
        (r#"price = "200.00 USD""#, r#"price = "200.00 EUR""#),
        (r#"credits = "3000""#, "credits = \"3000\"\nscope = { models = [\"sora\"], projects = [\"\"] }"),
    ]));
    let told = [
        "unknown field `colour`",
        "unknown field `size`",
        "missing field `name`",
        "plan enterprise: name must have no invisible characters",
        "pack starter: price must",
        "pack starter is listed twice",
        "pack premium is priced in another currency",
        "pack premium: scope.projects must be 1 to 128",
        "pack premium is scoped to the model sora",
    ];
    assert_told(&found, &told);
    let lines = found.iter().filter(|flaw| flaw.contains("TOML parse error at line ")).count();
    assert_eq!(lines, 3, "flaws of the form say where they are: {found:#?}");
}

/// These are told, each once, and nothing else.
fn assert_told(found: &[String], told: &[&str]) {
    for said in told {
        let times = told.iter().filter(|it| *it == said).count();
        let heard = found.iter().filter(|flaw| flaw.contains(said)).count();
        assert!(heard >= times, "wanted {said:?}, found {found:#?}");
    }
    assert_eq!(found.len(), told.len(), "each once, and nothing else: {found:#?}");
}

#[test]
fn what_cannot_be_read_is_the_only_flaw_that_is_told_of_it() {
    let scoped = (r#"credits = "300""#, "credits = \"300\"\nscope = { models = [\"veo-3.1\"] }");
    let yearly = (r#"name = "Business""#, "name = \"Business\"\ninterval = \"year\"");
    let rolling = ("seats = 10\n", "seats = 10\nrollover = \"500\"\n");
    let cases: &[&[(&str, &str)]] = &[
        &[(r#"price = "0.00 USD""#, r#"price = "nothing""#)],
        &[("price = \"0.00 USD\"\n", "")],
        &[("seats = 5\n", "")],
        &[(r#"id = "free""#, r#"id = "Free""#)],
        &[("[[plans]]", "[[planz]]")],
        &[yearly, (r#"price = "100.00 USD""#, r#"price = "much""#)],
        &[rolling, (r#"credits = "1500""#, r#"credits = "many""#)],
        &[("seats = 100\n", "seats = 100\nrollover = \"500\"\n")],
        &[scoped, (r#"id = "veo-3.1""#, r#"id = "veo-3.1 ""#)],
        &[scoped, ("name = \"Veo 3.1\"\n", "")],
        &[scoped, (r#"credits = "6""#, r#"credits = "six""#)],
        &[scoped, (r#"credits = "6" }"#, r#"credits = "6", changes = [{ from = "soon", credits = "5" }] }"#)],
        &[(r#"price = "20.00 USD""#, r#"price = "20""#)],
        &[(r#"credits = "300""#, "credits = \"300\"\nscope = { projects = [\"\"] }")],
        &[(VEO, r#"[{ id = " ", unit = "second", credits = "6" }]"#)],
    ];
    for edits in cases {
        let found = flaws(&edited(edits));
        assert_eq!(found.len(), 1, "{edits:?}: {found:#?}");
    }
}

#[test]
fn a_file_without_end_of_unknown_keys_is_given_up() {
    let keys: Vec<_> = (0..5_000).map(|it| format!("key{it} = 1")).collect();
    let keys = format!("seats = 5\n{}\n", keys.join("\n"));
    let found = flaws(&edited(&[("seats = 5\n", keys.as_str())]));
    assert!((2..100).contains(&found.len()) && found.iter().all(|it| it.contains("unknown field `key")), "{found:#?}");
}

#[test]
fn a_file_is_named_when_it_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.toml");
    let missing = load(Some(&path)).unwrap_err().to_string();
    assert!(missing.contains("shop.toml") && missing.contains("cannot be read"), "{missing}");
    fs::write(&path, "plans = 1").unwrap();
    let wrong = load(Some(&path)).unwrap_err().to_string();
    assert!(wrong.contains("shop.toml") && wrong.contains("line 1"), "{wrong}");
    fs::write(&path, BUILT_IN.replace("Business", "Team")).unwrap();
    let catalog = load(Some(&path)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(catalog.plan("business").unwrap().display_name, "Team");
}

#[test]
fn meters_rates_and_scopes_are_bounded() {
    let meter = |number: usize| format!(r#"{{ id = "m{number}", unit = "u", credits = "1" }}"#);
    let meters = |count: usize| format!("[{}]", (0..count).map(meter).collect::<Vec<_>>().join(", "));
    let change =
        |day: usize| format!(r#"{{ from = "2027-{:02}-{:02}T00:00:00Z", credits = "1" }}"#, day / 28 + 1, day % 28 + 1);
    let changes = |count: usize| (0..count).map(change).collect::<Vec<_>>().join(", ");
    let rates =
        |count: usize| format!(r#"[{{ id = "m", unit = "u", credits = "1", changes = [{}] }}]"#, changes(count));
    let names = |count: usize| (0..count).map(|it| format!("\"p{it}\"")).collect::<Vec<_>>().join(", ");
    let scoped = |count: usize| format!("credits = \"300\"\nscope = {{ projects = [{}] }}", names(count));
    let cases = [
        (VEO, meters(32), None),
        (VEO, meters(33), Some("model veo-3.1 must have 1 to 32 meters")),
        (VEO, meters(10_000), Some("model veo-3.1 must have 1 to 32 meters")),
        (VEO, rates(63), None),
        (VEO, rates(64), Some("at most 63 changes")),
        (r#"credits = "300""#, scoped(32), None),
        (r#"credits = "300""#, scoped(33), Some("pack starter: scope must name at most 32 projects")),
    ];
    for (from, to, said) in cases {
        assert!(BUILT_IN.contains(from), "the built-in catalog has {from}");
        let found = flaws(&BUILT_IN.replacen(from, &to, 1));
        match said {
            None => assert_eq!(found, [""; 0], "{to}"),
            Some(said) => assert!(found.iter().any(|flaw| flaw.contains(said)), "{said}: {found:#?}"),
        }
    }
    let long = "x".repeat(1_100_000);
    let found = flaws(&BUILT_IN.replacen("Starter", &long, 1));
    assert!(found[0].contains("too long to be kept"), "{found:?}");
}

#[test]
fn names_have_one_spelling() {
    let text = BUILT_IN.replace("Starter", "Cafe\u{301}").replace(r#"id = "veo-3.1""#, "id = \"v\u{e9}o  3\"");
    let decomposed = BUILT_IN.replace("Starter", "Caf\u{e9}").replace(r#"id = "veo-3.1""#, "id = \"ve\u{301}o 3\"");
    let (one, other) = (parse(&text).unwrap(), parse(&decomposed).unwrap());
    assert_eq!(canonical(&one).unwrap(), canonical(&other).unwrap());
}

/// Nothing that is optional, and everything that is.
const SMALL: &str = r#"
plans = [{ id = "free", name = "Free", price = "0 USD", credits = "0.0", seats = 5 }]
packs = []
"#;
const LARGE: &str = r#"
[[plans]]
id = "free"
name = "Free"
price = "0.00 USD"
credits = "00010.500"
seats = 5
features = ["single_sign_on", "organizations"]
scope = { projects = ["b", "a"], models = ["veo"] }

[[plans]]
id = "team"
name = "Team"
price = "9.00 USD"
credits = "1"
credits_per_seat = "0.50"
seat_price = "3.0 USD"
seats = 2

[[plans]]
id = "desk"
name = "Desk"
price = "8.00 USD"
credits = "1"
seat_price = "2.00 USD"
credits_per_seat = "0"
seats = 1

[[plans]]
id = "contract"
name = "Contract"
contract = true
seats = 7

[[packs]]
id = "starter"
name = "Starter"
price = "20 USD"
credits = "300"
scope = { models = ["veo"] }

[[models]]
name = "Veo"
id = "veo"
meters = [{ credits = "6.0", unit = "second", id = "seconds", changes = [{ from = "2027-01-01T01:00:00+01:00", credits = "5" }] }]
"#;

/// These texts are what stored catalogs are recognised by: they may never change.
#[test]
fn a_catalog_has_one_text() {
    let text = |file: &str| canonical(&parse(file).unwrap()).unwrap();
    assert_eq!(
        text(SMALL),
        r#"{"plans":[{"id":"free","name":"Free","price":"0.00 USD","credits":"0","seats":5}],"packs":[]}"#
    );
    let large = concat!(
        r#"{"plans":[{"id":"free","name":"Free","price":"0.00 USD","credits":"10.5","#,
        r#""scope":{"models":["veo"],"projects":["a","b"]},"seats":5,"features":["organizations","single_sign_on"]},"#,
        r#"{"id":"team","name":"Team","price":"9.00 USD","credits":"1","seats":2,"seat_price":"3.00 USD","credits_per_seat":"0.5"},"#,
        r#"{"id":"desk","name":"Desk","price":"8.00 USD","credits":"1","seats":1,"seat_price":"2.00 USD"},"#,
        r#"{"id":"contract","name":"Contract","seats":7,"contract":true}],"#,
        r#""packs":[{"id":"starter","name":"Starter","price":"20.00 USD","credits":"300","scope":{"models":["veo"]}}],"#,
        r#""models":[{"id":"veo","name":"Veo","meters":[{"id":"seconds","unit":"second","credits":"6","#,
        r#""changes":[{"from":"2027-01-01T00:00:00Z","credits":"5"}]}]}]}"#,
    );
    assert_eq!(text(LARGE), large);
    for file in [SMALL, LARGE, BUILT_IN] {
        let catalog = parse(file).unwrap();
        assert_eq!(from_canonical(&text(file)).unwrap(), catalog, "it reads back as it was");
    }
    // Earlier programs read what needs none of their later fields.
    let yearly = LARGE.replacen("name = \"Team\"", "name = \"Team\"\ninterval = \"year\"", 1);
    assert!(text(&yearly).contains(r#""name":"Team","interval":"year","price":"9.00 USD""#));
    assert_eq!(from_canonical(&text(&yearly)).unwrap(), parse(&yearly).unwrap());
    let rolling = LARGE.replacen("name = \"Team\"", "name = \"Team\"\nrollover = \"0.50\"", 1);
    assert!(text(&rolling).contains(r#""credits":"1","rollover":"0.5","seats":2"#));
    assert_eq!(from_canonical(&text(&rolling)).unwrap(), parse(&rolling).unwrap());
    let lenient = LARGE.replacen("name = \"Team\"", "name = \"Team\"\ngrant_in_grace = true", 1);
    assert!(text(&lenient).contains(r#""credits":"1","grant_in_grace":true,"seats":2"#));
    assert_eq!(from_canonical(&text(&lenient)).unwrap(), parse(&lenient).unwrap());
    let forms = [SMALL, LARGE, BUILT_IN, &yearly, &rolling, &lenient].map(|file| format(&parse(file).unwrap()));
    assert_eq!(forms, [1, 2, 2, 3, 4, 5]);
    assert_ne!(text(BUILT_IN), text(&BUILT_IN.replacen("\"6\"", "\"6.000001\"", 1)), "another rate, another catalog");
    assert!(from_canonical("{}").is_err() && from_canonical(&large.replace("\"5\"", "5")).is_err());
}

/// An operator's file with edits: every flaw is told, none is a panic, and what is accepted is kept as one text.
#[test]
fn fuzz_catalogs() {
    bursar_fuzz::fuzz("catalogs", &[BUILT_IN], |bytes| {
        if let Ok(catalog) = parse(&String::from_utf8_lossy(bytes)) {
            let kept = canonical(&catalog).expect("it was measured");
            assert_eq!(from_canonical(&kept).expect("it reads back"), catalog);
        }
    });
}
