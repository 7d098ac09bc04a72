//! `AccountService`.

use std::mem::take;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::account_service_server::AccountService;
use bursar_rpc::{Answer, Asked, Call, Page, PageKey, PageRequest, Violations};
use tonic::{Request, Response, Status};

use super::{answer, parse, settings};
use crate::domain::{BadLedger, Flaw};
use crate::error::Error;
use crate::usecase::access::{Access, Allowed};
use crate::usecase::accounts::AccountUseCases;
use crate::usecase::entries::Listed;
use crate::usecase::erasures::ErasureUseCases;
use crate::usecase::settings::SettingsUseCases;
use crate::usecase::viewing::Viewing;

/// Serves `AccountService`.
pub(crate) struct AccountHandler {
    pub(crate) viewing: Viewing,
    pub(crate) accounts: AccountUseCases,
    pub(crate) erasures: ErasureUseCases,
    pub(crate) settings: SettingsUseCases,
    pub(crate) pages: PageKey,
}

impl AccountHandler {
    /// May the caller do this with the account, and is it there?
    async fn opened(&self, call: &Call, owner: &str) -> Result<Allowed, Error> {
        let allowed = self.viewing.to(call, parse::owner_for(call.caller(), owner)?).await?;
        self.accounts.opened(call.caller(), allowed.owner).await?;
        Ok(allowed)
    }
}

#[tonic::async_trait]
impl AccountService for AccountHandler {
    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = self.opened(&call, &request.owner).await?.owner;
        let (model, project) = parse::work(&request.model, &request.project)?;
        let view = self.accounts.balance(owner, model.as_ref(), project.as_ref()).await?;
        Ok(Response::new(answer::balance(&view)))
    }

    async fn list_lots(&self, request: Request<pb::ListLotsRequest>) -> Result<Response<pb::ListLotsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = self.opened(&call, &request.owner).await?.owner;
        let arguments = self.pages.list("ListLots", [owner.to_string().as_str()]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let lots = self.accounts.lots(owner, &page).await?;
        let page = lots.messages(|lot| answer::lot(&lot));
        Ok(Response::new(pb::ListLotsResponse { lots: page.rows, next_page_token: page.next_page_token }))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let allowed = self.opened(&call, &request.owner).await?;
        let owner = allowed.owner;
        let filter = parse::ledger_filter(&request)?;
        let arguments = format!("{filter:?}");
        let arguments = self.pages.list("ListLedgerEntries", [owner.to_string().as_str(), &arguments]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let show = move |page: Page<Listed>| page.messages(|entry| answer::entry(&allowed, &entry));
        let page = self.accounts.ledger((call.caller(), owner), &filter, &page, show).await?;
        Ok(Response::new(pb::ListLedgerEntriesResponse { entries: page.rows, next_page_token: page.next_page_token }))
    }

    async fn verify_ledger(
        &self,
        request: Request<pb::VerifyLedgerRequest>,
    ) -> Result<Response<pb::VerifyLedgerResponse>, Status> {
        let call = Call::of(&request)?;
        let owner = self.opened(&call, &request.get_ref().owner).await?.owner;
        let verdict = self.accounts.verify(call.caller(), owner).await?;
        let flaw = verdict.result.as_ref().err();
        Ok(Response::new(pb::VerifyLedgerResponse {
            valid: flaw.is_none(),
            entries: verdict.entries,
            head_hash: hex::encode(verdict.head_hash),
            first_bad: flaw.map(|bad| pb::LedgerFlaw { seq: entry_to_blame(bad), reason: bad.flaw.to_string() }),
            erased: verdict.result.as_ref().map_or(0, |audit| audit.erased),
        }))
    }

    async fn get_account_settings(
        &self,
        request: Request<pb::GetAccountSettingsRequest>,
    ) -> Result<Response<pb::GetAccountSettingsResponse>, Status> {
        let call = Call::of(&request)?;
        let owner = self.opened(&call, &request.get_ref().owner).await?.owner;
        let found = settings::settings(&self.settings.get(owner).await?);
        Ok(Response::new(pb::GetAccountSettingsResponse { settings: Some(found) }))
    }

    async fn update_account_settings(
        &self,
        request: Request<pb::UpdateAccountSettingsRequest>,
    ) -> Result<Response<pb::UpdateAccountSettingsResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let payments = &self.settings.cashier.till.payments;
        let read = |message: &pb::UpdateAccountSettingsRequest, bad: &mut Violations| {
            Some(settings::change(payments, message, bad))
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let answer = self.settings.update(owner, &asked).await?;
        let mut message = answer.message()?;
        let now = match answer {
            Answer::New(settings) => settings.profile,
            Answer::Replay(_) => self.settings.get(owner).await?.profile,
        };
        message.settings.get_or_insert_default().billing_profile = Some(settings::to_profile(&now));
        Ok(Response::new(message))
    }

    async fn erase_details(
        &self,
        request: Request<pb::EraseDetailsRequest>,
    ) -> Result<Response<pb::EraseDetailsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let allowed = Access::service(call.caller(), parse::owner(&request.owner)?)?;
        let erased = self.erasures.erase(&call, allowed, parse::erasure(&request)?).await?;
        Ok(Response::new(pb::EraseDetailsResponse { seq: erased.entry, replayed: erased.replayed }))
    }
}

/// The number of the bad entry; 0 where the entries are good and what is stored beside them is not.
fn entry_to_blame(bad: &BadLedger) -> u64 {
    match bad.flaw {
        Flaw::HeadMismatch
        | Flaw::LotMismatch(_)
        | Flaw::LotMissing(_)
        | Flaw::UsageMismatch
        | Flaw::LimitMismatch(_)
        | Flaw::PaymentMismatch(_)
        | Flaw::PurchaseMismatch(_)
        | Flaw::InvoiceMismatch(_)
        | Flaw::StoredHoldMismatch(_) => 0,
        _ => bad.seq,
    }
}
