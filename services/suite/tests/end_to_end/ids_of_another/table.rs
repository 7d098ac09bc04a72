//! What every RPC names: its line, or the reason why it has none. A new RPC, and a new text in a request, has to be added here.
//!
//! A line gives each field that names something with what sort of thing it is (`owner:account`; see [`Given`] for the other
//! signs), first the one that all others hang on; what else a call has to say to be understood (`amount=1`); and which texts name
//! nothing in this RPC (`-slug`). The lines of a service stand in an order in which an owner can call them one after another:
//! first what looks, then what changes, then what ends.
//!
//! [`Given`]: super::entry::Given

/// The RPCs that name something.
pub(crate) const NAMING: &[(&str, &str)] = &[
    // identity
    ("identity.v1.UserService/FindUser", "user_id:user -email"),
    ("identity.v1.UserService/BatchGetUsers", "user_ids:user"),
    ("identity.v1.UserService/GetPreferences", "user_id:user"),
    ("identity.v1.UserService/IssueUserToken", "user_id:user owner:account reason=x"),
    ("identity.v1.ContextService/SwitchContext", "owner:account"),
    ("identity.v1.UserService/SuspendUser", "user_id:user"),
    ("identity.v1.UserService/UnsuspendUser", "user_id:user"),
    ("identity.v1.ServiceAccountService/RotateServiceAccountSecret", "service_account_id:service"),
    ("identity.v1.ServiceAccountService/DisableServiceAccount", "service_account_id:service"),
    ("identity.v1.SessionService/RevokeSession", "session_id:session"),
    // organization
    ("organization.v1.OrganizationService/GetOrganization", "organization_id:organization slug/slug"),
    ("organization.v1.OrganizationService/GetAvatar", "organization_id:organization"),
    ("organization.v1.OrganizationService/GetPolicy", "organization_id:organization"),
    ("organization.v1.OrganizationService/ExportOrganization", "organization_id:organization"),
    (
        "organization.v1.OrganizationService/FindOrganizations",
        "organization_id:organization slug/slug owner_user_id/user -name_prefix",
    ),
    ("organization.v1.AuditService/ListAuditEvents", "organization_id:organization actor~user -method -target"),
    ("organization.v1.MemberService/ListMembers", "organization_id:organization"),
    ("organization.v1.MemberService/GetMember", "organization_id:organization user_id:user"),
    ("organization.v1.MemberService/CheckAccess", "organization_id:organization user_id+user"),
    ("organization.v1.MemberService/GetPreferences", "organization_id:organization user_id!user"),
    ("organization.v1.MemberService/ConfirmDeparture", "user_id:user incarnation=1 number=1"),
    ("organization.v1.InvitationService/ListInvitations", "organization_id:organization"),
    ("organization.v1.ProjectService/GetProject", "project_id:project"),
    ("organization.v1.ProjectService/ListProjects", "owner:account"),
    ("organization.v1.LibraryService/GetItem", "item_id:item"),
    ("organization.v1.LibraryService/ListItems", "owner:account parent~item project~project"),
    ("organization.v1.LibraryService/DownloadContent", "item_id:item"),
    ("organization.v1.LibraryService/RevealSecrets", "item_id:item"),
    ("organization.v1.LibraryService/CreateItem", "owner:account kind=brand_asset name=Mine parent?item member!user"),
    ("organization.v1.LibraryService/UpdateItem", "item_id:item name=Mine member!user"),
    (
        "organization.v1.LibraryService/CopyItem",
        "item_id:item to_owner:account to_parent?item child_ids?item member!user",
    ),
    (
        "organization.v1.LibraryService/UploadContent",
        "item_id:item member!user size=1 chunk=x sha256=2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    ),
    ("organization.v1.ProjectService/CreateProject", "owner:account name=Mine template_item?template"),
    ("organization.v1.ProjectService/UpdateProject", "project_id:project name=Mine"),
    ("organization.v1.ProjectService/ReassignProject", "project_id:project user_id:user"),
    ("organization.v1.MemberService/UpdatePreferences", "organization_id:organization preferences="),
    ("organization.v1.MemberService/UpdateMemberRole", "organization_id:organization user_id:user role=3"),
    (
        "organization.v1.InvitationService/CreateInvitation",
        "organization_id:organization email=somebody@example.com role=3",
    ),
    ("organization.v1.InvitationService/ResendInvitation", "invitation_id:invitation"),
    ("organization.v1.OrganizationService/UpdateOrganization", "organization_id:organization name=Mine -slug"),
    ("organization.v1.OrganizationService/SetAvatar", "organization_id:organization content=x"),
    ("organization.v1.OrganizationService/UpdatePolicy", "organization_id:organization policy.admin_billing=1"),
    ("organization.v1.OrganizationService/AcceptOwnership", "organization_id:organization"),
    ("organization.v1.OrganizationService/DeclineOwnership", "organization_id:organization"),
    ("organization.v1.OrganizationService/UndeleteOrganization", "organization_id:organization"),
    ("organization.v1.InvitationService/RevokeInvitation", "invitation_id:invitation"),
    ("organization.v1.LibraryService/DeleteItem", "item_id:item member!user"),
    ("organization.v1.ProjectService/DeleteProject", "project_id:project"),
    ("organization.v1.MemberService/RemoveMember", "organization_id:organization user_id:user"),
    ("organization.v1.OrganizationService/TransferOwnership", "organization_id:organization user_id:user"),
    ("organization.v1.MemberService/LeaveOrganization", "organization_id:organization"),
    ("organization.v1.OrganizationService/SuspendOrganization", "organization_id:organization"),
    ("organization.v1.OrganizationService/UnsuspendOrganization", "organization_id:organization"),
    ("organization.v1.OrganizationService/DeleteOrganization", "organization_id:organization confirm_slug:slug"),
    // billing; a project is a name here that charges give, whoever's it is
    ("billing.v1.AccountService/GetBalance", "owner:account project~project"),
    ("billing.v1.AccountService/ListLots", "owner:account"),
    ("billing.v1.AccountService/ListLedgerEntries", "owner:account member~user project~project"),
    ("billing.v1.AccountService/VerifyLedger", "owner:account"),
    ("billing.v1.AccountService/GetAccountSettings", "owner:account"),
    ("billing.v1.CreditService/GetCharge", "owner:account charge_id:charge"),
    ("billing.v1.CreditService/GetHold", "owner:account hold_id:hold"),
    ("billing.v1.CreditService/ListHolds", "owner:account member~user"),
    ("billing.v1.InvoiceService/ListInvoices", "owner:account"),
    ("billing.v1.InvoiceService/GetInvoice", "owner:account invoice_id:invoice"),
    ("billing.v1.InvoiceService/RenderInvoice", "owner:account invoice_id:invoice format=1"),
    ("billing.v1.LimitService/ListLimits", "owner:account"),
    ("billing.v1.PaymentService/ListPaymentMethods", "owner:account"),
    ("billing.v1.PaymentService/GetPayment", "owner:account payment_id:payment"),
    ("billing.v1.PaymentService/ListPayments", "owner:account"),
    ("billing.v1.PurchaseService/GetPurchase", "owner:account purchase_id:purchase"),
    ("billing.v1.PurchaseService/ListPurchases", "owner:account"),
    ("billing.v1.SubscriptionService/GetSubscription", "owner:account"),
    ("billing.v1.UsageService/QueryUsage", "owner:account from= member~user project~project"),
    ("billing.v1.UsageService/ExportUsage", "owner:account from= member~user project~project"),
    ("billing.v1.CreditService/Charge", "owner:account amount=1 member!user -project"),
    (
        "billing.v1.CreditService/BatchCharge",
        "charges.owner:account charges.amount=1 charges.member!user -charges.project",
    ),
    ("billing.v1.CreditService/Hold", "owner:account amount=1 member!user -project"),
    ("billing.v1.CreditService/Capture", "owner:account hold_id:hold"),
    ("billing.v1.CreditService/Release", "owner:account hold_id:hold"),
    ("billing.v1.CreditService/Refund", "owner:account charge_id:charge"),
    ("billing.v1.CreditService/GrantCredits", "owner:account amount=1 source=3"),
    (
        "billing.v1.LimitService/SetLimit",
        "owner:account subject.member:user window=2 amount=9 mode=1 subject.project?project -subject.api_key",
    ),
    ("billing.v1.LimitService/DeleteLimit", "owner:account limit_id:limit"),
    // A payment method is looked up when a top-up is switched on with it.
    (
        "billing.v1.AccountService/UpdateAccountSettings",
        "owner:account settings.time_zone=Europe/Berlin settings.auto_top_up.enabled=true \
         settings.auto_top_up.threshold=1 settings.auto_top_up.pack_id=starter \
         settings.auto_top_up.monthly_ceiling.currency_code=USD settings.auto_top_up.monthly_ceiling.units=1000 \
         settings.auto_top_up.payment_method?method",
    ),
    ("billing.v1.PaymentService/BeginSetup", "owner:account return_url=https://example.com"),
    ("billing.v1.PaymentService/SetDefaultPaymentMethod", "owner:account payment_method_id:method"),
    ("billing.v1.PurchaseService/PurchasePack", "owner:account pack_id=starter payment_method:method"),
    ("billing.v1.SubscriptionService/Subscribe", "owner:account plan_id=business payment_method:method"),
    // Without a subscription everybody has what the free plan has.
    ("billing.v1.SubscriptionService/GetEntitlements", "owner:account"),
    ("billing.v1.SubscriptionService/PreviewChange", "owner:account plan_id=business seats=20"),
    ("billing.v1.SubscriptionService/ChangePlan", "owner:account plan_id=business seats=20"),
    ("billing.v1.SubscriptionService/SetSeats", "owner:account seats=30"),
    // Cheaper than what there is: it waits for the next period, and nothing is paid.
    (
        "billing.v1.SubscriptionService/SetContract",
        "owner:account plan_id=enterprise credits=1 seats=3 price.currency_code=USD price.units=1 payment_method:method",
    ),
    ("billing.v1.SubscriptionService/Cancel", "owner:account at=1"),
    ("billing.v1.SubscriptionService/Resume", "owner:account"),
    ("billing.v1.SubscriptionService/MoveSubscription", "from_owner:account to_owner:account called_off_for/account"),
    ("billing.v1.PaymentService/RefundPayment", "owner:account payment_id:payment"),
    ("billing.v1.CreditService/VoidLot", "owner:account lot_id:lot"),
    ("billing.v1.PaymentService/RemovePaymentMethod", "owner:account payment_method_id:method"),
    // What the account has of anybody at all is erased, who may have left long ago.
    ("billing.v1.AccountService/EraseDetails", "owner:account -member"),
];

/// The caller's own account, and what a caller proves by knowing it.
const OWN: &str = "about the caller alone";
const SECRET: &str = "whoever has the secret that was mailed or given is meant by it";
const PUBLIC: &str = "about the deployment, the same for everybody";
const OPERATORS: &str = "about the deployment, for operators";
const TOOLS: &str = "plays a clock or a provider for anybody, and is served in development alone";

/// The RPCs that name nothing of anybody's: which texts of their requests are no words of [`WORDS`], and why they name nothing all
/// the same. A new text has to be added here, too.
pub(crate) const NAMELESS: &[(&str, &str, &str)] = &[
    ("billing.v1.CatalogService/GetCatalogVersion", "", PUBLIC),
    ("billing.v1.CatalogService/ListModels", "", PUBLIC),
    ("billing.v1.CatalogService/ListPacks", "", PUBLIC),
    ("billing.v1.CatalogService/ListPlans", "", PUBLIC),
    ("billing.v1.CatalogService/ReloadCatalog", "", OPERATORS),
    ("billing.v1.CreditService/Estimate", "", PUBLIC),
    ("event.v1.EventService/Snapshot", "types", "tells services everything of some types"),
    ("event.v1.EventService/Watch", "cursor types", "tells services everything of some types"),
    ("identity.v1.ContextService/ListContexts", "", OWN),
    ("identity.v1.KeyService/GetJwks", "", PUBLIC),
    ("identity.v1.ServiceAccountService/CreateServiceAccount", "role", OPERATORS),
    ("identity.v1.ServiceAccountService/IssueServiceToken", "client_id client_secret", SECRET),
    ("identity.v1.ServiceAccountService/ListServiceAccounts", "", OPERATORS),
    ("identity.v1.SessionService/ListSessions", "", OWN),
    ("identity.v1.SessionService/Refresh", "refresh_token", SECRET),
    ("identity.v1.SessionService/SignIn", "password totp_code recovery_code", SECRET),
    ("identity.v1.SessionService/SignOut", "", OWN),
    ("identity.v1.UserService/DeleteMe", "", OWN),
    ("identity.v1.UserService/GetMe", "", OWN),
    (
        "identity.v1.UserService/ListUsers",
        "email_prefix",
        "lists everybody, for operators alone; an address may begin as nobody's does",
    ),
    (
        "identity.v1.UserService/RequestEmailVerification",
        "",
        "what is told goes to the address, and the answer is always the same",
    ),
    (
        "identity.v1.UserService/SignUp",
        "password",
        "what is told goes to the address, and the answer is always the same",
    ),
    ("identity.v1.UserService/UpdateMe", "", OWN),
    ("identity.v1.UserService/VerifyEmail", "token", SECRET),
    ("organization.v1.InvitationService/AcceptInvitation", "token", SECRET),
    ("organization.v1.InvitationService/DeclineInvitation", "token", SECRET),
    ("organization.v1.InvitationService/PreviewInvitation", "token", SECRET),
    ("organization.v1.LibraryService/ListKinds", "", PUBLIC),
    ("organization.v1.OrganizationService/CreateOrganization", "slug", "a slug that is taken is so for everybody"),
    ("organization.v1.OrganizationService/ListOrganizations", "", OWN),
    ("testing.v1.ClockService/Advance", "", TOOLS),
    ("testing.v1.ClockService/Get", "", TOOLS),
    ("testing.v1.ClockService/Set", "", TOOLS),
    ("testing.v1.SandboxService/SaveMethod", "owner payment_method", TOOLS),
    ("testing.v1.SandboxService/Settle", "payment_id", TOOLS),
];

/// Texts that name nothing wherever they stand: names and words, numbers, what the catalog and the kinds file name, and what
/// belongs to the call.
pub(crate) const WORDS: &[&str] = &[
    "address_lines",
    "amount",
    "country",
    "description",
    "display_name",
    "email",
    "etag",
    "if_none_match",
    "invoice_mail",
    "kind",
    "labels",
    "media_type",
    "meter",
    "model",
    "models",
    "name",
    "note",
    "order_number",
    "pack_id",
    "page_token",
    "plan_id",
    "plural",
    // Of a grant's scope: by the name that charges give it.
    "projects",
    "quantity",
    "reason",
    "request_id",
    "return_url",
    "sha256",
    "singular",
    // Why a top-up is off; output only.
    "stopped_by",
    "tax_id",
    "time_zone",
];
