//! `UsageService`.

use std::pin::Pin;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::usage_service_server::UsageService;
use bursar_rpc::{Call, PageKey, PageRequest};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::usecase::accounts::AccountUseCases;
use crate::usecase::reports::ReportUseCases;
use crate::usecase::viewing::Viewing;

/// Serves `UsageService`.
pub(crate) struct UsageHandler {
    pub(crate) viewing: Viewing,
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
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let allowed = self.viewing.to(&call, parse::owner_for(call.caller(), &request.owner)?).await?;
        let owner = allowed.owner;
        self.accounts.opened(call.caller(), owner).await?;
        let query = parse::report(&request)?;
        let admitted = self.reports.admit(call.caller(), owner, &query).await;
        self.viewing.told(&call, owner, admitted).await?;
        let arguments = format!("{query:?}");
        let arguments = self.pages.list("QueryUsage", [owner.to_string().as_str(), &arguments]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let page = self.reports.page(call.caller(), owner, &query, &page).await?;
        let page = page.messages(|(key, line)| answer::usage(query.interval, &key, &line));
        let held = allowed.balance(self.accounts.balance(owner, None, None).await?.balance.held);
        Ok(Response::new(pb::QueryUsageResponse { rows: page.rows, next_page_token: page.next_page_token, held }))
    }

    type ExportUsageStream = Chunks;

    async fn export_usage(&self, request: Request<pb::ExportUsageRequest>) -> Result<Response<Chunks>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = self.viewing.to(&call, parse::owner_for(call.caller(), &request.owner)?).await?.owner;
        self.accounts.opened(call.caller(), owner).await?;
        let query = parse::exported(request)?;
        let admitted = self.reports.admit(call.caller(), owner, &query).await;
        self.viewing.told(&call, owner, admitted).await?;
        let chunks = self.reports.clone().export(call.caller().clone(), owner, query);
        Ok(Response::new(chunks.map(|chunk| Ok(pb::ExportUsageResponse { chunk: chunk?.to_vec() })).boxed()))
    }
}
