//! Purges: unspent credits are voided, details erased, what is held is settled, and the ledger stays whole.

use bursar_id::{OwnerId, Role};
use bursar_members::Standing;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::EntryKind;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::Code::{AlreadyExists, PermissionDenied};

use crate::races::at_once;
use crate::standings::stands;
use crate::words::{
    Granting, Holding, Spending as _, Under, audit_of, balance_of, entries_of, erase, free, give_back, give_back_part,
    grant, lots_of, reserve, settle, spend,
};
use crate::world::{World, until};

impl World {
    /// Everything that is not held is gone.
    async fn is_voided(&self, owner: OwnerId) {
        let left = "SELECT COUNT(*) FROM lots WHERE owner = $1 AND (remaining > 0 OR (held > 0 AND voided_at IS NULL))";
        until("the credits are voided", async || self.number(left, owner).await == 0).await;
    }

    /// Nothing that was said in free text is left.
    async fn is_erased(&self, owner: OwnerId) {
        let operator = self.operator();
        until("the details are erased", async || {
            let entries = operator.list_ledger_entries(entries_of(owner)).await.unwrap().entries;
            entries.iter().all(|it| it.labels.is_empty() && it.request_id.is_empty() && it.note.is_empty())
        })
        .await;
        let texts = "SELECT (SELECT COUNT(*) FROM holds WHERE owner = $1 AND labels IS NOT NULL)
            + (SELECT COUNT(*) FROM lots WHERE owner = $1 AND note IS NOT NULL)";
        until("and their copies", async || self.number(texts, owner).await == 0).await;
    }

    /// Nothing has still to be done about owners' standings, and the last hold has ended.
    async fn is_at_rest(&self) {
        let left = "SELECT (SELECT COUNT(*) FROM jobs WHERE kind IN ('billing.standing', 'billing.purge'))
            + (SELECT COUNT(*) FROM holds WHERE state = 'OPEN')";
        until("no job is left, and no hold", async || {
            // What failed is tried again after a while.
            self.passes(Span::SECOND);
            self.scalar(left).await == 0
        })
        .await;
    }
}

engines! {
    async fn a_purge_voids_erases_and_closes_with_the_last_hold(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "100").await;
        world.hears(team, id(2), Some(Role::Member), 1).await;
        let (ben, product, operator) = (world.member(2, team, Role::Member, 1), world.product(), world.operator());
        let noted = pb::GrantCreditsRequest { note: "for Smith".to_owned(), ..grant(team, "10") };
        operator.granted(noted.expiring(world.in_(Span::from_days(3))).under("g1")).await;
        operator.granted(grant(team, "20").effective(world.in_(Span::from_days(30)))).await;
        operator.granted(grant(team, "5").at_priority(-1)).await;
        let all_of_a_lot = ada.charged(spend(team, "5").labelled("client", "Smith").under("a1")).await;
        let half = ben.charged(spend(team, "4").labelled("client", "Jones").under("b1")).await;
        let last = ada.charged(spend(team, "1").labelled("client", "Brown").under("a2")).await;
        let held = |amount: &str, name: &str| reserve(team, amount).by(ben.user).labelled("client", name).lasting(Span::HOUR);
        let (kept, freed, lapsing) =
            (product.held(held("8", "A")).await, product.held(held("9", "B")).await, product.held(held("7", "C")).await);

        world.stands(team, Standing::Deleted, 1).await;
        world.stands(team, Standing::Purged, 2).await;
        world.is_voided(team).await;
        let balance = world.balance(team).await;
        assert_eq!((&*balance.available, &*balance.held), ("0", "24"), "what is held stays");
        world.is_erased(team).await;
        refused(ada.get_balance(balance_of(team)).await, PermissionDenied, "NOT_A_MEMBER");
        refused(ada.charge(spend(team, "1")).await, PermissionDenied, "NOT_A_MEMBER");
        refused(product.charge(spend(team, "1").by(ben.user)).await, PermissionDenied, "ORGANIZATION_DELETED");
        refused(operator.grant_credits(grant(team, "1")).await, PermissionDenied, "ORGANIZATION_DELETED");
        world.audit(team).await;

        // What holds give back is gone, and so is what is refunded, also to a lot that had been spent whole.
        product.captured(settle(&kept, "3").under("k1")).await;
        product.release(free(&freed)).await.unwrap();
        product.refunded(give_back(&all_of_a_lot)).await;
        product.refunded(give_back(&half)).await;
        assert_eq!(world.balance(team).await.available, "0");
        world.passes(Span::HOUR);
        world.is_at_rest().await;
        world.is_erased(team).await;
        // Nor does what comes later leave anything, when nobody erases any more; a repetition is told from another request.
        let (product, operator) = (world.product(), world.operator());
        product.refunded(give_back_part(&last, "0.4").under("late")).await;
        product.erase_details(erase(team, None).under("later")).await.unwrap();
        world.is_erased(team).await;
        assert!(product.refund(give_back_part(&last, "0.4").under("late")).await.unwrap().replayed);
        let another = product.refund(give_back_part(&last, "0.5").under("late")).await;
        refused(another, AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(product.hold_now(&lapsing).await.state(), pb::HoldState::Lapsed);
        let lots = operator.list_lots(lots_of(team)).await.unwrap().lots;
        assert!(lots.iter().all(|lot| lot.remaining == "0" && lot.held == "0"), "{lots:#?}");
        let spent: Vec<_> = operator.list_ledger_entries(entries_of(team)).await.unwrap().entries;
        assert!(spent.iter().any(|it| it.kind() == EntryKind::Void) && spent.iter().all(|it| it.kind() != EntryKind::Expire));
        world.audit(team).await;
        let summary = bursar_billing::verify_all(
            &world.store,
            bursar_billing::operation_key(&world.settings, &world.store).await.unwrap(),
            world.now(),
        )
        .await
        .unwrap();
        assert!(summary.bad.is_empty(), "{summary:?}");
    }

    async fn a_purge_of_many_lots_goes_on_in_portions_and_again_changes_nothing(db: TestDb) {
        let world = World::on(db).await;
        let (team, ada) = world.organization_with(1, "1").await;
        let lots = (0..350).map(|n| {
            let (operator, request) = (world.operator(), grant(team, "1").under(&format!("g{n}")));
            async move { operator.granted(request).await }
        });
        at_once(lots).await;
        ada.charged(spend(team, "3.5").labelled("client", "Smith").under("c1")).await;
        world.stands(team, Standing::Purged, 1).await;
        world.is_voided(team).await;
        world.is_at_rest().await;
        let booked = world.seq(team).await;
        world.stands(team, Standing::Purged, 2).await;
        world.is_at_rest().await;
        assert_eq!(world.seq(team).await, booked, "again changes nothing");
        world.is_erased(team).await;
        world.audit(team).await;
    }

    async fn purges_race_with_captures_and_refunds_and_every_credit_is_accounted_for(db: TestDb) {
        let world = World::on(db).await;
        for round in 0..5 {
            let (team, ada) = world.organization_with(10 + round, "100").await;
            let (product, operator) = (world.product(), world.operator());
            for n in 0..20 {
                operator.granted(grant(team, "1").under(&format!("{round}-{n}"))).await;
            }
            let charge = ada.charged(spend(team, "10")).await;
            let mut holds = Vec::new();
            for n in 0..12 {
                holds.push(product.held(reserve(team, "3").by(ada.user).under(&format!("h{n}"))).await);
            }
            world.tell(stands(team, Standing::Purged, 1)).await;
            let settling = holds.into_iter().enumerate().map(|(n, hold)| {
                let (product, charge) = (product.clone(), charge.clone());
                async move {
                    match n % 3 {
                        0 => product.capture(settle(&hold, "1")).await.map(drop),
                        1 => product.release(free(&hold)).await.map(drop),
                        _ => product.refund(give_back_part(&charge, "1")).await.map(drop),
                    }
                }
            });
            for outcome in at_once(settling).await {
                outcome.expect("what services settle is settled, whatever happens to the owner");
            }
            world.applied().await;
            world.is_voided(team).await;
            let verdict = world.operator().verify_ledger(audit_of(team)).await.unwrap();
            assert!(verdict.valid, "while it goes on: {:?}", verdict.first_bad);
            world.passes(Span::DAY);
            world.is_at_rest().await;
            let balance = world.balance(team).await;
            assert_eq!((&*balance.available, &*balance.held), ("0", "0"));
            let spent = "SELECT CAST(SUM(spent) AS BIGINT) FROM lots WHERE owner = $1";
            assert_eq!(world.number(spent, team).await, 10_000_000, "10 - 4 refunded + 4 captured");
            world.audit(team).await;
        }
    }
}
