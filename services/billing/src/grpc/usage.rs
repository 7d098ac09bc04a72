//! `UsageService`.

use std::pin::Pin;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::usage_service_server::UsageService;
use bursar_rpc::{Caller, PageKey, PageRequest};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::usecase::access::Access;
use crate::usecase::accounts::AccountUseCases;
use crate::usecase::reports::ReportUseCases;

/// Serves `UsageService`.
pub(crate) struct UsageHandler {
    pub(crate) access: Access,
    pub(crate) accounts: AccountUseCases,
    pub(crate) reports: ReportUseCases,
    pub(crate) pages: PageKey,
}

/// An export on its way.
type Chunks = Pin<Box<dyn Stream<Item = Result<pb::ExportUsageResponse, Status>> + Send>>;

#[tonic::async_trait]
impl UsageService for UsageHandler {
    async fn query_usage(
        &self,
        request: Request<pb::QueryUsageRequest>,
    ) -> Result<Response<pb::QueryUsageResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let owner = self.access.to(&caller, parse::owner_for(&caller, &request.owner)?).await?.owner;
        self.accounts.opened(&caller, owner).await?;
        let query = parse::report(&request)?;
        self.reports.admit(&caller, owner, &query).await?;
        let arguments = format!("{query:?}");
        let arguments = self.pages.list("QueryUsage", [owner.to_string().as_str(), &arguments]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let page = self.reports.page(&caller, owner, &query, &page).await?;
        let page = page.messages(|(key, line)| answer::usage(query.interval, &key, &line));
        let held = self.accounts.balance(owner, None, None).await?.balance.held.to_string();
        Ok(Response::new(pb::QueryUsageResponse { rows: page.rows, next_page_token: page.next_page_token, held }))
    }

    type ExportUsageStream = Chunks;

    async fn export_usage(&self, request: Request<pb::ExportUsageRequest>) -> Result<Response<Chunks>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let owner = self.access.to(&caller, parse::owner_for(&caller, &request.owner)?).await?.owner;
        self.accounts.opened(&caller, owner).await?;
        let query = parse::exported(request)?;
        self.reports.admit(&caller, owner, &query).await?;
        let chunks = self.reports.clone().export(caller, owner, query);
        Ok(Response::new(chunks.map(|chunk| Ok(pb::ExportUsageResponse { chunk: chunk?.to_vec() })).boxed()))
    }
}
