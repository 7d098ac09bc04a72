//! What an account's managers set.

use bursar_db::{Engine, on};
use bursar_id::{OwnerId, Role};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{audited, columns_with, engines, id, refused};
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::Code;

use crate::words::{Under, limit, limits_of, spend};
use crate::world::{World, until};

fn of(owner: OwnerId) -> pb::GetAccountSettingsRequest {
    pb::GetAccountSettingsRequest { owner: owner.to_string() }
}

fn set(owner: OwnerId, settings: pb::AccountSettings) -> pb::UpdateAccountSettingsRequest {
    pb::UpdateAccountSettingsRequest { owner: owner.to_string(), settings: Some(settings), ..Default::default() }
}

fn zone(owner: OwnerId, time_zone: &str) -> pb::UpdateAccountSettingsRequest {
    set(owner, pb::AccountSettings { time_zone: time_zone.to_owned(), ..Default::default() })
}

fn masked(request: pb::UpdateAccountSettingsRequest, paths: &[&str]) -> pb::UpdateAccountSettingsRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdateAccountSettingsRequest { update_mask: Some(FieldMask { paths }), ..request }
}

fn profile() -> pb::BillingProfile {
    pb::BillingProfile {
        name: "株式会社サンプル".to_owned(),
        address_lines: vec!["1-2-3 Ginza".to_owned(), "Tokyo".to_owned()],
        country: "JP".to_owned(),
        tax_id: "T1234567890123".to_owned(),
        order_number: "PO-7".to_owned(),
        invoice_mail: "books@example.com".to_owned(),
    }
}

/// `books@`, `UpdateAccountSettings` and `UTC` in hexadecimal: bytes are looked through on both engines.
const MAIL: &str = "626f6f6b7340";
const METHOD: &str = "5570646174654163636f756e7453657474696e6773";
const ZONE: &str = "555443";

/// The last digits of the sandbox's card as a field of a payment method.
const CARD: &str = "1a0434323432";

/// How many events have these bytes.
async fn told_of(world: &World, bytes: &str) -> usize {
    let all = match world.engine() {
        Engine::Sqlite => "SELECT COALESCE(group_concat(lower(hex(payload)), ' '), '') FROM outbox",
        Engine::Postgres => "SELECT COALESCE(string_agg(encode(payload, 'hex'), ' '), '') FROM outbox",
    };
    world.text(all).await.split(' ').filter(|it| it.contains(bytes)).count()
}

/// How many kept answers have these bytes.
async fn kept_of(world: &World, bytes: &str) -> usize {
    let all = match world.engine() {
        Engine::Sqlite => "SELECT COALESCE(group_concat(lower(hex(response)), ' '), '') FROM requests",
        Engine::Postgres => "SELECT COALESCE(string_agg(encode(response, 'hex'), ' '), '') FROM requests",
    };
    world.text(all).await.split(' ').filter(|it| it.contains(bytes)).count()
}

impl World {
    /// One text out of the store.
    async fn text(&self, sql: &'static str) -> String {
        let mut tx = self.store.read().await.unwrap();
        let text: Result<(String,), bursar_db::DbError> =
            async { Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_one(c).await?)) }.await;
        text.unwrap_or_else(|error| panic!("{sql}: {error}")).0
    }
}

engines! {
    async fn settings_are_what_managers_set_and_the_defaults_before(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let before = ana.get_account_settings(of(ana.owner)).await.unwrap().settings.unwrap();
        assert_eq!((before.time_zone.as_str(), before.etag.as_str()), ("UTC", "v0"));
        assert_eq!(before.billing_profile, Some(pb::BillingProfile::default()));
        assert_eq!(before.allowance_alert_percents, [0_u32; 0]);

        let all = pb::AccountSettings {
            auto_top_up: None,
            allowance_alert_percents: vec![100, 50],
            billing_profile: Some(profile()),
            time_zone: "europe/berlin".to_owned(),
            etag: String::new(),
        };
        let changed = ana.update_account_settings(set(ana.owner, all)).await.unwrap().settings.unwrap();
        assert_eq!((&*changed.time_zone, &*changed.etag), ("Europe/Berlin", "v1"));
        assert_eq!((changed.billing_profile.clone(), changed.allowance_alert_percents.clone()), (Some(profile()), vec![50, 100]));
        assert_eq!(ana.get_account_settings(of(ana.owner)).await.unwrap().settings.unwrap(), changed);

        let zone_alone = ana.update_account_settings(zone(ana.owner, "America/New_York")).await.unwrap().settings.unwrap();
        assert_eq!(zone_alone.billing_profile, Some(profile()), "without a mask what is empty stays");
        let nothing = masked(set(ana.owner, pb::AccountSettings::default()), &["billing_profile", "time_zone"]);
        let back = ana.update_account_settings(nothing).await.unwrap().settings.unwrap();
        assert_eq!((back.billing_profile, &*back.time_zone), (Some(pb::BillingProfile::default()), "UTC"));
        assert_eq!((back.allowance_alert_percents, &*back.etag), (vec![50, 100], "v3"), "what no mask names stays");
        let same = ana.update_account_settings(zone(ana.owner, "UTC")).await.unwrap().settings.unwrap();
        assert_eq!(same.etag, "v3", "no change");
        world.audit(ana.owner).await;
    }

    async fn of_two_who_edit_the_second_is_told(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let by = |etag: &str, name: &str| {
            let request = zone(ana.owner, name);
            pb::UpdateAccountSettingsRequest { etag: etag.to_owned(), ..request }
        };
        ana.update_account_settings(by("v0", "Europe/Berlin").under("r")).await.unwrap();
        refused(ana.update_account_settings(by("v0", "Europe/Paris")).await, Code::Aborted, "ETAG_MISMATCH");
        refused(ana.update_account_settings(by("v2", "Europe/Paris")).await, Code::Aborted, "ETAG_MISMATCH");
        let again = ana.update_account_settings(by("v0", "Europe/Berlin").under("r")).await.unwrap().settings.unwrap();
        assert_eq!(again.etag, "v1", "a repetition gets the first answer");
        ana.update_account_settings(by("v1", "Europe/Paris")).await.unwrap();

        let racers: Vec<_> = (0..16).map(|n| {
            let ana = ana.clone();
            let name = if n % 2 == 0 { "Europe/Rome" } else { "Europe/Oslo" };
            let request = by("v2", name);
            tokio::spawn(async move { ana.update_account_settings(request).await.is_ok() })
        }).collect();
        let mut done = 0;
        for racer in racers {
            done += usize::from(racer.await.unwrap());
        }
        assert_eq!(done, 1, "one of all that meant the same state");
    }

    async fn bad_settings_are_named_field_by_field(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let lines = |count: usize| vec!["x".to_owned(); count];
        let with = |change: fn(&mut pb::BillingProfile)| {
            let mut it = profile();
            change(&mut it);
            set(ana.owner, pb::AccountSettings { billing_profile: Some(it), ..Default::default() })
        };
        let percents = |percents: Vec<u32>| set(ana.owner, pb::AccountSettings { allowance_alert_percents: percents, ..Default::default() });
        let crowded = pb::BillingProfile { address_lines: lines(7), ..profile() };
        let crowded = set(ana.owner, pb::AccountSettings { billing_profile: Some(crowded), ..Default::default() });
        let cases = [
            (with(|it| "a\u{202e}b".clone_into(&mut it.name)), "settings.billing_profile.name"),
            (with(|it| it.name = "x".repeat(121)), "settings.billing_profile.name"),
            (with(|it| "a\nb".clone_into(&mut it.address_lines[1])), "settings.billing_profile.address_lines[1]"),
            (crowded, "settings.billing_profile.address_lines"),
            (with(|it| "Japan".clone_into(&mut it.country)), "settings.billing_profile.country"),
            (with(|it| it.tax_id = "1".repeat(65)), "settings.billing_profile.tax_id"),
            (with(|it| "\u{200b}".clone_into(&mut it.order_number)), "settings.billing_profile.order_number"),
            (with(|it| "nobody".clone_into(&mut it.invoice_mail)), "settings.billing_profile.invoice_mail"),
            (percents(vec![0]), "settings.allowance_alert_percents"),
            (percents(vec![101]), "settings.allowance_alert_percents"),
            (percents(vec![5, 5]), "settings.allowance_alert_percents"),
            (percents((1..=17).collect()), "settings.allowance_alert_percents"),
            (zone(ana.owner, "Mars/Olympus"), "settings.time_zone"),
            (zone(ana.owner, "+01:00"), "settings.time_zone"),
            (masked(zone(ana.owner, "UTC"), &["etag"]), "update_mask"),
            (zone(ana.owner, "UTC").under(&"x".repeat(129)), "request_id"),
        ];
        for (request, field) in cases {
            let what = format!("{request:?}");
            let bad = refused(ana.update_account_settings(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, [field], "{what}");
        }
        for unsupported in ["Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"] {
            let answer = ana.update_account_settings(zone(ana.owner, unsupported)).await;
            refused(answer, Code::InvalidArgument, "TIME_ZONE_UNSUPPORTED");
        }
        assert_eq!(ana.get_account_settings(of(ana.owner)).await.unwrap().settings.unwrap().etag, "v0");
    }

    async fn limits_by_the_day_go_by_the_time_zone_from_the_answer_on(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "100").await;
        let tomorrow = world.now().start_of_day().saturating_add(Span::DAY);
        world.passes(tomorrow.saturating_add(Span::from_mins(22 * 60 + 30)).since(world.now()));
        let me = format!("member {}", ana.user);
        ana.limited(limit(ana.owner, &me, pb::LimitWindow::Day, "10")).await;
        ana.charged(spend(ana.owner, "8")).await;
        world.passes(Span::HOUR);
        ana.charged(spend(ana.owner, "2")).await;
        refused(ana.charge(spend(ana.owner, "1")).await, Code::FailedPrecondition, "LIMIT_REACHED");
        // An hour ahead of UTC, all the year: its day began between the two.
        ana.update_account_settings(zone(ana.owner, "Africa/Lagos")).await.unwrap();
        ana.charged(spend(ana.owner, "8")).await;
        refused(ana.charge(spend(ana.owner, "1")).await, Code::FailedPrecondition, "LIMIT_REACHED");
        let shown = ana.list_limits(limits_of(ana.owner)).await.unwrap().limits.remove(0);
        let ends = tomorrow.saturating_add(Span::from_hours(24 + 23));
        assert_eq!((&*shown.used, shown.resets_at), ("10", Some(to_timestamp(ends))));
        world.audit(ana.owner).await;
    }

    async fn managers_set_members_do_not_see_and_the_log_has_no_address(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "1").await;
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        world.hears(team, id(3), Some(Role::Member), 1).await;
        let (admin, member) = (world.member(2, team, Role::Admin, 1), world.member(3, team, Role::Member, 1));
        let stranger = world.person(9);
        let wanted = || set(team, pb::AccountSettings { billing_profile: Some(profile()), ..Default::default() });
        owner.update_account_settings(wanted()).await.unwrap();
        admin.update_account_settings(zone(team, "Europe/Berlin")).await.unwrap();
        world.operator().update_account_settings(zone(team, "Europe/Paris")).await.unwrap();
        admin.get_account_settings(of(team)).await.unwrap();
        refused(member.get_account_settings(of(team)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(member.update_account_settings(wanted()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(stranger.get_account_settings(of(team)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(stranger.update_account_settings(wanted()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(world.product().get_account_settings(of(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        let nobodys = OwnerId::User(id(77));
        refused(world.operator().get_account_settings(of(nobodys)).await, Code::NotFound, "NOT_FOUND");
        refused(world.operator().update_account_settings(zone(nobodys, "UTC")).await, Code::NotFound, "NOT_FOUND");

        let rows = audited(&world.store).await;
        let told: Vec<String> = rows.iter().filter(|row| row.method.ends_with("UpdateAccountSettings"))
            .map(|row| row.reason.clone().unwrap_or_else(|| row.outcome.to_string())).collect();
        let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
        told.sort_unstable();
        assert_eq!(told, ["DONE", "DONE", "DONE", "NOT_FOUND", "ROLE_NOT_ALLOWED"]);
        let log = format!("{rows:?}");
        assert!(!log.contains("books@") && !log.contains("Ginza"), "{log}");
        assert_eq!(told_of(&world, MAIL).await, 0, "nor has an event one");
        assert!(told_of(&world, METHOD).await > 0, "the events were looked through");
    }

    async fn a_purge_and_a_departure_erase_the_settings(db: TestDb) {
        let world = World::on(db).await;
        let (team, owner) = world.organization_with(1, "1").await;
        let ana = world.person(5);
        let wanted = |owner| set(owner, pb::AccountSettings { billing_profile: Some(profile()), allowance_alert_percents: vec![50], ..Default::default() });
        owner.update_account_settings(wanted(team).under("a")).await.unwrap();
        ana.update_account_settings(wanted(ana.owner).under("b")).await.unwrap();
        for manager in [&owner, &ana] {
            let whose = if manager.user == ana.user { ana.owner } else { team };
            let setup = pb::BeginSetupRequest { owner: whose.to_string(), return_url: "https://x.example/".to_owned(), request_id: String::new() };
            for request_id in ["s1", "s2"] {
                let saved = manager.begin_setup(setup.clone().under(request_id)).await.unwrap().payment_method.unwrap();
                assert_eq!(saved.last4, "4242");
                let (owner, payment_method_id) = (whose.to_string(), saved.id);
                let prefer = pb::SetDefaultPaymentMethodRequest { owner, payment_method_id, request_id: format!("{request_id}-default") };
                manager.set_default_payment_method(prefer).await.unwrap();
            }
        }
        let there = "SELECT (SELECT COUNT(*) FROM account_settings) + (SELECT COUNT(*) FROM payment_methods) \
             + (SELECT COUNT(*) FROM accounts WHERE allowance_alerts IS NOT NULL) WHERE $1 IS NOT NULL";
        assert_eq!(world.number(there, team).await, 8);
        assert!(!columns_with(&world.store, "books@example.com").await.is_empty(), "an address is found where it is");
        world.stands(team, Standing::Purged, 2).await;
        world.deleted(ana.user).await;
        until("all are erased", async || {
            world.passes(Span::SECOND);
            world.number(there, team).await == 0
        }).await;
        refused(world.operator().update_account_settings(wanted(team)).await, Code::PermissionDenied, "ORGANIZATION_DELETED");
        refused(world.operator().update_account_settings(wanted(ana.owner)).await, Code::NotFound, "NOT_FOUND");
        let left = columns_with(&world.store, "books@example.com").await;
        assert!(left.is_empty(), "the address is still in {left:?}");
        assert_eq!(kept_of(&world, MAIL).await, 0, "no answer is kept with a profile");
        assert_eq!(kept_of(&world, CARD).await, 0, "nor with a card");
        assert!(kept_of(&world, ZONE).await > 0, "the answers were looked through");
    }
}
