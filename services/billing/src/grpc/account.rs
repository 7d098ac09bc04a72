//! `AccountService`.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_server::AccountService;
use bursar_rpc::{Caller, Fingerprint, PageRequest};
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::domain::{BadLedger, Flaw};
use crate::usecase::access::Access;
use crate::usecase::accounts::AccountUseCases;
use crate::usecase::audit;

/// Serves `AccountService`.
pub(crate) struct AccountHandler {
    pub(crate) access: Access,
    pub(crate) accounts: AccountUseCases,
}

#[tonic::async_trait]
impl AccountService for AccountHandler {
    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let caller = Caller::of(&request)?;
        let owner = parse::owner(&request.get_ref().owner)?;
        self.access.to(&caller, owner).await?;
        self.accounts.opened(&caller, owner).await?;
        let view = self.accounts.balance(owner).await?;
        Ok(Response::new(answer::balance(&view)))
    }

    async fn list_lots(&self, request: Request<pb::ListLotsRequest>) -> Result<Response<pb::ListLotsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        self.access.to(&caller, owner).await?;
        self.accounts.opened(&caller, owner).await?;
        let arguments = Fingerprint::of("ListLots", [request.owner.as_str()]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let lots = self.accounts.lots(owner, &page).await?;
        let (lots, next_page_token) = (lots.rows.iter().map(answer::lot).collect(), lots.next_page_token);
        Ok(Response::new(pb::ListLotsResponse { lots, next_page_token }))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        self.access.to(&caller, owner).await?;
        self.accounts.opened(&caller, owner).await?;
        let filter = parse::ledger_filter(&request)?;
        let arguments = format!("{filter:?}");
        let arguments = Fingerprint::of("ListLedgerEntries", [request.owner.as_str(), &arguments]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let (entries, next_page_token) = self.accounts.ledger(owner, &filter, &page).await?;
        let entries = entries.iter().map(answer::entry).collect();
        Ok(Response::new(pb::ListLedgerEntriesResponse { entries, next_page_token }))
    }

    async fn verify_ledger(
        &self,
        request: Request<pb::VerifyLedgerRequest>,
    ) -> Result<Response<pb::VerifyLedgerResponse>, Status> {
        let caller = Caller::of(&request)?;
        let owner = parse::owner(&request.get_ref().owner)?;
        self.access.to(&caller, owner).await?;
        self.accounts.opened(&caller, owner).await?;
        let verdict = audit::verify(&self.accounts.db, owner).await?;
        let flaw = verdict.result.as_ref().err();
        Ok(Response::new(pb::VerifyLedgerResponse {
            valid: flaw.is_none(),
            entries: verdict.entries,
            head_hash: hex::encode(verdict.head_hash),
            first_bad: flaw.map(|bad| pb::LedgerFlaw { seq: entry_to_blame(bad), reason: bad.flaw.to_string() }),
        }))
    }
}

/// The number of the bad entry; 0 where the entries are good and what is stored beside them is not.
fn entry_to_blame(bad: &BadLedger) -> u64 {
    match bad.flaw {
        Flaw::HeadMismatch
        | Flaw::LotMismatch(_)
        | Flaw::LotMissing(_)
        | Flaw::UsageMismatch
        | Flaw::StoredHoldMismatch(_) => 0,
        _ => bad.seq,
    }
}
