//! Billing's RPCs as one caller makes them: message in, message or status out.

use bursar_proto::billing::v1 as pb;
use bursar_testkit::Client;
use tonic::Status;

/// Somebody with credentials.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Client);

macro_rules! calls {
    ($($name:ident on $service:ident: $request:ident -> $response:ident;)+) => {
        impl Caller {
            $(pub(crate) async fn $name(&self, request: pb::$request) -> Result<pb::$response, Status> {
                Ok(self.0.$service().$name(request).await?.into_inner())
            })+
        }
    };
}

calls! {
    charge on credits: ChargeRequest -> ChargeResponse;
    batch_charge on credits: BatchChargeRequest -> BatchChargeResponse;
    hold on credits: HoldRequest -> HoldResponse;
    capture on credits: CaptureRequest -> CaptureResponse;
    release on credits: ReleaseRequest -> ReleaseResponse;
    refund on credits: RefundRequest -> RefundResponse;
    estimate on credits: EstimateRequest -> EstimateResponse;
    get_charge on credits: GetChargeRequest -> GetChargeResponse;
    get_hold on credits: GetHoldRequest -> GetHoldResponse;
    list_holds on credits: ListHoldsRequest -> ListHoldsResponse;
    grant_credits on credits: GrantCreditsRequest -> GrantCreditsResponse;
    void_lot on credits: VoidLotRequest -> VoidLotResponse;
    get_balance on accounts: GetBalanceRequest -> GetBalanceResponse;
    list_lots on accounts: ListLotsRequest -> ListLotsResponse;
    list_ledger_entries on accounts: ListLedgerEntriesRequest -> ListLedgerEntriesResponse;
    verify_ledger on accounts: VerifyLedgerRequest -> VerifyLedgerResponse;
    erase_details on accounts: EraseDetailsRequest -> EraseDetailsResponse;
    get_account_settings on accounts: GetAccountSettingsRequest -> GetAccountSettingsResponse;
    update_account_settings on accounts: UpdateAccountSettingsRequest -> UpdateAccountSettingsResponse;
    list_invoices on invoices: ListInvoicesRequest -> ListInvoicesResponse;
    get_invoice on invoices: GetInvoiceRequest -> GetInvoiceResponse;
    query_usage on usage: QueryUsageRequest -> QueryUsageResponse;
    list_plans on catalog: ListPlansRequest -> ListPlansResponse;
    list_packs on catalog: ListPacksRequest -> ListPacksResponse;
    list_models on catalog: ListModelsRequest -> ListModelsResponse;
    get_catalog_version on catalog: GetCatalogVersionRequest -> GetCatalogVersionResponse;
    reload_catalog on catalog: ReloadCatalogRequest -> ReloadCatalogResponse;
    subscribe on subscriptions: SubscribeRequest -> SubscribeResponse;
    get_subscription on subscriptions: GetSubscriptionRequest -> GetSubscriptionResponse;
    preview_change on subscriptions: PreviewChangeRequest -> PreviewChangeResponse;
    change_plan on subscriptions: ChangePlanRequest -> ChangePlanResponse;
    set_seats on subscriptions: SetSeatsRequest -> SetSeatsResponse;
    cancel on subscriptions: CancelRequest -> CancelResponse;
    resume on subscriptions: ResumeRequest -> ResumeResponse;
    set_contract on subscriptions: SetContractRequest -> SetContractResponse;
    move_subscription on subscriptions: MoveSubscriptionRequest -> MoveSubscriptionResponse;
    get_entitlements on subscriptions: GetEntitlementsRequest -> GetEntitlementsResponse;
    purchase_pack on purchases: PurchasePackRequest -> PurchasePackResponse;
    list_payment_methods on payments: ListPaymentMethodsRequest -> ListPaymentMethodsResponse;
    begin_setup on payments: BeginSetupRequest -> BeginSetupResponse;
    set_default_payment_method on payments: SetDefaultPaymentMethodRequest -> SetDefaultPaymentMethodResponse;
    remove_payment_method on payments: RemovePaymentMethodRequest -> RemovePaymentMethodResponse;
    get_payment on payments: GetPaymentRequest -> GetPaymentResponse;
    list_payments on payments: ListPaymentsRequest -> ListPaymentsResponse;
    refund_payment on payments: RefundPaymentRequest -> RefundPaymentResponse;
    get_purchase on purchases: GetPurchaseRequest -> GetPurchaseResponse;
    set_limit on limits: SetLimitRequest -> SetLimitResponse;
    list_limits on limits: ListLimitsRequest -> ListLimitsResponse;
    delete_limit on limits: DeleteLimitRequest -> DeleteLimitResponse;
    list_purchases on purchases: ListPurchasesRequest -> ListPurchasesResponse;
}

impl Caller {
    /// A charge that must succeed.
    pub(crate) async fn charged(&self, request: pb::ChargeRequest) -> pb::Charge {
        self.charge(request).await.expect("charged").charge.expect("a charge")
    }

    /// A hold that must succeed.
    pub(crate) async fn held(&self, request: pb::HoldRequest) -> pb::Hold {
        self.hold(request).await.expect("held").hold.expect("a hold")
    }

    /// A capture that must succeed.
    pub(crate) async fn captured(&self, request: pb::CaptureRequest) -> pb::Charge {
        self.capture(request).await.expect("captured").charge.expect("a charge")
    }

    /// A refund that must succeed.
    pub(crate) async fn refunded(&self, request: pb::RefundRequest) -> pb::Refund {
        self.refund(request).await.expect("refunded").refund.expect("a refund")
    }

    /// A grant that must succeed.
    pub(crate) async fn granted(&self, request: pb::GrantCreditsRequest) -> pb::Lot {
        self.grant_credits(request).await.expect("granted").lot.expect("a lot")
    }

    /// A limit that must be set.
    pub(crate) async fn limited(&self, request: pb::SetLimitRequest) -> pb::Limit {
        self.set_limit(request).await.expect("set").limit.expect("a limit")
    }

    /// A charge as it is now.
    pub(crate) async fn charge_now(&self, charge: &pb::Charge) -> pb::Charge {
        self.get_charge(crate::words::the_charge(charge)).await.expect("there").charge.expect("a charge")
    }

    /// A hold as it is now.
    pub(crate) async fn hold_now(&self, hold: &pb::Hold) -> pb::Hold {
        self.get_hold(crate::words::the_hold(hold)).await.expect("there").hold.expect("a hold")
    }
}
