//! What pays contracts whose subscription has gone to an organization.

use bursar_id::OwnerId;
use bursar_testkit::{engines, id, personal};

use super::{BEGIN, HALF, LATER, Wish, costing, falls_due, features, payments_of, set, stands, waits};
use crate::domain::Features;
use crate::store::methods;
use crate::usecase::moving::Moved;
use crate::usecase::shop::Shop;

const BOTH: Features = Features { organizations: true, single_sign_on: true };

engines! {
    async fn what_was_to_pay_and_was_removed_is_refused_there_too(db: TestDb) {
        let shop = Shop::open(&db, BEGIN).await;
        let [alone, other] = [1, 2].map(personal);
        let mut removed = Vec::new();
        for (owner, cards) in [(alone, 1), (other, 2)] {
            let mut card = String::new();
            for _ in 0..cards {
                card = shop.saves(owner, "sandbox_ok").await.id.to_string();
            }
            shop.subscribe(owner, "business", &card, "").await.unwrap();
            let named: &'static str = card.leak();
            let wish = Wish { features: BOTH, ..costing("300.00 USD") };
            set(&shop, owner, wish.by(named).from(HALF)).await.unwrap();
            removed.push(named);
        }
        shop.sql(format!("DELETE FROM payment_methods WHERE id IN ('{}')", removed.join("', '")).leak()).await;
        for (n, named) in [(1, removed[0]), (2, removed[1])] {
            let team = OwnerId::Organization(id(7 + n));
            let Moved::To(_) = shop.moves(id(n), id(7 + n)).await else { panic!("Business includes organizations") };
            assert_eq!(waits(&shop, team).await.unwrap().method, named);
        }
        shop.set(HALF);
        for n in [1, 2] {
            let team = OwnerId::Organization(id(7 + n));
            falls_due(&shop, team).await;
            assert_eq!(waits(&shop, team).await.unwrap().attempts, 1, "again tomorrow");
            assert_eq!(stands(&shop, team).await.0, "business 10 100.00 USD 1500");
            assert_eq!((payments_of(&shop, team).await, features(&shop, team).await.1.single_sign_on), (Vec::new(), false));
        }
    }

    async fn one_card_is_one_there_whatever_it_pays(db: TestDb) {
        let (owner, team) = (personal(1), OwnerId::Organization(id(9)));
        let shop = Shop::open(&db, BEGIN).await;
        let wish = |price| Wish { features: BOTH, ..costing(price) };
        set(&shop, owner, wish("400.00 USD")).await.unwrap();
        let card: &'static str = shop.saves(owner, "sandbox_ok").await.id.to_string().leak();
        set(&shop, owner, wish("300.00 USD").by(card)).await.unwrap();
        set(&shop, owner, wish("500.00 USD").by(card).from(LATER)).await.unwrap();
        let Moved::To(moved) = shop.moves(id(1), id(9)).await else { panic!("it includes organizations") };
        let theirs = methods::of_owners(&mut shop.db.read().await.unwrap(), &[team]).await.unwrap();
        let [one] = theirs.as_slice() else { panic!("{} of them", theirs.len()) };
        let next = moved.pending.clone().and_then(|it| it.paid_with);
        assert_eq!((next, one.is_default), (Some(one.id.to_string()), true));
        assert_eq!(waits(&shop, team).await.unwrap().method, one.id.to_string());
        assert_ne!(one.id.to_string(), card, "it is the organization's own");
    }
}
