//! A fake of billing: its invoices in memory, its events among identity's own in the one store, behind the real stack.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bursar_db::Db;
use bursar_events::{Nothing, Outbox};
use bursar_proto::billing::v1::invoice_service_server::{InvoiceService, InvoiceServiceServer};
use bursar_proto::billing::v1::{self as api, Invoice};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Caller, ServiceRole, Transport};
use bursar_runtime::Env;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::world::deps;

/// The fake. Clones share what it knows.
#[derive(Clone)]
pub(crate) struct FakeBilling {
    db: Db,
    outbox: Outbox,
    invoices: Arc<Mutex<BTreeMap<String, Invoice>>>,
    away: Arc<AtomicBool>,
}

impl FakeBilling {
    /// Its events stand in identity's store: whoever follows them passes over what identity tells.
    pub(crate) fn new(env: &Env, db: Db) -> Self {
        let outbox = Outbox::new("billing", db.clone(), env.clock.clone(), env.entropy.clone());
        Self { db, outbox, invoices: Arc::default(), away: Arc::default() }
    }

    /// Its routes behind the stack, believing the tokens that identity signs.
    pub(crate) fn routes(&self, env: &Env, identity: Transport) -> Routes {
        let events = self.outbox.service(Nothing, env.shutdown.clone());
        bursar_rpc::stack(Routes::new(InvoiceServiceServer::new(self.clone())).add_service(events), deps(env, identity))
    }

    /// Tells something.
    pub(crate) async fn tells(&self, payload: Payload) {
        let tx = self.db.begin().await.unwrap();
        self.outbox.commit(tx, vec![payload]).await.unwrap();
    }

    /// Whether it answers what it is asked with `UNAVAILABLE`.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// There is one more invoice.
    pub(crate) fn issues(&self, invoice: Invoice) {
        self.invoices.lock().unwrap().insert(invoice.id.clone(), invoice);
    }
}

#[tonic::async_trait]
impl InvoiceService for FakeBilling {
    async fn get_invoice(
        &self,
        request: Request<api::GetInvoiceRequest>,
    ) -> Result<Response<api::GetInvoiceResponse>, Status> {
        let caller = Caller::of(&request)?;
        assert_eq!(caller.service().unwrap().role, ServiceRole::Identity, "by its own token");
        if self.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let api::GetInvoiceRequest { owner, invoice_id } = request.into_inner();
        let found = self.invoices.lock().unwrap().get(&invoice_id).filter(|it| it.owner == owner).cloned();
        let invoice = found.ok_or_else(|| Status::not_found("no invoice"))?;
        Ok(Response::new(api::GetInvoiceResponse { invoice: Some(invoice) }))
    }

    async fn list_invoices(
        &self,
        _: Request<api::ListInvoicesRequest>,
    ) -> Result<Response<api::ListInvoicesResponse>, Status> {
        Err(Status::unimplemented("identity lists none"))
    }

    type RenderInvoiceStream = BoxStream<api::RenderInvoiceResponse>;

    async fn render_invoice(
        &self,
        _: Request<api::RenderInvoiceRequest>,
    ) -> Result<Response<Self::RenderInvoiceStream>, Status> {
        Err(Status::unimplemented("identity renders none"))
    }
}
