//! What billing issues is mailed once: to the address that the billing profile had, or to the owner, and to nobody else.

use bursar_db::{DbError, on};
use bursar_id::Role;
use bursar_proto::event::v1::InvoiceIssued;
use bursar_proto::event::v1::event::Payload;
use bursar_testkit::{invoice, organization};
use bursar_time::Span;

use crate::purging::GRACE;
use crate::world::{World, delete, until};

const BOOKS: &str = "books@example.com";

fn issued(owner: &str, invoice: &str) -> Payload {
    Payload::InvoiceIssued(InvoiceIssued { owner: owner.to_owned(), invoice_id: invoice.to_owned() })
}

/// How many mails to an address are about an invoice's number.
fn told(world: &World, email: &str, number: &str) -> usize {
    world.mailbox.to(email).iter().filter(|mail| mail.text.contains(number) && mail.text.contains("119.00 USD")).count()
}

/// How many jobs of a kind there are.
async fn jobs(world: &World, kind: &str) -> i64 {
    let counted: Result<(i64,), DbError> = async {
        let mut tx = world.store.read().await?;
        let count = "SELECT COUNT(*) FROM jobs WHERE kind = $1";
        Ok(on!(&mut tx, c => sqlx::query_as(count).bind(kind).fetch_one(c).await?))
    }
    .await;
    counted.expect("counted").0
}

/// Waits until nothing is left to be mailed.
pub(crate) async fn all_mailed(world: &World) {
    for kind in ["organization.invoice", "mail.bulk", "mail"] {
        until("nothing is left to be mailed", async || jobs(world, kind).await == 0).await;
    }
}

bursar_testkit::engines! {
    async fn an_invoice_is_mailed_once_to_its_address_or_to_the_owner(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let stranger = organization(77).to_string();
        world.billing.issues(invoice(&acme, "ivc_1", "ABC-2026-0001", BOOKS));
        world.billing.issues(invoice(&acme, "ivc_2", "ABC-2026-0002", ""));
        // Whose organization is not here, who is a person, and what billing does not know, is nobody's mail.
        world.billing.issues(invoice(&stranger, "ivc_3", "XYZ-2026-0001", BOOKS));
        world.billing_tells(issued(&stranger, "ivc_3")).await;
        world.billing_tells(issued(&ben.user.to_string(), "ivc_1")).await;
        world.billing_tells(issued(&acme, "ivc_4")).await;
        for invoice in ["ivc_1", "ivc_2"] {
            world.billing_tells(issued(&acme, invoice)).await;
        }
        until("the address is told", async || told(&world, BOOKS, "ABC-2026-0001") == 1).await;
        until("the owner is told", async || told(&world, &ada.email, "ABC-2026-0002") == 1).await;
        let others = [(BOOKS, "ABC-2026-0002"), (&*ada.email, "ABC-2026-0001"), (&*ben.email, "ABC"), (BOOKS, "XYZ")];
        assert_eq!(others.map(|(email, number)| told(&world, email, number)), [0; 4]);
        // Both read whose it is.
        let is_named = |email: &str| world.mailbox.to(email).iter().any(|mail| mail.text.contains("for \"Acme\" on"));
        assert_eq!([BOOKS, &*ada.email].map(is_named), [true; 2]);
    }

    async fn a_document_that_is_told_again_is_mailed_once(db: TestDb) {
        let world = World::start(db).await;
        let acme = world.create(&world.who(1), "Acme").await.id;
        for (id, number) in [("ivc_1", "ABC-2026-0001"), ("ivc_2", "ABC-2026-0002")] {
            world.billing.issues(invoice(&acme, id, number, BOOKS));
        }
        world.billing_tells(issued(&acme, "ivc_1")).await;
        until("it is mailed", async || told(&world, BOOKS, "ABC-2026-0001") == 1).await;
        // Without a job there is nothing but what is remembered.
        all_mailed(&world).await;
        for invoice in ["ivc_1", "ivc_2"] {
            world.billing_tells(issued(&acme, invoice)).await;
        }
        until("the other is mailed", async || told(&world, BOOKS, "ABC-2026-0002") == 1).await;
        all_mailed(&world).await;
        assert_eq!(told(&world, BOOKS, "ABC-2026-0001"), 1);
    }

    async fn a_document_is_mailed_in_bulk(db: TestDb) {
        let world = World::start(db).await;
        let acme = world.create(&world.who(1), "Acme").await.id;
        // Where a file is in the way no mail is written, so what is queued stays.
        let mails = world.mail_dir();
        std::fs::write(&mails, "").expect("nothing was mailed yet");
        world.billing.issues(invoice(&acme, "ivc_1", "ABC-2026-0001", BOOKS));
        world.billing_tells(issued(&acme, "ivc_1")).await;
        until("it is queued", async || jobs(&world, "mail.bulk").await == 1).await;
        assert_eq!(jobs(&world, "mail").await, 0);
        std::fs::remove_file(&mails).expect("removed");
        world.advance(Span::from_secs(10));
        until("it is mailed", async || told(&world, BOOKS, "ABC-2026-0001") == 1).await;
    }

    /// Billing may tell of a last document when nothing is left of the organization, not even its name.
    async fn of_a_purged_organization_no_document_is_mailed(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, other) = (world.create(&ada, "Acme").await, world.create(&ben, "Other").await.id);
        delete(&ada, &acme).await.expect("deleted");
        world.advance(GRACE);
        until("it is purged", async || world.standings_of(&acme.id).await.len() == 2).await;
        world.billing.issues(invoice(&acme.id, "ivc_1", "ABC-2026-0001", BOOKS));
        world.billing.issues(invoice(&other, "ivc_2", "XYZ-2026-0001", BOOKS));
        world.billing_tells(issued(&acme.id, "ivc_1")).await;
        world.billing_tells(issued(&other, "ivc_2")).await;
        until("the other's is mailed", async || told(&world, BOOKS, "XYZ-2026-0001") == 1).await;
        all_mailed(&world).await;
        assert_eq!(told(&world, BOOKS, "ABC-2026-0001"), 0);
    }

    async fn of_one_organization_so_many_documents_are_mailed_a_day(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let (acme, other) = (world.create(&ada, "Acme").await.id, world.create(&ben, "Other").await.id);
        for n in 0..60 {
            let id = format!("ivc_{n}");
            world.billing.issues(invoice(&acme, &id, "ABC-2026", BOOKS));
            world.billing_tells(issued(&acme, &id)).await;
        }
        // Nobody uses up somebody else's.
        world.billing.issues(invoice(&other, "ivc_60", "XYZ-2026", BOOKS));
        world.billing_tells(issued(&other, "ivc_60")).await;
        until("the other's is mailed", async || told(&world, BOOKS, "XYZ-2026") == 1).await;
        until("as many as are mailed a day", async || told(&world, BOOKS, "ABC-2026") == 50).await;
        // What was not mailed is not taken for mailed when it is told again another day.
        world.advance(Span::HOUR);
        world.billing.issues(invoice(&acme, "ivc_61", "ABC-2027", BOOKS));
        world.billing.issues(invoice(&other, "ivc_62", "XYZ-2027", BOOKS));
        world.billing_tells(issued(&acme, "ivc_61")).await;
        world.billing_tells(issued(&other, "ivc_62")).await;
        until("the other's is mailed, too", async || told(&world, BOOKS, "XYZ-2027") == 1).await;
        all_mailed(&world).await;
        assert_eq!(told(&world, BOOKS, "ABC-2027"), 0);
        world.advance(Span::from_hours(23));
        world.billing_tells(issued(&acme, "ivc_61")).await;
        until("it is mailed another day", async || told(&world, BOOKS, "ABC-2027") == 1).await;
    }
}
