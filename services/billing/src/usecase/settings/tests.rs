//! Changes that wait while who asked for them goes.

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Asked, Call, Caller};
use bursar_testkit::{engines, id, personal};

use super::*;
use crate::domain::BillingProfile;
use crate::usecase::farewells::{Farewell, depart, see_off};
use crate::usecase::shop::{Shop, manager};

fn asked(caller: Caller) -> Asked<SettingsChange> {
    let profile = BillingProfile { name: "Ada".to_owned(), ..BillingProfile::default() };
    let change = SettingsChange { profile: Some(profile), ..SettingsChange::default() };
    let body = pb::UpdateAccountSettingsRequest::default();
    let call = Call::new(caller, "bursar.billing.v1.AccountService/UpdateAccountSettings");
    Asked::read(call, "", &body, |_, _| Some(change.clone()))
}

/// What comes of a change whose caller was let in before `meanwhile`.
async fn changed_after(
    shop: &Shop,
    owner: OwnerId,
    by_operator: bool,
    meanwhile: impl AsyncFnOnce(),
) -> Result<(), Error> {
    let asked = asked(manager(owner));
    let access = &shop.subscriptions.access;
    let mut allowed = access.to(asked.caller(), owner).await.unwrap();
    if by_operator {
        allowed.spender = None;
    }
    meanwhile().await;
    let mut m = shop.subscriptions.mutations.begin(&asked).await?;
    let settings = shop.settings();
    let done = change(&settings, &mut m, owner, &asked, Ok(allowed), &mut None).await;
    let done = done.transpose().expect("nothing is to be read");
    shop.subscriptions.mutations.end(m, done).await.map(drop)
}

engines! {
    async fn nothing_is_set_for_a_person_who_left_while_the_change_waited(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        changed_after(&shop, personal(2), false, async || {}).await.expect("whoever is there may");
        for (n, opened, by_operator) in [(1, false, false), (3, true, false), (4, true, true)] {
            let owner = personal(n);
            if opened {
                changed_after(&shop, owner, false, async || {}).await.unwrap();
            }
            let refused = changed_after(&shop, owner, by_operator, async || {
                let mut tx = shop.db.begin().await.unwrap();
                depart(&mut tx, &shop.payments.cashier.jobs, id(n), (1, shop.clock.now())).await.unwrap();
                tx.commit().await.unwrap();
                see_off(&shop.subscriptions, Farewell { user: id(n) }).await.unwrap();
            })
            .await;
            match refused {
                Err(Error::NotAMember) => assert!(!by_operator),
                Err(Error::NotFound(_)) => assert!(by_operator),
                other => panic!("{n}: {other:?}"),
            }
        }
        assert_eq!(shop.count("account_settings").await, 1, "what was erased stays erased");
    }
}
