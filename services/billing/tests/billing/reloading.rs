//! `ReloadCatalog`: what changes with another file and what does not, files that cannot be used, and callers who charge
//! meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bursar_id::{OwnerId, ServiceAccountId};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, audited, engines, refused, rounds};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::lanes::hang_up_after;
use crate::moving::{lots, plan_of, subscription, the_end};
use crate::races::at_once;
use crate::words::{Charging, Spending, Under, buy, reserve, settle_all, spend, subscribe, used};
use crate::world::{BUILT_IN, Person, World, sell, until};

/// The built-in catalog and a painter, whose pictures cost so much, and are counted by this meter.
fn with_painter(meter: &str, credits: &str) -> String {
    let painter = format!("meters = [{{ id = \"{meter}\", unit = \"image\", credits = \"{credits}\" }}]");
    format!("{BUILT_IN}\n[[models]]\nid = \"painter\"\nname = \"Painter\"\n{painter}\n")
}

/// The same with one thing of it changed.
pub(crate) fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the catalog has no {from}");
    text.replacen(from, to, 1)
}

/// Without a part of it: from its heading to before the next one.
fn without(text: &str, id: &str) -> String {
    let mark = format!("id = \"{id}\"");
    let parts = text.split("\n[[").filter(|part| !part.contains(&mark));
    parts.collect::<Vec<_>>().join("\n[[")
}

fn file(world: &World) -> PathBuf {
    world.settings.catalog_file.clone().expect("a file")
}

pub(crate) fn write(world: &World, text: &str) {
    fs::write(file(world), text).expect("written");
}

fn reload() -> pb::ReloadCatalogRequest {
    pb::ReloadCatalogRequest::default()
}

pub(crate) async fn reloads(operator: &Caller) -> (u32, u32) {
    let reloaded = operator.reload_catalog(reload()).await.expect("reloaded");
    assert!(reloaded.first_used_at.is_some());
    (reloaded.previous_version, reloaded.catalog_version)
}

/// The version that is in use.
async fn in_use(world: &World) -> u32 {
    let get = pb::GetCatalogVersionRequest { version: 0 };
    world.operator().get_catalog_version(get).await.expect("a catalog").version
}

/// A charge for so many pictures.
fn paint(owner: OwnerId, quantity: &str) -> pb::ChargeRequest {
    spend(owner, "").on_model("painter").using(&[("", quantity)])
}

fn by_usage(hold: &pb::Hold, usage: &[(&str, &str)]) -> pb::CaptureRequest {
    pb::CaptureRequest { usage: used(usage), ..settle_all(hold) }
}

/// What a picture cost, and by which catalog.
fn priced(charge: &pb::Charge) -> (String, u32) {
    (charge.components[0].rate.clone(), charge.catalog_version)
}

async fn estimate(who: &Person) -> Result<(String, u32), Status> {
    let usage = used(&[("", "1")]);
    let priced = who.estimate(pb::EstimateRequest { model: "painter".to_owned(), usage }).await?;
    Ok((priced.amount, priced.catalog_version))
}

/// The next month begins, with somebody's spending.
async fn month_turns(world: &World, who: &Person) -> pb::Subscription {
    let before = subscription(world, who.owner).await;
    world.passes(the_end(&before).since(world.now()));
    who.charged(spend(who.owner, "1").for_project("film")).await;
    let after = subscription(world, who.owner).await;
    assert_ne!(after.current_period_end, before.current_period_end, "it was renewed");
    after
}

engines! {
    async fn another_catalog_is_sold_and_priced_by_and_what_somebody_has_stays(db: TestDb) {
        let first = with_painter("images", "2");
        let world = World::selling(db, &first).await;
        let ana = world.person_with(1, "1000").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        let charged = ana.charged(paint(ana.owner, "3").under("early")).await;
        assert_eq!((priced(&charged), charged.amount.as_str()), (("2".to_owned(), 1), "6"));
        let (had, agreed) = (lots(&world, ana.owner).await, subscription(&world, ana.owner).await);

        let second = edited(&with_painter("images", "5"), "price = \"100.00 USD\"\ncredits = \"1500\"\nseats = 10", "price = \"120.00 USD\"\ncredits = \"1800\"\nseats = 7");
        let second = edited(&second, "price = \"20.00 USD\"\ncredits = \"300\"", "price = \"30.00 USD\"\ncredits = \"400\"");
        write(&world, &second);
        assert_eq!((in_use(&world).await, estimate(&ana).await.unwrap()), (1, ("2".to_owned(), 1)), "not by itself");
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        assert_eq!(lots(&world, ana.owner).await, had, "nothing of what there was is touched");
        assert_eq!(subscription(&world, ana.owner).await, agreed);
        assert_eq!(plan_of(&world, ana.owner).await, ("business".to_owned(), 10));

        assert_eq!((in_use(&world).await, estimate(&ana).await.unwrap()), (2, ("5".to_owned(), 2)));
        let later = ana.charged(paint(ana.owner, "3")).await;
        assert_eq!((priced(&later), later.amount.as_str()), (("5".to_owned(), 2), "15"));
        let repeated = ana.charge(paint(ana.owner, "3").under("early")).await.unwrap();
        assert!(repeated.replayed && repeated.charge.as_ref() == Some(&charged), "a repetition has the first answer");
        let nobody = world.nobody();
        let plans = nobody.list_plans(pb::ListPlansRequest::default()).await.unwrap();
        let business = plans.plans.iter().find(|plan| plan.id == "business").unwrap();
        assert_eq!((plans.catalog_version, business.price.as_ref().unwrap().units, business.seats), (2, 120, 7));
        let packs = nobody.list_packs(pb::ListPacksRequest::default()).await.unwrap();
        assert_eq!((packs.catalog_version, packs.packs[0].credits.as_str()), (2, "400"));
        let models = nobody.list_models(pb::ListModelsRequest::default()).await.unwrap();
        let painter = models.models.last().unwrap();
        assert_eq!((models.catalog_version, painter.meters[0].rates[0].credits_per_unit.as_str()), (2, "5"));

        // The next month is what was agreed; what is bought from now on is the new catalog's.
        let renewed = month_turns(&world, &ana).await;
        assert_eq!((renewed.price.unwrap().units, renewed.credits.as_str(), renewed.seats), (100, "1500", 10));
        let bought = ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap().purchase.unwrap();
        assert_eq!((bought.credits.as_str(), bought.price.unwrap().units), ("400", 30));
        let ben = world.person(2);
        let begun = ben.subscribe(subscribe(ben.owner, "business")).await.unwrap().subscription.unwrap();
        assert_eq!((begun.price.unwrap().units, begun.credits.as_str(), begun.seats), (120, "1800", 7));

        // The first file again is the first version again.
        write(&world, &first);
        assert_eq!(reloads(&world.operator()).await, (2, 1));
        assert_eq!(priced(&ana.charged(paint(ana.owner, "1")).await), ("2".to_owned(), 1));
        for owner in [ana.owner, ben.owner] {
            world.audit(owner).await;
        }
    }

    async fn what_is_gone_is_sold_to_nobody_and_goes_on_for_those_who_have_it(db: TestDb) {
        let scoped = "credits = \"1500\"\nscope = { projects = [\"film\"] }\nseats = 10";
        let first = edited(&with_painter("images", "2"), "credits = \"1500\"\nseats = 10", scoped);
        let world = World::selling(db, &first).await;
        let ana = world.person_with(1, "1000").await;
        ana.subscribe(subscribe(ana.owner, "business")).await.unwrap();
        let held = |n: &str| reserve(ana.owner, "20").on_model("painter").under(n);
        let (one, two, three) = (ana.held(held("1")).await, ana.held(held("2")).await, ana.held(held("3")).await);

        let gone = without(&without(&without(&first, "painter"), "business"), "starter");
        write(&world, &gone);
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        refused(ana.charge(paint(ana.owner, "1")).await, Code::NotFound, "MODEL_NOT_FOUND");
        refused(estimate(&ana).await, Code::NotFound, "MODEL_NOT_FOUND");
        let ben = world.person(2);
        refused(ben.subscribe(subscribe(ben.owner, "business")).await, Code::NotFound, "PLAN_NOT_FOUND");
        refused(ben.purchase_pack(buy(ben.owner, "starter")).await, Code::NotFound, "PACK_NOT_FOUND");

        // What was held before is captured at the last rate, all of it, or by what it came to.
        world.passes(Span::SECOND);
        let captured = ana.captured(by_usage(&one, &[("images", "4")])).await;
        assert_eq!((priced(&captured), captured.amount.as_str()), (("2".to_owned(), 1), "8"));
        assert_eq!(ana.captured(settle_all(&two)).await.amount, "20");
        let late = ana.held(held("4")).await;
        refused(ana.capture(by_usage(&late, &[("images", "1")])).await, Code::NotFound, "MODEL_NOT_FOUND");

        // Its plan includes what it did, and the next month is what was agreed.
        let entitled = async |through: &Caller| {
            let of = pb::GetEntitlementsRequest { owner: ana.owner.to_string() };
            let service = world.service_through(through, ServiceRole::Organization);
            let entitled = service.get_entitlements(of).await.expect("entitlements");
            (entitled.plan_id, entitled.seats, entitled.features.len())
        };
        let business = ("business".to_owned(), 10, 1);
        assert_eq!(entitled(world.nobody()).await, business);
        // So it does for a program that begins with this file.
        let other = world.another_instance().await;
        assert_eq!(entitled(&other).await, business);
        let there = world.through(&other, &ana);
        assert_eq!(priced(&there.captured(by_usage(&three, &[("images", "1")])).await), ("2".to_owned(), 1));
        let renewed = month_turns(&world, &ana).await;
        assert_eq!((renewed.price.unwrap().units, renewed.credits.as_str()), (100, "1500"));
        let list = world.operator().list_lots(crate::words::lots_of(ana.owner)).await.unwrap().lots;
        let allowances: Vec<_> = list.iter().filter(|lot| lot.source() == pb::LotSource::Allowance).collect();
        assert_eq!(allowances.len(), 2);
        assert!(allowances.iter().all(|lot| lot.scope.as_ref().is_some_and(|it| it.projects == ["film"])), "{allowances:?}");
        world.audit(ana.owner).await;
    }

    async fn a_file_that_cannot_be_used_is_named_and_changes_nothing(db: TestDb) {
        let world = World::selling(db, &with_painter("images", "2")).await;
        let ana = world.person_with(1, "1000").await;
        let path = file(&world);
        let operator = world.operator();
        let invalid = async |what: &str| {
            let refusal = refused(operator.reload_catalog(reload()).await, Code::FailedPrecondition, "CATALOG_INVALID");
            assert_eq!((in_use(&world).await, priced(&ana.charged(paint(ana.owner, "1")).await)), (1, ("2".to_owned(), 1)), "{what}");
            let here = path.display().to_string();
            assert!(!refusal.message.contains(&here), "{what}: {}", refusal.message);
            (refusal.message, refusal.metadata["flaws"].clone())
        };
        fs::remove_file(&path).unwrap();
        let (said, flaws) = invalid("missing").await;
        assert!(said.starts_with("the catalog's file is wrong: cannot be read") && flaws == "1", "{said}");
        fs::create_dir(&path).unwrap();
        assert!(invalid("a folder").await.0.contains("cannot be read: it is no file"));
        fs::remove_dir(&path).unwrap();

        let many = with_painter("images", "2").replace("credits = \"", "credits = \"-");
        let (few, broken) = (with_painter("images", "0"), with_painter("images", "2").replace("[[plans]]", "[[plans"));
        let long = format!("{}\n{}", with_painter("images", "9"), "#é".repeat(3 * 1024 * 1024 / 2));
        let cases: [(&str, &[u8], &str, &str); 6] = [
            ("empty", b"", "missing field", "2"),
            ("no text", b"\xff\xfe", "cannot be read", "1"),
            ("no TOML", broken.as_bytes(), "the catalog's file is wrong", "1"),
            ("a flaw", few.as_bytes(), "meter images of model painter must be worth more than zero credits", "1"),
            ("many flaws", many.as_bytes(), "the first flaws are: plan free: credits must", "19"),
            ("too long", long.as_bytes(), "is too long to be read: more than 4194304 bytes", "1"),
        ];
        for (what, text, expected, flaws) in cases {
            fs::write(&path, text).unwrap();
            let (said, count) = invalid(what).await;
            assert!(said.contains(expected), "{what}: {said}");
            assert!(count == flaws && said.len() < 2_000, "{what}: {count} flaws in {} bytes", said.len());
        }
        // Each refusal has its row; once the file is right, so is the catalog.
        let rows = audited(&world.store).await;
        let refusals = rows.iter().filter(|row| row.reason.as_deref() == Some("CATALOG_INVALID"));
        assert_eq!(refusals.filter(|row| row.owner.is_none()).count(), 2 + cases.len());
        write(&world, &with_painter("images", "4"));
        assert_eq!(reloads(&operator).await, (1, 2));
        assert_eq!(reloads(&operator).await, (2, 2), "the same once more");
        assert_eq!(priced(&ana.charged(paint(ana.owner, "1")).await), ("4".to_owned(), 2));
        world.audit(ana.owner).await;
    }

    async fn operators_alone_reload_once_for_each_request(db: TestDb) {
        let world = World::selling(db, &with_painter("images", "2")).await;
        let (team, boss) = world.organization_with(1, "1").await;
        let bad = || reload().under(&"x".repeat(129));
        refused(world.nobody().reload_catalog(bad()).await, Code::Unauthenticated, "TOKEN_MISSING");
        refused(boss.reload_catalog(bad()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(world.person(9).reload_catalog(bad()).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        for role in [ServiceRole::Product, ServiceRole::Organization, ServiceRole::Identity] {
            refused(world.service(role).reload_catalog(bad()).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        // Bad fields come before the file, and the request's id, too.
        let operator = world.operator();
        fs::remove_file(file(&world)).unwrap();
        assert_eq!(refused(operator.reload_catalog(bad()).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["request_id"]);
        refused(operator.reload_catalog(reload().under("r")).await, Code::FailedPrecondition, "CATALOG_INVALID");
        write(&world, &with_painter("images", "3"));
        let first = operator.reload_catalog(reload().under("r")).await.expect("a refusal burns no id");
        assert_eq!((first.previous_version, first.catalog_version), (1, 2));
        write(&world, &with_painter("images", "4"));
        assert_eq!(operator.reload_catalog(reload().under("r")).await.unwrap(), first);
        fs::remove_file(file(&world)).unwrap();
        assert_eq!(operator.reload_catalog(reload().under("r")).await.unwrap(), first);
        assert_eq!(in_use(&world).await, 2, "a repetition reads nothing");
        write(&world, &with_painter("images", "4"));
        assert_eq!(reloads(&operator).await, (2, 3));
        let rows: Vec<_> = audited(&world.store).await.into_iter().filter(|row| row.method.ends_with("/ReloadCatalog")).collect();
        let lines: Vec<_> = rows
            .iter()
            .map(|row| (row.outcome.to_string(), row.target.clone().unwrap_or_default(), row.request_id.clone().unwrap_or_default()))
            .collect();
        let line = |outcome: &str, target: &str, id: &str| (outcome.to_owned(), target.to_owned(), id.to_owned());
        let (mut lines, mut expected) = (lines, vec![line("REFUSED", "", ""), line("REFUSED", "", "r"), line("DONE", "2", "r"), line("DONE", "3", "")]);
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected);
        assert!(rows.iter().all(|row| row.actor == ServiceAccountId::OPERATOR.to_string() && row.owner.is_none()));
        world.audit(team).await;
    }

    async fn other_taxes_are_taken_with_the_catalog_or_neither_is(db: TestDb) {
        let tax = |percent: &str| format!("[[taxes]]\ncountry = 'DE'\nname = 'USt.'\npercent = '{percent}'\n");
        let world = World::with(db, |settings| {
            sell(settings, BUILT_IN);
            let taxes = settings.data_dir.join("taxes.toml");
            fs::write(&taxes, tax("19")).expect("written");
            settings.invoices.tax_file = Some(taxes);
        })
        .await;
        let write_taxes = |text: &str| fs::write(world.settings.invoices.tax_file.as_ref().expect("a file"), text).expect("written");
        let (ana, operator) = (world.person(1), world.operator());
        let profile = pb::BillingProfile { country: "DE".to_owned(), ..Default::default() };
        let settings = pb::AccountSettings { billing_profile: Some(profile), ..Default::default() };
        let owner = ana.owner.to_string();
        let german = pb::UpdateAccountSettingsRequest { owner: owner.clone(), settings: Some(settings), ..Default::default() };
        ana.update_account_settings(german).await.unwrap();
        let pays = async || {
            ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
            let list = pb::ListInvoicesRequest { owner: owner.clone(), ..Default::default() };
            let total = ana.list_invoices(list).await.unwrap().invoices.remove(0).total.unwrap();
            (total.units, total.nanos / 10_000_000)
        };
        assert_eq!(pays().await, (23, 80));
        write_taxes(&tax("20"));
        assert_eq!(pays().await, (23, 80), "not by itself");
        assert_eq!((reloads(&operator).await, pays().await), ((1, 1), (24, 0)));

        // A mistake in one of them leaves both as they were.
        let dearer = edited(BUILT_IN, "price = \"20.00 USD\"", "price = \"25.00 USD\"");
        write(&world, &dearer);
        write_taxes("[[taxes]]\ncountry = 'Germany'\nname = 'USt.'\npercent = '190'\n");
        let bad = refused(operator.reload_catalog(reload()).await, Code::FailedPrecondition, "CATALOG_INVALID");
        assert_eq!(bad.metadata["flaws"], "2");
        for flaw in ["tax 1: country", "tax 1: percent"] {
            assert!(bad.message.contains(flaw), "{}", bad.message);
        }
        assert_eq!((in_use(&world).await, pays().await), (1, (24, 0)));
        write_taxes(&tax("7"));
        write(&world, "[[plans");
        refused(operator.reload_catalog(reload()).await, Code::FailedPrecondition, "CATALOG_INVALID");
        assert_eq!((in_use(&world).await, pays().await), (1, (24, 0)));
        write(&world, &dearer);
        assert_eq!((reloads(&operator).await, pays().await), ((1, 2), (26, 75)));
        world.audit(ana.owner).await;
    }

    async fn each_process_has_a_catalog_in_use_of_its_own(db: TestDb) {
        let world = World::selling(db, &with_painter("images", "2")).await;
        let ana = world.person_with(1, "100000").await;
        let other = world.another_instance().await;
        let (there, operator) = (world.through(&other, &ana), world.operator_through(&other));
        write(&world, &with_painter("images", "3"));
        assert_eq!(reloads(&world.operator()).await, (1, 2));
        // What one remembers of the account, and what the other has written since, goes by each one's own rates.
        for _ in 0..3 {
            assert_eq!(priced(&ana.charged(paint(ana.owner, "1")).await), ("3".to_owned(), 2));
            assert_eq!(priced(&there.charged(paint(ana.owner, "1")).await), ("2".to_owned(), 1));
        }
        let get = pb::GetCatalogVersionRequest { version: 0 };
        assert_eq!((there.get_catalog_version(get).await.unwrap().version, in_use(&world).await), (1, 2));
        assert_eq!(reloads(&operator).await, (1, 2), "the same file is the same version everywhere");
        assert_eq!(priced(&there.charged(paint(ana.owner, "1")).await), ("3".to_owned(), 2));
        // Both at once, many times: one version, in use at both.
        for round in 0..rounds() {
            write(&world, &with_painter("images", &format!("{}", 10 + round)));
            let racers = (0..64).map(|n| {
                let operator = if n % 2 == 0 { world.operator() } else { operator.clone() };
                async move { operator.reload_catalog(reload()).await.expect("reloaded").catalog_version }
            });
            let versions = at_once(racers).await;
            assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
            let expected = (format!("{}", 10 + round), versions[0]);
            assert_eq!(priced(&ana.charged(paint(ana.owner, "0.1")).await), expected);
            assert_eq!(priced(&there.charged(paint(ana.owner, "0.1")).await), expected);
        }
        world.audit(ana.owner).await;
    }

    async fn hanging_up_leaves_no_catalog_that_is_told_of_and_not_in_use(db: TestDb) {
        let world = World::selling(db, &with_painter("images", "2")).await;
        let operator = world.operator();
        let last_told = async || {
            let rows = audited(&world.store).await.into_iter().filter(|row| row.method.ends_with("/ReloadCatalog"));
            rows.filter_map(|row| row.target?.parse::<u32>().ok()).max().unwrap_or(1)
        };
        for polls in 0..40_usize {
            write(&world, &with_painter("images", &format!("{}", 10 + polls)));
            hang_up_after(polls, operator.reload_catalog(reload())).await;
            if polls % 8 == 0 {
                // Whatever was begun is done before the next one begins.
                let (_, version) = reloads(&operator).await;
                assert_eq!((in_use(&world).await, last_told().await), (version, version));
            }
            until("what is told of is in use", async || in_use(&world).await == last_told().await).await;
        }
    }

    async fn every_charge_has_the_rate_of_the_version_that_it_names(db: TestDb) {
        const CALLERS: u64 = 64;
        let world = World::selling(db, &with_painter("images", "1")).await;
        let (team, boss) = world.organization_with(1, "1000000").await;
        let mut callers = Vec::new();
        for n in 0..CALLERS {
            // Half of them share a pool.
            let own = 100 + n;
            callers.push(if n % 2 == 0 { boss.clone() } else { world.person_with(own, "100000").await });
        }
        let done = Arc::new(AtomicBool::new(false));
        let charging: Vec<_> = callers
            .iter()
            .cloned()
            .map(|who| {
                let done = Arc::clone(&done);
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let charge = who.charge(paint(who.owner, "1")).await;
                        match charge {
                            Ok(charged) => seen.push(priced(&charged.charge.expect("a charge"))),
                            Err(status) => assert_eq!(Refusal::of(&status).reason, "OVERLOADED"),
                        }
                    }
                    seen
                })
            })
            .collect();
        let mut rates = BTreeMap::from([(1, "1".to_owned())]);
        let watcher = world.person_with(2, "100000").await;
        for round in 2..14_u32 {
            // Every third file cannot be used, every fifth is the first one again.
            if round % 3 == 0 {
                write(&world, "[[plans");
                refused(world.operator().reload_catalog(reload()).await, Code::FailedPrecondition, "CATALOG_INVALID");
            }
            let rate = if round % 5 == 0 { 1 } else { round };
            write(&world, &with_painter("images", &rate.to_string()));
            let (_, version) = reloads(&world.operator()).await;
            assert_eq!(rates.entry(version).or_insert_with(|| rate.to_string()), &rate.to_string());
            // From the answer on nobody is charged by another one.
            let expected = (rate.to_string(), version);
            assert_eq!(priced(&watcher.charged(paint(watcher.owner, "1")).await), expected);
            assert_eq!(priced(&boss.charged(paint(team, "1")).await), expected);
            assert_eq!(estimate(&boss).await.unwrap(), expected);
        }
        done.store(true, Ordering::Relaxed);
        let mut versions = BTreeMap::new();
        for caller in charging {
            for (rate, version) in caller.await.unwrap() {
                assert_eq!(rates.get(&version), Some(&rate), "version {version}");
                *versions.entry(version).or_insert(0) += 1;
            }
        }
        assert!(versions.len() > 3, "they charged meanwhile: {versions:?}");
        for owner in callers.iter().map(|who| who.owner).chain([watcher.owner]).step_by(7).chain([team]) {
            world.audit(owner).await;
        }
    }
}
