//! What is told of a file that cannot be read as it is.

use super::{BUILT_IN, VEO, assert_told, edited, flaws};

/// Edits, and everything that is told of the file then.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// Entries that cannot be read, and what is told of them.
const UNREADABLE: &[Case<'_>] = &[
    (
        &[
            (r#"name = "Business""#, "interval = \"week\""),
            (r#"price = "100.00 USD""#, r#"price = "much""#),
            ("seats = 10\n", "seats = \"ten\"\n"),
            (r#"seat_price = "10.00 USD""#, "seat_price = 10"),
        ],
        &[
            "unknown variant `week`",
            "invalid type: string \"ten\"",
            "invalid type: integer `10`",
            "missing field `name`",
            "plan business: price must",
        ],
    ),
    (
        &[(r#"price = "20.00 USD""#, r#"price = "cheap""#), (r#"credits = "300""#, "credits = 300")],
        &["invalid type: integer `300`", "pack starter: price must"],
    ),
    (
        &[("seats = 5\n", "seats = -1\n"), (r#"price = "0.00 USD""#, r#"price = "1.00 USD""#)],
        &["invalid value: integer `-1`", "the catalog needs a plan `free`"],
    ),
    (
        &[(VEO, r#"[{ id = "seconds", unit = 5, credits = "six" }]"#)],
        &["invalid type: integer `5`", "meter seconds of model veo-3.1: credits must"],
    ),
    (
        &[(r#"credits = "6" }"#, r#"credits = "6", changes = [{ from = 2027-01-01T00:00:00Z, credits = "x" }] }"#)],
        &["invalid type: map, expected a string", "meter seconds of model veo-3.1: changes.credits must"],
    ),
    (
        &[(r#"credits = "300""#, "credits = \"300\"\nscope = { models = 5, projects = [7, \"\"] }")],
        &["invalid type: integer `5`", "invalid type: integer `7`", "pack starter: scope.projects must be 1 to 128"],
    ),
    (
        &[(r#"["organizations"]"#, r#"["teleport", "levitate"]"#)],
        &["unknown variant `teleport`", "unknown variant `levitate`"],
    ),
    // Of what nobody can name, its form alone; nor is it known what it may have had.
    (
        &[
            (r#"id = "free""#, "id = 1"),
            (r#"price = "0.00 USD""#, r#"price = "much""#),
            ("seats = 5\n", "seats = -1\n"),
        ],
        &["invalid type: integer `1`", "invalid value: integer `-1`"],
    ),
    (
        &[("contract = true\n", "contract = \"yes\"\n"), ("seats = 100\n", "seats = -1\n")],
        &["invalid type: string \"yes\"", "invalid value: integer `-1`"],
    ),
    (
        &[
            (VEO, r#"[{ id = 1, unit = 2, credits = "x" }]"#),
            (r#"credits = "300""#, "credits = \"300\"\nscope = { models = [\"veo-3.1\"] }"),
        ],
        &["invalid type: integer `1`", "invalid type: integer `2`"],
    ),
    (&[(VEO, "[5]"), ("name = \"Veo 3.1\"\n", "")], &["invalid type: integer `5`", "missing field `name`"]),
    (&[(VEO, "5")], &["invalid type: integer `5`"]),
];

#[test]
fn of_an_entry_that_cannot_be_read_everything_else_is_told() {
    for (edits, told) in UNREADABLE {
        assert_told(&flaws(&edited(edits)), told);
    }
    let nothing = flaws("plans = [1]\npacks = 2\nmodels = 3\n");
    assert_told(&nothing, &["invalid type: integer `1`", "invalid type: integer `2`", "invalid type: integer `3`"]);
    assert_told(&flaws(""), &["missing field `plans`", "missing field `packs`"]);
    // What stands for a value that cannot be read stands for none in a file of which all can be.
    let odd = flaws(&edited(&[(r#"price = "20.00 USD""#, r#"price = "\u0000unread""#)]));
    assert_told(&odd, &["pack starter: price must"]);
}

#[test]
fn a_misspelt_key_is_told_with_the_one_that_was_meant_and_read_as_that() {
    let cases: &[Case<'_>] = &[
        (&[("seats = 10\n", "seat = 10\n")], &["did you mean `seats`?"]),
        (&[(r#"price = "100.00 USD""#, r#"prize = "100.00 USD""#)], &["did you mean `price`?"]),
        (&[(r#"seat_price = "10.00 USD""#, r#"seatprice = "10.00 USD""#)], &["did you mean `seat_price`?"]),
        (&[(r#"name = "Veo 3.1""#, r#"nmae = "Veo 3.1""#)], &["did you mean `name`?"]),
        (&[(VEO, r#"[{ di = "seconds", unit = "second", credits = "6" }]"#)], &["`di`", "missing field `id`"]),
        (&[(VEO, r#"[{ ID = "seconds", unit = "second", credits = "6" }]"#)], &["`ID`", "missing field `id`"]),
        (&[(VEO, r#"[{ id = "seconds", units = "second", credits = "6" }]"#)], &["did you mean `unit`?"]),
        (
            &[(r#"credits = "300""#, "credits = \"300\"\nscope = { project = [\"\"] }")],
            &["did you mean `projects`?", "pack starter: scope.projects must be 1 to 128"],
        ),
        (&[("contract = true\n", "contrat = true\n")], &["did you mean `contract`?"]),
        (&[("seats = 10\n", "seast = \"ten\"\n")], &["did you mean `seats`?", "invalid type: string \"ten\""]),
        // One that is there was not meant, and one that is far was none.
        (&[("seats = 10\n", "seats = 10\nseat = 11\n")], &["unknown field `seat`, expected one of"]),
        (&[("seats = 10\n", "people = 10\n")], &["unknown field `people`", "missing field `seats`"]),
    ];
    for (edits, told) in cases {
        let found = flaws(&edited(edits));
        assert_told(&found, told);
        let meant = told.iter().any(|said| said.contains("did you mean"));
        assert_eq!(found.iter().any(|flaw| flaw.contains("did you mean")), meant, "{found:#?}");
    }
    let sections = flaws(&BUILT_IN.replace("[[models]]", "[[modles]]").replace("[[packs]]", "[[pakcs]]"));
    assert_told(&sections, &["did you mean `models`?", "did you mean `packs`?"]);
}
