//! Charging by usage: `Charge`, `Capture` and `Estimate` by meters, and the catalog's versions.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{at, engines, refused};
use tonic::Code;

use crate::words::{Charging, Spending, Under, batch, reserve, settle, settle_all, spend, used};
use crate::world::{BUILT_IN, World};

/// A model of three meters, one of which becomes cheaper.
const THREE_METERS: &str = r#"
[[models]]
id = "writer"
name = "Writer"
meters = [
  { id = "input_tokens", unit = "token", credits = "0.000003" },
  { id = "output_tokens", unit = "token", credits = "0.5", changes = [{ from = "2026-02-01T00:00:00Z", credits = "0.25" }] },
  { id = "dear", unit = "thing", credits = "1000000000000" },
]
"#;

async fn world(db: bursar_testkit::TestDb) -> World {
    World::selling(db, &format!("{BUILT_IN}{THREE_METERS}")).await
}

fn estimate(model: &str, usage: &[(&str, &str)]) -> pb::EstimateRequest {
    pb::EstimateRequest { model: model.to_owned(), usage: used(usage) }
}

fn parts(components: &[pb::Component]) -> Vec<[&str; 4]> {
    components.iter().map(|it| [&*it.meter, &*it.quantity, &*it.rate, &*it.amount]).collect()
}

fn by_usage(hold: &pb::Hold, usage: &[(&str, &str)]) -> pb::CaptureRequest {
    pb::CaptureRequest { usage: used(usage), ..settle_all(hold) }
}

/// What is wrong, the usage that says so, and the fields that are named for it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

engines! {
    async fn the_rate_card_prices_each_meter(db: TestDb) {
        let world = world(db).await;
        let ana = world.person_with(1, "100").await;
        let usage = [("output_tokens", "2.5"), ("input_tokens", "0.1")];
        let priced = ana.estimate(estimate("writer", &usage)).await.unwrap();
        let expected = [["output_tokens", "2.5", "0.5", "1.25"], ["input_tokens", "0.1", "0.000003", "0.000001"]];
        assert_eq!((parts(&priced.components), &*priced.amount), (expected.to_vec(), "1.250001"), "rounded up: nothing is free");
        let charge = ana.charged(spend(ana.owner, "").on_model("writer").using(&usage)).await;
        assert_eq!((&charge.components, &charge.amount), (&priced.components, &priced.amount));
        assert_eq!((charge.catalog_version, priced.catalog_version, charge.components_omitted), (1, 1, 0));
        assert_eq!(ana.charge_now(&charge).await, charge, "read back");
        let entries = ana.list_ledger_entries(crate::words::entries_of(ana.owner)).await.unwrap().entries;
        assert_eq!((&entries[1].components, entries[1].catalog_version), (&charge.components, 1));

        let only = ana.charged(spend(ana.owner, "").on_model("veo-3.1").using(&[("", "2.5")])).await;
        assert_eq!(parts(&only.components), [["seconds", "2.5", "6", "15"]], "a model's only meter needs no name");
        assert_eq!(world.product().estimate(estimate("veo-3.1", &[("seconds", "2.5")])).await.unwrap().amount, "15");
        world.clock.set(at("2026-02-01T00:00:00Z")).unwrap();
        let cheaper = ana.charged(spend(ana.owner, "").on_model("writer").using(&[("output_tokens", "2")])).await;
        assert_eq!(parts(&cheaper.components), [["output_tokens", "2", "0.25", "0.5"]], "from its date on");
        world.audit(ana.owner).await;
    }

    async fn a_hold_is_captured_by_usage_or_whole(db: TestDb) {
        let world = world(db).await;
        let ana = world.person_with(1, "100").await;
        let hold = ana.held(reserve(ana.owner, "10").on_model("veo-3.1")).await;
        let charge = ana.captured(by_usage(&hold, &[("seconds", "1.5")]).under("c1")).await;
        assert_eq!((parts(&charge.components), &*charge.amount), (vec![["seconds", "1.5", "6", "9"]], "9"));
        assert_eq!((charge.catalog_version, ana.charge_now(&charge).await), (1, charge.clone()));
        let again = ana.capture(by_usage(&hold, &[("seconds", "1.5")]).under("c1")).await.unwrap();
        assert_eq!((again.charge, again.replayed), (Some(charge), true));
        let other = by_usage(&hold, &[("seconds", "1.6")]).under("c1");
        refused(ana.capture(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");

        let hold = ana.held(reserve(ana.owner, "10").on_model("veo-3.1")).await;
        let above = refused(ana.capture(by_usage(&hold, &[("", "2")])).await, Code::FailedPrecondition, "CAPTURE_ABOVE_HOLD");
        assert_eq!((&*above.metadata["held"], &*above.metadata["required"]), ("10", "12"));
        let missing = refused(ana.capture(by_usage(&hold, &[("frames", "2")])).await, Code::NotFound, "METER_NOT_FOUND");
        assert_eq!((&*missing.metadata["model"], &*missing.metadata["meter"]), ("veo-3.1", "frames"));
        let both = pb::CaptureRequest { usage: used(&[("", "1")]), ..settle(&hold, "1") };
        assert_eq!(refused(ana.capture(both).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["usage"]);
        let whole = ana.captured(settle_all(&hold)).await;
        assert_eq!((&*whole.amount, whole.components.len()), ("10", 0), "neither: all of it");

        let unheard = ana.held(reserve(ana.owner, "1").on_model("unheard-of")).await;
        refused(ana.capture(by_usage(&unheard, &[("", "1")])).await, Code::NotFound, "MODEL_NOT_FOUND");
        let nameless = ana.held(reserve(ana.owner, "1")).await;
        let bad = refused(ana.capture(by_usage(&nameless, &[("", "1")])).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["usage"], "its hold names no model");
        world.audit(ana.owner).await;
    }

    async fn what_has_no_price_is_refused_and_never_free(db: TestDb) {
        let world = world(db).await;
        let ana = world.person_with(1, "100").await;
        let seq = world.seq(ana.owner).await;
        let by = |model: &str, usage: &[(&str, &str)]| spend(ana.owner, "").on_model(model).using(usage);
        let model = refused(ana.charge(by("unheard-of", &[("x", "1")])).await, Code::NotFound, "MODEL_NOT_FOUND");
        assert_eq!(model.metadata["model"], "unheard-of");
        refused(ana.estimate(estimate("unheard-of", &[("x", "1")])).await, Code::NotFound, "MODEL_NOT_FOUND");
        let meter = refused(ana.charge(by("writer", &[("images", "1")])).await, Code::NotFound, "METER_NOT_FOUND");
        assert_eq!((&*meter.metadata["model"], &*meter.metadata["meter"]), ("writer", "images"));
        refused(ana.estimate(estimate("writer", &[("images", "1")])).await, Code::NotFound, "METER_NOT_FOUND");
        let outcomes = ana.batch_charge(batch([by("unheard-of", &[("x", "1")])])).await.unwrap().outcomes;
        assert!(matches!(outcomes[0].outcome, Some(pb::batch_charge_outcome::Outcome::Status(_))));
        assert_eq!(world.seq(ana.owner).await, seq);
        world.audit(ana.owner).await;
    }

    async fn bad_usage_is_named_field_by_field(db: TestDb) {
        let world = world(db).await;
        let ana = world.person_with(1, "100").await;
        let seq = world.seq(ana.owner).await;
        let names: Vec<String> = (0..1_000).map(|n| format!("meter-{n}")).collect();
        let thousand: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let long = "x".repeat(129);
        let no_names = [("a\nb", "1"), (&*long, "x")];
        let cases: Vec<Case<'_>> = vec![
            ("a thousand meters", &thousand, &["usage"]),
            ("33 meters", &thousand[..33], &["usage"]),
            ("repeated", &[("input_tokens", "1"), ("input_tokens", "2")], &["usage"]),
            ("nameless twice", &[("", "1"), ("", "2")], &["usage"]),
            ("nameless of three", &[("", "1")], &["usage"]),
            ("zero", &[("input_tokens", "0")], &["usage[0].quantity"]),
            ("negative", &[("input_tokens", "-1")], &["usage[0].quantity"]),
            ("too precise", &[("input_tokens", "1"), ("output_tokens", "0.0000001")], &["usage[1].quantity"]),
            ("too much", &[("input_tokens", "1000000000000.000001")], &["usage[0].quantity"]),
            ("no number", &[("input_tokens", "many")], &["usage[0].quantity"]),
            ("empty", &[("input_tokens", "")], &["usage[0].quantity"]),
            ("no name", &no_names, &["usage[0].meter", "usage[1].meter", "usage[1].quantity"]),
            ("overflowing when priced", &[("dear", "1000000000000")], &["usage"]),
            ("overflowing when summed", &[("dear", "1"), ("output_tokens", "1")], &["usage"]),
        ];
        for (what, usage, fields) in cases {
            let charge = spend(ana.owner, "").on_model("writer").using(usage);
            let charged = refused(ana.charge(charge).await, Code::InvalidArgument, "INVALID_FIELDS");
            let priced = refused(ana.estimate(estimate("writer", usage)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(charged.fields, fields, "{what}");
            assert_eq!(priced.fields, fields, "{what}");
        }
        let both = spend(ana.owner, "1").on_model("writer").using(&[("input_tokens", "1")]);
        assert_eq!(refused(ana.charge(both).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["usage"], "amount and usage");
        let neither = spend(ana.owner, "").on_model("writer");
        assert_eq!(refused(ana.charge(neither).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["amount"]);
        let nameless = spend(ana.owner, "").using(&[("input_tokens", "1")]);
        assert_eq!(refused(ana.charge(nameless).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["model"]);
        let nothing = refused(ana.estimate(estimate("", &[])).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(nothing.fields, ["model", "usage"]);
        assert_eq!(world.seq(ana.owner).await, seq, "nothing was written");
    }

    async fn a_batch_cuts_what_may_be_long(db: TestDb) {
        let world = world(db).await;
        let ana = world.person(1);
        for _ in 0..10 {
            world.operator().granted(crate::words::grant(ana.owner, "1")).await;
        }
        let charge = spend(ana.owner, "10").labelled("scene", "7");
        let outcomes = ana.batch_charge(batch([charge])).await.unwrap().outcomes;
        let Some(pb::batch_charge_outcome::Outcome::Charge(cut)) = &outcomes[0].outcome else {
            panic!("{outcomes:?}");
        };
        assert_eq!((cut.labels.len(), cut.allocations.len(), cut.allocations_omitted), (0, 8, 2));
        let whole = ana.charge_now(cut).await;
        assert_eq!((whole.labels.len(), whole.allocations.len(), whole.allocations_omitted), (1, 10, 0));
        let usage: Vec<(&str, &str)> = vec![("\n", "x"); 32];
        let bad = ana.batch_charge(batch([spend(ana.owner, "").on_model("writer").using(&usage)])).await.unwrap().outcomes;
        let Some(pb::batch_charge_outcome::Outcome::Status(status)) = &bad[0].outcome else {
            panic!("{bad:?}");
        };
        assert!(status.message.contains("usage[3].quantity") && !status.message.contains("usage[4]"), "{}", status.message);
        world.audit(ana.owner).await;
    }

    async fn every_catalog_that_was_used_stays_readable(db: TestDb) {
        let world = world(db).await;
        let ana = world.person(1);
        let get = |version| pb::GetCatalogVersionRequest { version };
        let present = ana.get_catalog_version(get(0)).await.unwrap();
        assert_eq!((present.version, present.models.last().unwrap().meters.len()), (1, 3));
        let other = world.instance_with(|settings| settings.catalog_file = None).await;
        let there = world.through(&other, &ana);
        assert_eq!(there.get_catalog_version(get(0)).await.unwrap().version, 2);
        assert_eq!(there.get_catalog_version(get(1)).await.unwrap(), present, "as it was");
        refused(ana.get_catalog_version(get(9)).await, Code::NotFound, "CATALOG_VERSION_NOT_FOUND");
        refused(world.nobody().get_catalog_version(get(0)).await, Code::Unauthenticated, "TOKEN_MISSING");
    }
}
