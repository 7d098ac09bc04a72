//! Invoices over gRPC: who sees them, pages, documents. Their rules are tested beside their use cases.

use bursar_id::{OwnerId, Role};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{InvoiceFormat, InvoiceKind, InvoiceLineKind};
use bursar_rpc::ServiceRole;
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::{engines, id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::calls::Caller;
use crate::contracts::contract;
use crate::given_back::refunds;
use crate::world::{World, until};

fn buy(owner: OwnerId, pack: &str) -> pb::PurchasePackRequest {
    pb::PurchasePackRequest {
        owner: owner.to_string(),
        pack_id: pack.to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: String::new(),
    }
}

fn subscribe(owner: OwnerId) -> pb::SubscribeRequest {
    pb::SubscribeRequest {
        owner: owner.to_string(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: String::new(),
    }
}

fn invoices(owner: OwnerId) -> pb::ListInvoicesRequest {
    pb::ListInvoicesRequest { owner: owner.to_string(), ..Default::default() }
}

fn one(owner: OwnerId, invoice_id: &str) -> pb::GetInvoiceRequest {
    pb::GetInvoiceRequest { owner: owner.to_string(), invoice_id: invoice_id.to_owned() }
}

fn document(owner: OwnerId, invoice_id: &str, format: InvoiceFormat) -> pb::RenderInvoiceRequest {
    pb::RenderInvoiceRequest { owner: owner.to_string(), invoice_id: invoice_id.to_owned(), format: format.into() }
}

/// A document put together from its chunks.
async fn render(who: &Caller, request: pb::RenderInvoiceRequest) -> Result<Vec<u8>, Status> {
    let mut stream = who.0.invoices().render_invoice(request).await?.into_inner();
    let mut whole = Vec::new();
    while let Some(part) = stream.message().await? {
        assert!(!part.chunk.is_empty() && part.chunk.len() <= 64 * 1024, "a chunk of {}", part.chunk.len());
        whole.extend(part.chunk);
    }
    Ok(whole)
}

engines! {
    async fn the_whole_team_has_one_series_of_invoices(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        world.hears(team, id(2), Some(Role::Admin), 1).await;
        let admin = world.member(2, team, Role::Admin, 1);
        let begins = to_timestamp(world.now());
        boss.subscribe(subscribe(team)).await.unwrap();
        world.passes(Span::SECOND);
        admin.purchase_pack(buy(team, "starter")).await.unwrap();
        world.passes(Span::SECOND);
        world.operator().purchase_pack(buy(team, "premium")).await.unwrap();
        let found = boss.list_invoices(invoices(team)).await.unwrap().invoices;
        let numbers: Vec<_> = found.iter().map(|it| it.number.split_once('-').unwrap().1.to_owned()).collect();
        let year = bursar_time::Zone::default().calendar(world.now()).0;
        let expected: Vec<_> = [3, 2, 1].map(|n| format!("{year}-{n:04}")).into();
        assert_eq!(numbers, expected, "the latest first");
        let first = &found[2];
        assert_eq!((first.kind(), first.lines[0].kind()), (InvoiceKind::Invoice, InvoiceLineKind::Subscription));
        assert_eq!((first.lines[0].period_start, first.owner.as_str()), (Some(begins), team.to_string().as_str()));
        let units = |money: &Option<bursar_proto::google::r#type::Money>| money.as_ref().unwrap().units;
        assert_eq!([&first.subtotal, &first.tax, &first.total].map(units), [100, 0, 100]);
        for it in &found {
            let get = admin.get_invoice(one(team, &it.id)).await.unwrap().invoice.unwrap();
            assert_eq!(get, *it);
        }
    }

    async fn a_list_goes_on_page_by_page(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        for _ in 0..5 {
            ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        }
        let whole = ana.list_invoices(invoices(ana.owner)).await.unwrap();
        assert_eq!((whole.invoices.len(), whole.next_page_token.as_str()), (5, ""));
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListInvoicesRequest { page_size: 2, page_token: token, ..invoices(ana.owner) };
            let page = ana.list_invoices(request).await.unwrap();
            assert!(page.invoices.len() <= 2);
            pages.extend(page.invoices);
            token = page.next_page_token;
            if token.is_empty() { break }
        }
        assert_eq!(pages, whole.invoices);
        let ben = world.person(2);
        let first = pb::ListInvoicesRequest { page_size: 2, ..invoices(ana.owner) };
        let page_token = ana.list_invoices(first).await.unwrap().next_page_token;
        let foreign = pb::ListInvoicesRequest { page_token, ..invoices(ben.owner) };
        refused(ben.list_invoices(foreign).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn who_may_not_see_billing_and_other_owners_see_no_invoice(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        world.hears(team, id(3), Some(Role::Member), 1).await;
        let (member, ben) = (world.member(3, team, Role::Member, 1), world.person(9));
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        let id = boss.list_invoices(invoices(team)).await.unwrap().invoices.remove(0).id;
        let html = InvoiceFormat::Html;
        for (who, reason) in [(&*member, "ROLE_NOT_ALLOWED"), (&*ben, "NOT_A_MEMBER")] {
            refused(who.list_invoices(invoices(team)).await, Code::PermissionDenied, reason);
            refused(who.get_invoice(one(team, &id)).await, Code::PermissionDenied, reason);
            refused(render(who, document(team, &id, html)).await, Code::PermissionDenied, reason);
        }
        let note = id.replace("ivc_", "crn_");
        let unknown = "ivc_01jd0000000000000000000001";
        for (owner, who, wanted) in [(ben.owner, &*ben, id.as_str()), (ben.owner, &*ben, unknown), (team, &*boss, &note)] {
            refused(who.get_invoice(one(owner, wanted)).await, Code::NotFound, "NOT_FOUND");
            refused(render(who, document(owner, wanted, html)).await, Code::NotFound, "NOT_FOUND");
        }
        refused(world.product().get_invoice(one(team, &id)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        world.operator().get_invoice(one(team, &id)).await.unwrap();
        // Who mails one looks at it, and at nothing else.
        for role in [ServiceRole::Organization, ServiceRole::Identity] {
            let mailing = world.service(role);
            mailing.get_invoice(one(team, &id)).await.unwrap();
            refused(mailing.list_invoices(invoices(team)).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        for bad in ["", "lot_01jd0000000000000000000001", "ivc_"] {
            let refusal = refused(boss.get_invoice(one(team, bad)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, ["invoice_id"], "{bad:?}");
        }
        let no_format = render(&boss, document(team, &id, InvoiceFormat::Unspecified)).await;
        assert_eq!(refused(no_format, Code::InvalidArgument, "INVALID_FIELDS").fields, ["format"]);
        let nobodys = pb::GetInvoiceRequest { owner: String::new(), ..one(team, &id) };
        boss.get_invoice(nobodys.clone()).await.expect("a user need not name the token's context");
        let unnamed = refused(world.operator().get_invoice(nobodys).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(unnamed.fields, ["owner"]);
    }

    async fn an_invoice_is_a_document_in_chunks(db: TestDb) {
        let logo = tempfile::NamedTempFile::new().unwrap();
        // A PNG of one pixel.
        let png = "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000\
                   000d49444154789c63507048f80f00030401c0802870da0000000049454e44ae426082";
        std::fs::write(logo.path(), hex::decode(png).unwrap()).unwrap();
        let path = logo.path().to_owned();
        let world = World::with(db, |settings| {
            settings.invoices.logo_file = Some(path);
            "Flik GmbH\nBerlin".clone_into(&mut settings.invoices.issuer);
            "Flik AI".clone_into(&mut settings.mail.product);
        }).await;
        let ana = world.person(1);
        let profile = pb::BillingProfile { name: "<Ada & Söhne>".to_owned(), ..Default::default() };
        let settings = pb::AccountSettings { billing_profile: Some(profile.clone()), ..Default::default() };
        let change = pb::UpdateAccountSettingsRequest { owner: ana.owner.to_string(), settings: Some(settings), ..Default::default() };
        ana.update_account_settings(change.clone()).await.unwrap();
        ana.purchase_pack(buy(ana.owner, "starter")).await.unwrap();
        let invoice = ana.list_invoices(invoices(ana.owner)).await.unwrap().invoices.remove(0);
        assert_eq!(invoice.billing_profile, Some(profile.clone()));

        let html = render(&ana, document(ana.owner, &invoice.id, InvoiceFormat::Html)).await.unwrap();
        let html = String::from_utf8(html).unwrap();
        for shown in [invoice.number.as_str(), "Flik AI", "Flik GmbH", "Berlin", "Starter (300 credits)", "20.00 USD", "data:image/png;base64,"] {
            assert!(html.contains(shown), "{shown}: {html}");
        }
        assert!(!html.contains("<Ada"), "{html}");
        let pdf = render(&ana, document(ana.owner, &invoice.id, InvoiceFormat::Pdf)).await.unwrap();
        assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 4_000);

        // Another profile afterwards changes nothing of it.
        let mut later = change;
        later.settings.as_mut().unwrap().billing_profile = Some(pb::BillingProfile { name: "Ben".to_owned(), ..profile });
        ana.update_account_settings(later).await.unwrap();
        assert_eq!(ana.get_invoice(one(ana.owner, &invoice.id)).await.unwrap().invoice.unwrap(), invoice);
        assert_eq!(render(&ana, document(ana.owner, &invoice.id, InvoiceFormat::Pdf)).await.unwrap(), pdf);
    }

    async fn what_is_paid_by_invoice_is_not_called_paid_and_a_refund_of_it_goes_nowhere(db: TestDb) {
        let world = World::on(db).await;
        let (team, boss) = world.organization_with(1, "1").await;
        boss.purchase_pack(buy(team, "starter")).await.unwrap();
        world.passes(Span::SECOND);
        let agreed = world.operator().set_contract(contract(team, 900)).await.unwrap().payment.unwrap();
        assert_eq!(agreed.payment_method, "invoice");
        let [invoice, pack]: [pb::Invoice; 2] = boss.list_invoices(invoices(team)).await.unwrap().invoices.try_into().unwrap();
        assert_eq!(invoice.payment_id, agreed.id);
        for paid in [&agreed.id, &pack.payment_id] {
            world.passes(Span::SECOND);
            refunds(&world, team, paid, None).await;
        }
        let [pack_note, note, _, _]: [pb::Invoice; 4] = boss.list_invoices(invoices(team)).await.unwrap().invoices.try_into().unwrap();
        assert_eq!([&note.original_id, &pack_note.original_id], [&invoice.id, &pack.id]);
        let sentences = [
            (&invoice, "To be paid by invoice."),
            (&pack, "Paid in full."),
            (&note, "Set off against the invoice, or given back by transfer where that has been paid."),
            (&pack_note, "Given back to the means of payment it was paid with."),
        ];
        for (document_of, _) in &sentences {
            let html = document(team, &document_of.id, InvoiceFormat::Html);
            let page = String::from_utf8(render(&boss, html.clone()).await.unwrap()).unwrap();
            for (other, sentence) in &sentences {
                assert_eq!(page.contains(sentence), other.id == document_of.id, "{sentence} {page}");
            }
            assert_eq!(render(&boss, html).await.unwrap(), page.into_bytes(), "it is the same again");
        }
    }

    async fn a_renewal_is_invoiced_whoever_spends_first(db: TestDb) {
        let world = World::on(db).await;
        let ana = world.person(1);
        ana.subscribe(subscribe(ana.owner)).await.unwrap();
        world.passes(Span::from_days(32));
        until("the next month is invoiced", async || {
            ana.list_invoices(invoices(ana.owner)).await.unwrap().invoices.len() == 2
        }).await;
        let found = ana.list_invoices(invoices(ana.owner)).await.unwrap().invoices;
        assert_eq!(found[0].lines[0].period_start, found[1].lines[0].period_end, "the months follow one another");
        world.audit(ana.owner).await;
    }
}
