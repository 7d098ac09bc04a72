//! Scoped lots: what they pay for, in `Charge`, `Hold`, `Capture` and `GetBalance`.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::{engines, refused};
use tonic::Code;

use crate::words::{Granting, Spending, balance_of, buy, give_back, grant, lots_of, reserve, scope, settle, spend};
use crate::world::{BUILT_IN, World};

/// A pack for one model's work for one project.
const VIDEO: &str = r#"
[[packs]]
id = "video"
name = "Video"
price = "5.00 USD"
credits = "50"
scope = { models = ["veo-3.1"], projects = ["film"] }
"#;

engines! {
    async fn a_scoped_lot_pays_only_for_its_work(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let owner = ana.owner;
        let video = operator.granted(grant(owner, "5").only_for(&["veo-3.1"], &[])).await;
        let film = operator.granted(grant(owner, "3").only_for(&["veo-3.1"], &["film"])).await;
        let any = operator.granted(grant(owner, "2")).await;
        let scope = film.scope.clone().unwrap();
        assert_eq!((scope.models, scope.projects), (vec!["veo-3.1".to_owned()], vec!["film".to_owned()]));
        assert_eq!(any.scope, None);
        assert_eq!(ana.list_lots(lots_of(owner)).await.unwrap().lots, [any.clone(), film.clone(), video.clone()]);

        let cases = [("", "", "10"), ("veo-3.1", "", "7"), ("veo-3.1", "film", "10"), ("veo-3.1", "game", "7"), ("kling-3.0-pro", "film", "2"), ("", "film", "2")];
        for (model, project, available) in cases {
            let asked = pb::GetBalanceRequest { model: model.into(), project: project.into(), ..balance_of(owner) };
            let balance = ana.get_balance(asked).await.unwrap();
            assert_eq!(balance.available, available, "{model:?} {project:?}");
            let sum: u32 = balance.lots.iter().map(|lot| lot.remaining.parse::<u32>().unwrap()).sum();
            assert_eq!(sum.to_string(), available, "{model:?} {project:?}: its lots");
        }
        let short = refused(ana.charge(spend(owner, "3")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!((&*short.metadata["available"], &*short.metadata["required"]), ("2", "3"), "what may pay for this");
        let charge = ana.charged(spend(owner, "9").on_model("veo-3.1").for_project("film")).await;
        let paid: Vec<_> = charge.allocations.iter().map(|it| (&it.lot_id, &*it.amount)).collect();
        assert_eq!(paid, [(&video.id, "5"), (&film.id, "3"), (&any.id, "1")], "in burn order among those that may");
        world.product().refund(give_back(&charge)).await.unwrap();

        let hold = ana.held(reserve(owner, "7").on_model("veo-3.1")).await;
        refused(ana.hold(reserve(owner, "1")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        let excess = pb::CaptureRequest { allow_excess: true, ..settle(&hold, "8") };
        let short = refused(ana.capture(excess).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        assert_eq!(short.metadata["available"], "0", "the film's credits are not for work without a project");
        ana.captured(settle(&hold, "7")).await;
        assert_eq!(world.available(owner).await, "3");
        world.audit(owner).await;
    }

    async fn a_bought_pack_pays_inside_its_scope_alone(db: TestDb) {
        let world = World::selling(db, &format!("{BUILT_IN}{VIDEO}")).await;
        let ana = world.person(1);
        let owner = ana.owner;
        let sold = world.nobody().list_packs(pb::ListPacksRequest::default()).await.unwrap().packs;
        let video = scope(&["veo-3.1"], &["film"]);
        assert_eq!(sold.iter().find(|pack| pack.id == "video").unwrap().scope, Some(video.clone()));
        ana.purchase_pack(buy(owner, "video")).await.unwrap();
        let lot = ana.list_lots(lots_of(owner)).await.unwrap().lots.remove(0);
        assert_eq!((lot.source(), &*lot.remaining, &lot.scope), (pb::LotSource::Pack, "50", &Some(video)));
        let outside = [("", ""), ("veo-3.1", ""), ("", "film"), ("veo-3.1", "game"), ("kling-3.0-pro", "film")];
        for (model, project) in outside {
            let work = spend(owner, "1").on_model(model).for_project(project);
            let short = refused(ana.charge(work).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
            assert_eq!(short.metadata["available"], "0", "{model:?} {project:?}");
            let work = reserve(owner, "1").on_model(model).for_project(project);
            refused(ana.hold(work).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        }
        let charge = ana.charged(spend(owner, "20").on_model("veo-3.1").for_project("film")).await;
        assert_eq!((&*charge.allocations[0].lot_id, &*charge.allocations[0].amount), (&*lot.id, "20"));
        let hold = ana.held(reserve(owner, "10").on_model("veo-3.1").for_project("film")).await;
        ana.captured(settle(&hold, "10")).await;
        // Beside a pack for everything, each pays for its own.
        ana.purchase_pack(buy(owner, "starter")).await.unwrap();
        ana.charged(spend(owner, "300").on_model("kling-3.0-pro")).await;
        refused(ana.charge(spend(owner, "1")).await, Code::FailedPrecondition, "INSUFFICIENT_CREDITS");
        ana.charged(spend(owner, "20").on_model("veo-3.1").for_project("film")).await;
        assert_eq!(world.available(owner).await, "0");
        world.audit(owner).await;
    }

    async fn an_account_has_only_so_many_live_lots(db: TestDb) {
        let world = World::on(db).await;
        let (ana, operator) = (world.person(1), world.operator());
        let grants = (0..1_000).map(|_| {
            let (operator, request) = (operator.clone(), grant(ana.owner, "1"));
            async move { operator.granted(request).await }
        });
        crate::races::at_once(grants).await;
        let seq = world.seq(ana.owner).await;
        let full = refused(operator.grant_credits(grant(ana.owner, "1")).await, Code::ResourceExhausted, "TOO_MANY_LOTS");
        assert_eq!(full.metadata["limit"], "1000");
        let bought = pb::PurchasePackRequest { pack_id: "starter".into(), payment_method: "sandbox_ok".into(), ..Default::default() };
        let bought = pb::PurchasePackRequest { owner: ana.owner.to_string(), request_id: "p".into(), ..bought };
        refused(ana.purchase_pack(bought.clone()).await, Code::ResourceExhausted, "TOO_MANY_LOTS");
        assert_eq!(world.seq(ana.owner).await, seq);
        ana.charged(spend(ana.owner, "1")).await;
        ana.purchase_pack(bought).await.unwrap();
        world.audit(ana.owner).await;
    }

    async fn bad_works_are_named(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person_with(1, "1").await;
        let long = "x".repeat(129);
        let bad = pb::GetBalanceRequest { model: "a\nb".into(), project: long, ..balance_of(ana.owner) };
        assert_eq!(refused(ana.get_balance(bad).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["model", "project"]);
    }
}
