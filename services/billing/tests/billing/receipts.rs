//! What a purchase says of its invoice and of money that went back, over gRPC: alone, in a list, and in the answer to whoever
//! bought it.

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{DisputeState, InvoiceKind, PurchaseState};
use bursar_proto::google::r#type::Money;
use bursar_proto::testing::v1::Outcome;
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::given_back::{refunds, settles};
use crate::words::{Under, buy};
use crate::world::{Person, World};

/// State, dollars that went back, and the dispute of a purchase, and whether it names an invoice.
type Told = (PurchaseState, i64, DisputeState, bool);

fn told(of: &pb::Purchase) -> Told {
    let back: &Money = of.refunded.as_ref().expect("every payment says what went back");
    assert_eq!((back.currency_code.as_str(), back.nanos), ("USD", 0));
    (of.state(), back.units, of.dispute(), !of.invoice_id.is_empty())
}

async fn found(person: &Person, purchase_id: &str) -> pb::Purchase {
    let get = pb::GetPurchaseRequest { purchase_id: purchase_id.to_owned(), owner: person.owner.to_string() };
    person.get_purchase(get).await.unwrap().purchase.unwrap()
}

/// All purchases, the latest first, two to a page.
async fn listed(person: &Person) -> Vec<pb::Purchase> {
    let (owner, mut all, mut page_token) = (person.owner.to_string(), Vec::new(), String::new());
    loop {
        let list = pb::ListPurchasesRequest { owner: owner.clone(), page_size: 2, page_token };
        let page = person.list_purchases(list).await.unwrap();
        assert!(page.purchases.len() <= 2, "{page:?}");
        all.extend(page.purchases);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// Buys for 20 dollars, a second after what was before.
async fn buys(world: &World, person: &Person, method: &str) -> pb::Purchase {
    world.passes(Span::SECOND);
    let request = pb::PurchasePackRequest { payment_method: method.to_owned(), ..buy(person.owner, "starter") };
    person.purchase_pack(request).await.unwrap().purchase.unwrap()
}

async fn invoice(person: &Person, owner: OwnerId, invoice_id: &str) -> pb::Invoice {
    let get = pb::GetInvoiceRequest { owner: owner.to_string(), invoice_id: invoice_id.to_owned() };
    person.get_invoice(get).await.unwrap().invoice.unwrap()
}

engines! {
    async fn a_purchase_leads_to_its_invoice_and_says_what_went_back(db: TestDb) {
        const NO: DisputeState = DisputeState::Unspecified;
        let world = World::on(db).await;
        let ana = world.person(1);
        let bought = buys(&world, &ana, "sandbox_ok").await;
        assert_eq!(told(&bought), (PurchaseState::Paid, 0, NO, true), "in the answer already");
        let issued = invoice(&ana, ana.owner, &bought.invoice_id).await;
        assert_eq!((issued.kind(), &issued.payment_id), (InvoiceKind::Invoice, &bought.payment_id));
        assert_eq!(found(&ana, &bought.id).await, bought);

        let waiting = buys(&world, &ana, "sandbox_pending").await;
        assert_eq!(told(&waiting), (PurchaseState::Pending, 0, NO, false), "there is no invoice before the money");
        let mut expected = vec![(bought.id.clone(), told(&bought)), (waiting.id.clone(), told(&waiting))];
        world.passes(Span::SECOND);
        let declined = pb::PurchasePackRequest { payment_method: "sandbox_declined".to_owned(), ..buy(ana.owner, "starter") };
        refused(ana.purchase_pack(declined).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let declined = listed(&ana).await.remove(0);
        expected.push((declined.id, (PurchaseState::Declined, 0, NO, false)));
        for (dollars, back) in [(Some(5), 5), (None, 20)] {
            let refunded = buys(&world, &ana, "sandbox_ok").await;
            refunds(&world, ana.owner, &refunded.payment_id, dollars).await;
            expected.push((refunded.id.clone(), (PurchaseState::Paid, back, NO, true)));
            assert_eq!(found(&ana, &refunded.id).await.invoice_id, refunded.invoice_id, "not the credit note");
        }
        let disputes = [(None, DisputeState::Open), (Some(Outcome::DisputeWon), DisputeState::Won), (Some(Outcome::DisputeLost), DisputeState::Lost)];
        for (decided, dispute) in disputes {
            let disputed = buys(&world, &ana, "sandbox_ok").await;
            for outcome in [Some(Outcome::Disputed), decided].into_iter().flatten() {
                settles(&world, &disputed.payment_id, outcome).await;
            }
            expected.push((disputed.id, (PurchaseState::Paid, 0, dispute, true)));
        }
        let list = listed(&ana).await;
        let by_id: Vec<_> = list.iter().rev().map(|it| (it.id.clone(), told(it))).collect();
        assert_eq!(by_id, expected);
        for it in &list {
            assert_eq!(found(&ana, &it.id).await, *it, "alone and in a list it says the same");
        }
        world.audit(ana.owner).await;
    }

    async fn a_repetition_tells_the_purchase_as_it_was_and_get_purchase_as_it_is(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        let request = || pb::PurchasePackRequest { payment_method: "sandbox_pending".to_owned(), ..buy(ana.owner, "starter") }.under("r1");
        let first = ana.purchase_pack(request()).await.unwrap().purchase.unwrap();
        settles(&world, &first.payment_id, Outcome::Paid).await;
        let again = ana.purchase_pack(request()).await.unwrap();
        assert_eq!(again.purchase.as_ref(), Some(&first));
        let now = found(&ana, &first.id).await;
        assert_eq!(told(&now), (PurchaseState::Paid, 0, DisputeState::Unspecified, true));
        assert_eq!(now.invoice_id, again.payment.unwrap().invoice_id, "the payment is told as it is");
    }
}
