//! What an operator may do who acts for a user: of each RPC that admits users, decided here and declared there.

use std::collections::BTreeMap;

use bursar_proto::access::{Acting, CallerKind, METHODS};

/// What is about credentials, keys, sessions, ownership or payments, about where somebody belongs, or nobody else's.
const FORBIDDEN: &[&str] = &[
    "billing.v1.AccountService/UpdateAccountSettings",
    "billing.v1.PaymentService/BeginSetup",
    "billing.v1.PaymentService/RemovePaymentMethod",
    "billing.v1.PaymentService/SetDefaultPaymentMethod",
    "billing.v1.PurchaseService/PurchasePack",
    "billing.v1.SubscriptionService/Cancel",
    "billing.v1.SubscriptionService/ChangePlan",
    "billing.v1.SubscriptionService/Resume",
    "billing.v1.SubscriptionService/SetSeats",
    "billing.v1.SubscriptionService/Subscribe",
    "identity.v1.ContextService/SwitchContext",
    "identity.v1.SessionService/ListSessions",
    "identity.v1.SessionService/RevokeSession",
    "identity.v1.SessionService/SignOut",
    "identity.v1.UserService/DeleteMe",
    "identity.v1.UserService/UpdateMe",
    "organization.v1.InvitationService/AcceptInvitation",
    "organization.v1.MemberService/GetPreferences",
    "organization.v1.MemberService/LeaveOrganization",
    "organization.v1.MemberService/UpdatePreferences",
    "organization.v1.OrganizationService/AcceptOwnership",
    "organization.v1.OrganizationService/CreateOrganization",
    "organization.v1.OrganizationService/DeclineOwnership",
    "organization.v1.OrganizationService/DeleteOrganization",
    "organization.v1.OrganizationService/ExportOrganization",
    "organization.v1.OrganizationService/TransferOwnership",
    "organization.v1.OrganizationService/UndeleteOrganization",
    "organization.v1.OrganizationService/UpdatePolicy",
];

/// Everything else.
const ALLOWED: &[&str] = &[
    "billing.v1.AccountService/GetAccountSettings",
    "billing.v1.AccountService/GetBalance",
    "billing.v1.AccountService/ListLedgerEntries",
    "billing.v1.AccountService/ListLots",
    "billing.v1.AccountService/VerifyLedger",
    "billing.v1.CatalogService/GetCatalogVersion",
    "billing.v1.CreditService/BatchCharge",
    "billing.v1.CreditService/Capture",
    "billing.v1.CreditService/Charge",
    "billing.v1.CreditService/Estimate",
    "billing.v1.CreditService/GetCharge",
    "billing.v1.CreditService/GetHold",
    "billing.v1.CreditService/Hold",
    "billing.v1.CreditService/ListHolds",
    "billing.v1.CreditService/Release",
    "billing.v1.InvoiceService/GetInvoice",
    "billing.v1.InvoiceService/ListInvoices",
    "billing.v1.InvoiceService/RenderInvoice",
    "billing.v1.LimitService/DeleteLimit",
    "billing.v1.LimitService/ListLimits",
    "billing.v1.LimitService/SetLimit",
    "billing.v1.PaymentService/GetPayment",
    "billing.v1.PaymentService/ListPaymentMethods",
    "billing.v1.PaymentService/ListPayments",
    "billing.v1.PurchaseService/GetPurchase",
    "billing.v1.PurchaseService/ListPurchases",
    "billing.v1.SubscriptionService/GetSubscription",
    "billing.v1.SubscriptionService/PreviewChange",
    "billing.v1.UsageService/ExportUsage",
    "billing.v1.UsageService/QueryUsage",
    "identity.v1.ContextService/ListContexts",
    "identity.v1.UserService/GetMe",
    "organization.v1.AuditService/ListAuditEvents",
    "organization.v1.InvitationService/CreateInvitation",
    "organization.v1.InvitationService/ListInvitations",
    "organization.v1.InvitationService/ResendInvitation",
    "organization.v1.InvitationService/RevokeInvitation",
    "organization.v1.LibraryService/CopyItem",
    "organization.v1.LibraryService/CreateItem",
    "organization.v1.LibraryService/DeleteItem",
    "organization.v1.LibraryService/DownloadContent",
    "organization.v1.LibraryService/GetItem",
    "organization.v1.LibraryService/ListItems",
    "organization.v1.LibraryService/ListKinds",
    "organization.v1.LibraryService/UpdateItem",
    "organization.v1.LibraryService/UploadContent",
    "organization.v1.MemberService/GetMember",
    "organization.v1.MemberService/ListMembers",
    "organization.v1.MemberService/RemoveMember",
    "organization.v1.MemberService/UpdateMemberRole",
    "organization.v1.OrganizationService/GetAvatar",
    "organization.v1.OrganizationService/GetOrganization",
    "organization.v1.OrganizationService/GetPolicy",
    "organization.v1.OrganizationService/ListOrganizations",
    "organization.v1.OrganizationService/SetAvatar",
    "organization.v1.OrganizationService/UpdateOrganization",
    "organization.v1.ProjectService/CreateProject",
    "organization.v1.ProjectService/DeleteProject",
    "organization.v1.ProjectService/GetProject",
    "organization.v1.ProjectService/ListProjects",
    "organization.v1.ProjectService/ReassignProject",
    "organization.v1.ProjectService/UpdateProject",
];

/// An RPC that is in neither list, or declares another value than its list says, fails: whoever adds one decides.
#[test]
fn every_rpc_for_users_says_what_an_operator_may_who_acts_for_one() {
    let decided =
        |names: &[&str], acting| names.iter().map(|name| (format!("/bursar.{name}"), acting)).collect::<Vec<_>>();
    let mut expected: BTreeMap<String, Acting> = decided(FORBIDDEN, Acting::Forbidden).into_iter().collect();
    for (path, acting) in decided(ALLOWED, Acting::Allowed) {
        assert_eq!(expected.insert(path.clone(), acting), None, "{path} is in both lists");
    }
    for (path, rule) in METHODS.iter().filter_map(|(path, rule)| Some((*path, rule.as_ref()?))) {
        if rule.admits(CallerKind::User) {
            let acting = expected.remove(path);
            let acting =
                acting.unwrap_or_else(|| panic!("{path}: may an operator do this who acts for a user? Decide here"));
            assert_eq!(rule.acting, acting, "{path} declares something else");
        } else {
            assert_eq!(rule.acting, Acting::Unspecified, "{path} admits no users");
        }
    }
    assert!(expected.is_empty(), "these are there no more: {:?}", expected.keys());
}
