//! What people do in the stories: one call each, in the context in which they act, under a request id of its own. What comes
//! of it is the caller's affair: some of these calls must be refused.

use bursar_proto::{
    billing::v1::{
        AccountSettings, AutoTopUp, BeginSetupRequest, BeginSetupResponse, ChangePlanRequest, ChangePlanResponse,
        ChargeRequest, ChargeResponse, GetBalanceRequest, GetBalanceResponse, GetSubscriptionRequest,
        GetSubscriptionResponse, GroupBy, InvoiceFormat, ListInvoicesRequest, ListInvoicesResponse,
        ListLedgerEntriesRequest, ListLedgerEntriesResponse, ListLotsRequest, ListLotsResponse,
        ListPaymentMethodsRequest, ListPaymentMethodsResponse, ListPaymentsRequest, ListPaymentsResponse,
        ListPurchasesRequest, ListPurchasesResponse, PreviewChangeRequest, PreviewChangeResponse, PurchasePackRequest,
        PurchasePackResponse, QueryUsageRequest, QueryUsageResponse, RemovePaymentMethodRequest,
        RemovePaymentMethodResponse, RenderInvoiceRequest, RenderInvoiceResponse, SetContractRequest,
        SetContractResponse, SetDefaultPaymentMethodRequest, SetDefaultPaymentMethodResponse, SetSeatsRequest,
        SetSeatsResponse, SubscribeRequest, SubscribeResponse, UpdateAccountSettingsRequest,
        UpdateAccountSettingsResponse,
    },
    google::r#type::Money,
    identity::v1::{ListContextsRequest, ListContextsResponse, SwitchContextRequest, SwitchContextResponse},
    organization::v1::{
        AcceptInvitationRequest, AcceptInvitationResponse, CreateInvitationRequest, CreateInvitationResponse,
        CreateOrganizationRequest, CreateOrganizationResponse, CreateProjectRequest, CreateProjectResponse,
        DeleteOrganizationRequest, DeleteOrganizationResponse, GetOrganizationRequest, GetOrganizationResponse,
        GetProjectRequest, GetProjectResponse, LeaveOrganizationRequest, LeaveOrganizationResponse,
        ListInvitationsRequest, ListInvitationsResponse, ListMembersRequest, ListMembersResponse, ListProjectsRequest,
        ListProjectsResponse, ReassignProjectRequest, ReassignProjectResponse, RemoveMemberRequest,
        RemoveMemberResponse, RevokeInvitationRequest, RevokeInvitationResponse, Role, SetAvatarRequest,
        SetAvatarResponse, TransferOwnershipRequest, TransferOwnershipResponse, UndeleteOrganizationRequest,
        UndeleteOrganizationResponse, UpdateMemberRoleRequest, UpdateMemberRoleResponse, UpdateOrganizationRequest,
        UpdateOrganizationResponse, get_organization_request::Key,
    },
};
use bursar_rpc::convert::{required_timestamp, to_timestamp};
use bursar_time::Span;
use tonic::{Response, Status, Streaming};

use super::Actor;
use crate::demo::wire::{Wire, answer};

/// What comes of a call.
pub(in crate::demo) type Outcome<T> = Result<Response<T>, Status>;

impl Actor {
    // Contexts and organizations.

    pub(in crate::demo) async fn contexts(&self) -> Outcome<ListContextsResponse> {
        self.wire.contexts().list_contexts(ListContextsRequest::default()).await
    }

    /// For a token that acts in another context.
    pub(in crate::demo) async fn enter(&self, owner: &str) -> Outcome<SwitchContextResponse> {
        self.wire.contexts().switch_context(SwitchContextRequest { owner: owner.to_owned() }).await
    }

    /// An empty slug: one is made from the name.
    pub(in crate::demo) async fn found(&self, name: &str, slug: &str) -> Outcome<CreateOrganizationResponse> {
        let (name, slug) = (name.to_owned(), slug.to_owned());
        let request = CreateOrganizationRequest { name, slug, request_id: self.request_id() };
        self.wire.organizations().create_organization(request).await
    }

    pub(in crate::demo) async fn organization(&self) -> Outcome<GetOrganizationResponse> {
        let key = Some(Key::OrganizationId(self.owner.clone()));
        self.wire.organizations().get_organization(GetOrganizationRequest { key }).await
    }

    /// An empty name or slug stays as it is.
    pub(in crate::demo) async fn rename(&self, name: &str, slug: &str) -> Outcome<UpdateOrganizationResponse> {
        let request = UpdateOrganizationRequest {
            organization_id: self.owner.clone(),
            name: name.to_owned(),
            slug: slug.to_owned(),
            request_id: self.request_id(),
            ..UpdateOrganizationRequest::default()
        };
        self.wire.organizations().update_organization(request).await
    }

    /// The organization to which a slug leads, whatever context the actor is in.
    pub(in crate::demo) async fn organization_by_slug(&self, slug: &str) -> Outcome<GetOrganizationResponse> {
        let key = Some(Key::Slug(slug.to_owned()));
        self.wire.organizations().get_organization(GetOrganizationRequest { key }).await
    }

    /// No content: none any more.
    pub(in crate::demo) async fn set_avatar(&self, content: &[u8]) -> Outcome<SetAvatarResponse> {
        let (organization_id, content) = (self.owner.clone(), content.to_vec());
        let request = SetAvatarRequest { organization_id, content, request_id: self.request_id() };
        self.wire.organizations().set_avatar(request).await
    }

    pub(in crate::demo) async fn transfer(&self, user: &str) -> Outcome<TransferOwnershipResponse> {
        let (organization_id, user_id) = (self.owner.clone(), user.to_owned());
        let request = TransferOwnershipRequest { organization_id, user_id, request_id: self.request_id() };
        self.wire.organizations().transfer_ownership(request).await
    }

    pub(in crate::demo) async fn delete(&self, confirm_slug: &str) -> Outcome<DeleteOrganizationResponse> {
        let (organization_id, confirm_slug) = (self.owner.clone(), confirm_slug.to_owned());
        let request = DeleteOrganizationRequest { organization_id, confirm_slug, request_id: self.request_id() };
        self.wire.organizations().delete_organization(request).await
    }

    pub(in crate::demo) async fn undelete(&self) -> Outcome<UndeleteOrganizationResponse> {
        let request =
            UndeleteOrganizationRequest { organization_id: self.owner.clone(), request_id: self.request_id() };
        self.wire.organizations().undelete_organization(request).await
    }

    // Members and invitations.

    pub(in crate::demo) async fn members(&self) -> Outcome<ListMembersResponse> {
        let request = ListMembersRequest { organization_id: self.owner.clone(), ..ListMembersRequest::default() };
        self.wire.members().list_members(request).await
    }

    pub(in crate::demo) async fn invite(&self, email: &str, role: Role) -> Outcome<CreateInvitationResponse> {
        let request = CreateInvitationRequest {
            organization_id: self.owner.clone(),
            email: email.to_owned(),
            role: role.into(),
            request_id: self.request_id(),
            ..CreateInvitationRequest::default()
        };
        self.wire.invitations().create_invitation(request).await
    }

    /// With the token of a mail.
    pub(in crate::demo) async fn accept(&self, token: &str) -> Outcome<AcceptInvitationResponse> {
        let request = AcceptInvitationRequest { token: token.to_owned(), request_id: self.request_id() };
        self.wire.invitations().accept_invitation(request).await
    }

    pub(in crate::demo) async fn invitations(&self) -> Outcome<ListInvitationsResponse> {
        let request =
            ListInvitationsRequest { organization_id: self.owner.clone(), ..ListInvitationsRequest::default() };
        self.wire.invitations().list_invitations(request).await
    }

    pub(in crate::demo) async fn revoke(&self, invitation: &str) -> Outcome<RevokeInvitationResponse> {
        let request = RevokeInvitationRequest { invitation_id: invitation.to_owned(), request_id: self.request_id() };
        self.wire.invitations().revoke_invitation(request).await
    }

    pub(in crate::demo) async fn set_role(&self, user: &str, role: Role) -> Outcome<UpdateMemberRoleResponse> {
        let request = UpdateMemberRoleRequest {
            organization_id: self.owner.clone(),
            user_id: user.to_owned(),
            role: role.into(),
            request_id: self.request_id(),
            ..UpdateMemberRoleRequest::default()
        };
        self.wire.members().update_member_role(request).await
    }

    pub(in crate::demo) async fn remove(&self, user: &str) -> Outcome<RemoveMemberResponse> {
        let (organization_id, user_id) = (self.owner.clone(), user.to_owned());
        let request = RemoveMemberRequest { organization_id, user_id, request_id: self.request_id() };
        self.wire.members().remove_member(request).await
    }

    pub(in crate::demo) async fn leave(&self) -> Outcome<LeaveOrganizationResponse> {
        let request = LeaveOrganizationRequest { organization_id: self.owner.clone(), request_id: self.request_id() };
        self.wire.members().leave_organization(request).await
    }

    // Projects.

    pub(in crate::demo) async fn make_project(&self, name: &str) -> Outcome<CreateProjectResponse> {
        self.make_project_from(name, "").await
    }

    /// With what stands under a template; an empty one: with nothing.
    pub(in crate::demo) async fn make_project_from(
        &self,
        name: &str,
        template: &str,
    ) -> Outcome<CreateProjectResponse> {
        let request = CreateProjectRequest {
            template_item: template.to_owned(),
            owner: self.owner.clone(),
            name: name.to_owned(),
            request_id: self.request_id(),
            ..CreateProjectRequest::default()
        };
        self.wire.projects().create_project(request).await
    }

    pub(in crate::demo) async fn project(&self, id: &str) -> Outcome<GetProjectResponse> {
        self.wire.projects().get_project(GetProjectRequest { project_id: id.to_owned() }).await
    }

    pub(in crate::demo) async fn projects(&self) -> Outcome<ListProjectsResponse> {
        let request = ListProjectsRequest { owner: self.owner.clone(), ..ListProjectsRequest::default() };
        self.wire.projects().list_projects(request).await
    }

    pub(in crate::demo) async fn reassign(&self, project: &str, user: &str) -> Outcome<ReassignProjectResponse> {
        let request = ReassignProjectRequest {
            project_id: project.to_owned(),
            user_id: user.to_owned(),
            request_id: self.request_id(),
            ..ReassignProjectRequest::default()
        };
        self.wire.projects().reassign_project(request).await
    }

    // Billing.

    pub(in crate::demo) async fn balance(&self) -> Outcome<GetBalanceResponse> {
        let request = GetBalanceRequest { owner: self.owner.clone(), ..GetBalanceRequest::default() };
        self.wire.accounts().get_balance(request).await
    }

    pub(in crate::demo) async fn lots(&self) -> Outcome<ListLotsResponse> {
        let request = ListLotsRequest { owner: self.owner.clone(), ..ListLotsRequest::default() };
        self.wire.accounts().list_lots(request).await
    }

    pub(in crate::demo) async fn ledger(&self) -> Outcome<ListLedgerEntriesResponse> {
        let request = ListLedgerEntriesRequest { owner: self.owner.clone(), ..ListLedgerEntriesRequest::default() };
        self.wire.accounts().list_ledger_entries(request).await
    }

    /// A card that the sandbox accepts, which saves it at once.
    pub(in crate::demo) async fn save_card(&self) -> Outcome<BeginSetupResponse> {
        let (owner, request_id) = (self.owner.clone(), self.request_id());
        let return_url = "https://example.com/billing".to_owned();
        self.wire.payments().begin_setup(BeginSetupRequest { owner, return_url, request_id }).await
    }

    pub(in crate::demo) async fn cards(&self) -> Outcome<ListPaymentMethodsResponse> {
        let request = ListPaymentMethodsRequest { owner: self.owner.clone(), ..ListPaymentMethodsRequest::default() };
        self.wire.payments().list_payment_methods(request).await
    }

    /// Has it pay where no card is named.
    pub(in crate::demo) async fn prefer_card(&self, card: &str) -> Outcome<SetDefaultPaymentMethodResponse> {
        let (owner, payment_method_id) = (self.owner.clone(), card.to_owned());
        let request = SetDefaultPaymentMethodRequest { owner, payment_method_id, request_id: self.request_id() };
        self.wire.payments().set_default_payment_method(request).await
    }

    pub(in crate::demo) async fn remove_card(&self, card: &str) -> Outcome<RemovePaymentMethodResponse> {
        let (owner, payment_method_id) = (self.owner.clone(), card.to_owned());
        let request = RemovePaymentMethodRequest { owner, payment_method_id, request_id: self.request_id() };
        self.wire.payments().remove_payment_method(request).await
    }

    /// Pays with a card that the sandbox accepts.
    pub(in crate::demo) async fn subscribe(&self, plan: &str) -> Outcome<SubscribeResponse> {
        self.subscribe_with(plan, "sandbox_ok").await
    }

    /// An empty card: the saved one that pays where none is named.
    pub(in crate::demo) async fn subscribe_with(&self, plan: &str, card: &str) -> Outcome<SubscribeResponse> {
        let request = SubscribeRequest {
            owner: self.owner.clone(),
            plan_id: plan.to_owned(),
            payment_method: card.to_owned(),
            request_id: self.request_id(),
        };
        self.wire.subscriptions().subscribe(request).await
    }

    /// For so many people in all, whatever that costs.
    pub(in crate::demo) async fn set_seats(&self, seats: u32) -> Outcome<SetSeatsResponse> {
        let (owner, request_id) = (self.owner.clone(), self.request_id());
        let request = SetSeatsRequest { owner, seats, request_id, ..SetSeatsRequest::default() };
        self.wire.subscriptions().set_seats(request).await
    }

    /// What an operator agrees with the actor's context, by whose calls.
    pub(in crate::demo) async fn agree(
        &self,
        operator: &Wire,
        terms: SetContractRequest,
    ) -> Outcome<SetContractResponse> {
        let (owner, request_id) = (self.owner.clone(), self.request_id());
        operator.subscriptions().set_contract(SetContractRequest { owner, request_id, ..terms }).await
    }

    pub(in crate::demo) async fn subscription(&self) -> Outcome<GetSubscriptionResponse> {
        let request = GetSubscriptionRequest { owner: self.owner.clone() };
        self.wire.subscriptions().get_subscription(request).await
    }

    /// What it would come to, for so many people in all.
    pub(in crate::demo) async fn preview_change(&self, plan: &str, seats: u32) -> Outcome<PreviewChangeResponse> {
        let (owner, plan_id) = (self.owner.clone(), plan.to_owned());
        let request = PreviewChangeRequest { owner, plan_id, seats, ..PreviewChangeRequest::default() };
        self.wire.subscriptions().preview_change(request).await
    }

    /// The same, if no more and no less than that is due.
    pub(in crate::demo) async fn set_seats_for(
        &self,
        seats: u32,
        expected_due: Option<Money>,
    ) -> Outcome<SetSeatsResponse> {
        let (owner, request_id) = (self.owner.clone(), self.request_id());
        self.wire.subscriptions().set_seats(SetSeatsRequest { owner, seats, expected_due, request_id }).await
    }

    pub(in crate::demo) async fn change_plan(&self, plan: &str, seats: u32) -> Outcome<ChangePlanResponse> {
        let request = ChangePlanRequest {
            owner: self.owner.clone(),
            plan_id: plan.to_owned(),
            seats,
            expected_due: None,
            request_id: self.request_id(),
        };
        self.wire.subscriptions().change_plan(request).await
    }

    /// Pays with a card that the sandbox accepts.
    pub(in crate::demo) async fn buy(&self, pack: &str) -> Outcome<PurchasePackResponse> {
        self.buy_with(pack, "sandbox_ok").await
    }

    /// An empty card: the saved one that pays where none is named.
    pub(in crate::demo) async fn buy_with(&self, pack: &str, card: &str) -> Outcome<PurchasePackResponse> {
        let request = PurchasePackRequest {
            owner: self.owner.clone(),
            pack_id: pack.to_owned(),
            payment_method: card.to_owned(),
            request_id: self.request_id(),
        };
        self.wire.purchases().purchase_pack(request).await
    }

    pub(in crate::demo) async fn top_up(&self, auto_top_up: AutoTopUp) -> Outcome<UpdateAccountSettingsResponse> {
        let request = UpdateAccountSettingsRequest {
            owner: self.owner.clone(),
            settings: Some(AccountSettings { auto_top_up: Some(auto_top_up), ..AccountSettings::default() }),
            request_id: self.request_id(),
            ..UpdateAccountSettingsRequest::default()
        };
        self.wire.accounts().update_account_settings(request).await
    }

    pub(in crate::demo) async fn purchases(&self) -> Outcome<ListPurchasesResponse> {
        let request = ListPurchasesRequest { owner: self.owner.clone(), ..ListPurchasesRequest::default() };
        self.wire.purchases().list_purchases(request).await
    }

    pub(in crate::demo) async fn invoices(&self) -> Outcome<ListInvoicesResponse> {
        let request = ListInvoicesRequest { owner: self.owner.clone(), ..ListInvoicesRequest::default() };
        self.wire.invoices().list_invoices(request).await
    }

    /// An invoice as a PDF, in chunks.
    pub(in crate::demo) async fn pdf(&self, invoice: &str) -> Outcome<Streaming<RenderInvoiceResponse>> {
        let (owner, invoice_id) = (self.owner.clone(), invoice.to_owned());
        let request = RenderInvoiceRequest { owner, invoice_id, format: InvoiceFormat::Pdf.into() };
        self.wire.invoices().render_invoice(request).await
    }

    pub(in crate::demo) async fn payments(&self) -> Outcome<ListPaymentsResponse> {
        let request = ListPaymentsRequest { owner: self.owner.clone(), ..ListPaymentsRequest::default() };
        self.wire.payments().list_payments(request).await
    }

    /// Work of the model, for the actor.
    pub(in crate::demo) async fn charge(&self, amount: &str, model: &str, project: &str) -> Outcome<ChargeResponse> {
        let request = ChargeRequest {
            owner: self.owner.clone(),
            amount: amount.to_owned(),
            model: model.to_owned(),
            project: project.to_owned(),
            request_id: self.request_id(),
            ..ChargeRequest::default()
        };
        self.wire.credits().charge(request).await
    }

    /// What was used in the current period, and some time before it.
    pub(in crate::demo) async fn usage(&self, group_by: &[GroupBy]) -> anyhow::Result<Outcome<QueryUsageResponse>> {
        let now = answer(self.balance().await)?;
        let from = required_timestamp(now.period_start)?.saturating_sub(Span::from_days(33));
        let to = required_timestamp(now.period_end)?;
        let request = QueryUsageRequest {
            owner: self.owner.clone(),
            from: Some(to_timestamp(from)),
            to: Some(to_timestamp(to)),
            group_by: group_by.iter().map(|&by| by.into()).collect(),
            ..QueryUsageRequest::default()
        };
        Ok(self.wire.usage().query_usage(request).await)
    }
}
