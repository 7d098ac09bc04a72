//! What billing issues to a person is mailed once: to the address that the billing profile had, or to the person, and to nobody
//! else.

use bursar_proto::event::v1::InvoiceIssued;
use bursar_proto::event::v1::event::Payload;
use bursar_testkit::invoice;

use crate::world::{World, becomes};

const BOOKS: &str = "books@example.com";

/// Billing issues a document, and tells so; without an address where that is empty.
pub(crate) async fn issued(world: &World, owner: &str, id: &str, number: &str, invoice_mail: &str) {
    world.billing.issues(invoice(owner, id, number, invoice_mail));
    told(world, owner, id).await;
}

async fn told(world: &World, owner: &str, id: &str) {
    let (owner, invoice_id) = (owner.to_owned(), id.to_owned());
    world.billing.tells(Payload::InvoiceIssued(InvoiceIssued { owner, invoice_id })).await;
}

/// How many mails to an address are about numbers like this.
fn mailed(world: &World, email: &str, number: &str) -> usize {
    world.mailbox.to(email).iter().filter(|mail| mail.text.contains(number) && mail.text.contains("119.00 USD")).count()
}

/// Waits until nothing is left to be mailed.
pub(crate) async fn all_mailed(world: &World) {
    for kind in ["identity.invoice", "mail.bulk", "mail"] {
        becomes(0, async || world.count("SELECT COUNT(*) FROM jobs WHERE kind = $1", kind).await).await;
    }
}

bursar_testkit::engines! {
    async fn a_persons_invoice_is_mailed_once_to_its_address_or_to_the_person(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        let stranger = "usr_00000000000000000000000001";
        // An organization's, a stranger's and what billing does not know is nobody's mail here.
        issued(&world, "org_00000000000000000000000001", "ivc_1", "AAA-2026-0001", BOOKS).await;
        issued(&world, stranger, "ivc_2", "AAA-2026-0002", BOOKS).await;
        told(&world, &ben.user, "ivc_1").await;
        issued(&world, &ada.user, "ivc_3", "ABC-2026-0003", BOOKS).await;
        issued(&world, &ada.user, "crn_4", "ABC-C-2026-0004", "").await;
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0003")).await;
        becomes(1, async || mailed(&world, &ada.email, "ABC-C-2026-0004")).await;
        let others = [(BOOKS, "ABC-C"), (BOOKS, "AAA"), (&*ada.email, "ABC-2026"), (&*ben.email, "2026")];
        assert_eq!(others.map(|(email, number)| mailed(&world, email, number)), [0; 4]);
        // The account is nobody's own but Ada's.
        let is_own = |email: &str| world.mailbox.to(email).iter().any(|mail| mail.text.contains("your own account"));
        assert_eq!([&*ada.email, BOOKS].map(is_own), [true, false]);
    }

    async fn a_persons_document_that_is_told_again_is_mailed_once(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        issued(&world, &ada.user, "ivc_1", "ABC-2026-0001", BOOKS).await;
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0001")).await;
        // Without a job there is nothing but what is remembered.
        all_mailed(&world).await;
        told(&world, &ada.user, "ivc_1").await;
        issued(&world, &ada.user, "ivc_2", "ABC-2026-0002", BOOKS).await;
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0002")).await;
        all_mailed(&world).await;
        assert_eq!(mailed(&world, BOOKS, "ABC-2026-0001"), 1);
    }

    async fn a_persons_document_is_mailed_in_bulk(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        all_mailed(&world).await;
        // Where a file is in the way no mail is written, so what is queued stays.
        let mails = world.settings.mail_dir();
        std::fs::remove_dir_all(&mails).unwrap();
        std::fs::write(&mails, "").unwrap();
        issued(&world, &ada.user, "ivc_1", "ABC-2026-0001", BOOKS).await;
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = $1 AND failure IS NOT NULL AND dead_at IS NULL";
        becomes(1, async || world.count(waits, "mail.bulk").await).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM jobs WHERE kind = $1", "mail").await, 0);
        std::fs::remove_file(&mails).unwrap();
        world.pass(10);
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0001")).await;
    }

    async fn while_billing_is_away_a_persons_document_waits(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        world.billing.set_away(true);
        issued(&world, &ada.user, "ivc_1", "ABC-2026-0001", BOOKS).await;
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = $1 AND failure IS NOT NULL AND dead_at IS NULL";
        becomes(1, async || world.count(waits, "identity.invoice").await).await;
        assert_eq!(mailed(&world, BOOKS, "ABC-2026-0001"), 0);
        world.billing.set_away(false);
        world.pass(10);
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0001")).await;
        // Nor is a dead letter left.
        all_mailed(&world).await;
        assert_eq!(mailed(&world, BOOKS, "ABC-2026-0001"), 1);
    }

    async fn who_has_proven_no_address_has_nothing_mailed(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        // Ben signs up and leaves it at that.
        world.sign_up("ben@example.com").await;
        let ben = world.text("SELECT id FROM users WHERE email = $1", "ben@example.com").await;
        issued(&world, &ben, "ivc_1", "ABC-2026-0001", BOOKS).await;
        issued(&world, &ada.user, "ivc_2", "ABC-2026-0002", BOOKS).await;
        becomes(1, async || mailed(&world, BOOKS, "ABC-2026-0002")).await;
        all_mailed(&world).await;
        assert_eq!([BOOKS, "ben@example.com"].map(|email| mailed(&world, email, "ABC-2026-0001")), [0; 2]);
    }

    async fn of_one_person_so_many_documents_are_mailed(db: TestDb) {
        let world = World::start(&db).await;
        let (ada, ben) = (world.join("Ada").await, world.join("Ben").await);
        for n in 0..25 {
            issued(&world, &ada.user, &format!("ivc_{n}"), "ABC-2026", BOOKS).await;
        }
        // Nobody uses up somebody else's.
        issued(&world, &ben.user, "ivc_25", "BEN-2026-0001", BOOKS).await;
        becomes(1, async || mailed(&world, BOOKS, "BEN-2026-0001")).await;
        becomes(20, async || mailed(&world, BOOKS, "ABC-2026")).await;
        all_mailed(&world).await;
        // What was not mailed is not taken for mailed when it is told again and fits.
        world.pass(30 * 60);
        told(&world, &ada.user, "ivc_24").await;
        becomes(21, async || mailed(&world, BOOKS, "ABC-2026")).await;
    }
}
