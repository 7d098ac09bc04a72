//! Moves that are refused for good although there is a plan. On both engines.

use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Answer, Asked, Call};
use bursar_testkit::{engines, id, organization, personal};
use bursar_time::Span;

use super::refusing::{Heads, heads};
use super::{Full, Move, Moved};
use crate::domain::{ProductId, Refusal, Rules, SubscriptionState};
use crate::error::Error;
use crate::store::accounts;
use crate::usecase::overdue::tests::gives;
use crate::usecase::shelf::now;
use crate::usecase::shop::{Shop, manager};

const BEGIN: &str = "2026-01-15T00:00:00Z";

/// Asks to move a person's subscription, or to have it move no more.
async fn ask(shop: &Shop, both: (UserId, OrganizationId), is_called_off: bool) -> Result<Answer<Moved>, Error> {
    shop.subscriptions.move_subscription(&asked(both, is_called_off)).await
}

fn asked((from, to): (UserId, OrganizationId), is_called_off: bool) -> Asked<Move> {
    let (from_owner, to_owner) = (OwnerId::User(from), OwnerId::Organization(to));
    let body = pb::MoveSubscriptionRequest {
        from_owner: from_owner.to_string(),
        to_owner: to_owner.to_string(),
        ..Default::default()
    };
    let call = Call::new(manager(from_owner), "bursar.billing.v1.SubscriptionService/MoveSubscription");
    Asked::read(call, &format!("move-{to}"), &body, |_, _| Some(Move { from, to, is_called_off }))
}

/// Where both ledgers end now.
async fn seen(shop: &Shop, asked: &Asked<Move>) -> Heads {
    heads(&mut shop.db.read().await.unwrap(), *asked.command().unwrap()).await.unwrap()
}

/// A person on Business.
async fn subscribed(db: &bursar_testkit::TestDb) -> Shop {
    let shop = Box::pin(Shop::open(db, BEGIN)).await;
    shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
    shop
}

/// What whoever repeats it is told.
async fn told_again(shop: &Shop, to: u64, is_called_off: bool) -> Result<pb::MoveSubscriptionResponse, Error> {
    let answer = ask(shop, (id(1), id(to)), is_called_off).await.unwrap();
    assert!(matches!(answer, Answer::Replay(_)), "it was answered before: {answer:?}");
    answer.message().unwrap().told()
}

engines! {
    /// As many lots as may be are in the organization's account, by operators' hands. Its creator keeps everything, and room that is
    /// made later changes nothing: organization has removed it.
    async fn where_there_is_no_room_for_another_lot_nothing_moves_for_good(db: TestDb) {
        let shop = subscribed(&db).await;
        let team = organization(1);
        let mut tx = shop.db.begin().await.unwrap();
        accounts::open(&mut tx, &[team], shop.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        shop.fills(team, Rules::MAX_LIVE_LOTS).await;
        let full = ask(&shop, (id(1), id(1)), false).await.unwrap();
        assert_eq!(full, Answer::New(Moved::NoRoom(Full::Lots)));
        assert_eq!(shop.count("refused_moves").await, 1, "it is remembered");
        assert_eq!(now(&shop, personal(1)).await.state, SubscriptionState::Active, "nothing has moved");
        for is_called_off in [false, true] {
            let told = told_again(&shop, 1, is_called_off).await;
            assert!(matches!(told, Err(Error::NoRoomToMove(Refusal::TooManyLots))), "{told:?}");
        }
        let Moved::To(_) = shop.moves(id(1), id(2)).await else { panic!("the next one's account has no lots") };
        for owner in [personal(1), team, organization(2)] {
            shop.assert_sound(owner).await;
        }
    }

    /// Between the attempt that found no room and its refusal: what was found is looked at again before it is said for good.
    async fn a_refusal_for_want_of_room_is_kept_only_of_accounts_that_are_as_they_were(db: TestDb) {
        let shop = subscribed(&db).await;
        let (team, asked) = (organization(1), asked((id(1), id(1)), false));
        let mut tx = shop.db.begin().await.unwrap();
        accounts::open(&mut tx, &[team], shop.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let no_room = || Moved::NoRoom(Full::Lots);
        let found_in = seen(&shop, &asked).await;
        shop.fills(team, 1).await;
        let changed = shop.subscriptions.refuse_to_move(&asked, no_room(), Some(found_in)).await;
        assert!(matches!(changed, Err(Error::Unavailable)), "{changed:?}");
        assert_eq!(shop.count("refused_moves").await, 0, "it is asked again");
        let found_in = seen(&shop, &asked).await;
        let refused = shop.subscriptions.refuse_to_move(&asked, no_room(), Some(found_in)).await.unwrap();
        assert_eq!(refused, Answer::New(no_room()));
    }

    async fn what_was_called_off_never_moves_and_what_has_moved_is_not_called_off(db: TestDb) {
        let shop = subscribed(&db).await;
        assert_eq!(ask(&shop, (id(1), id(1)), true).await.unwrap(), Answer::New(Moved::CalledOff));
        shop.clock.advance(Span::DAY).unwrap();
        for is_called_off in [true, false] {
            let told = told_again(&shop, 1, is_called_off).await;
            assert!(matches!(told, Err(Error::MoveCalledOff)), "{told:?}");
        }
        let moved = ask(&shop, (id(1), id(2)), false).await.unwrap();
        assert!(matches!(moved, Answer::New(Moved::To(_))), "{moved:?}");
        let again = told_again(&shop, 2, true).await.unwrap();
        assert_eq!(again.subscription.unwrap().owner, organization(2).to_string());
    }

    /// By an operator's hand, and its next month is not paid: that is no plan to open an organization with, but one that goes on.
    async fn what_the_organization_has_of_its_own_is_told_to_whoever_calls_off_paid_for_or_not(db: TestDb) {
        let shop = subscribed(&db).await;
        let team = organization(1);
        gives(&shop, team).await;
        shop.pays_with("sandbox_declined").await;
        shop.set("2026-02-15T00:00:00Z");
        shop.subscriptions.bring_up_to_date(team).await;
        assert_eq!(now(&shop, team).await.state, SubscriptionState::PastDue);
        // Nothing is said for good to who wants to move another one there: it is paid for soon, or ends.
        let full = Moved::NoRoom(Full::Lots);
        let due = shop.subscriptions.refuse_to_move(&asked((id(1), id(1)), false), full, None).await;
        assert!(matches!(due, Err(Error::Refused(Refusal::RenewalDue))), "{due:?}");
        let its_own = Answer::New(Moved::AlreadySubscribed(ProductId::parse("business").unwrap()));
        assert_eq!(ask(&shop, (id(1), id(1)), true).await.unwrap(), its_own);
    }
}
