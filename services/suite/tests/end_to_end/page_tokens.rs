//! Page tokens: each belongs to the list that gave it, and to whom it was given; nobody makes one up. Tried on every RPC that
//! takes one, as the descriptors have them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_proto::access::{CallerKind, METHODS, rule};
use bursar_proto::identity::v1::ListContextsRequest;
use bursar_proto::organization::v1::CreateProjectRequest;
use bursar_testkit::{Refusal, refused};
use bytes::Bytes;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, Value};
use tonic::{Code, Request, Status};

use crate::fuzzing::{method_of, operator, transport};
use crate::support::given;
use crate::support::world::{Team, World};
use crate::trust::Raw;

/// Which field of a request says whose list is asked for.
#[derive(Clone, Copy)]
enum Whose {
    /// None does.
    Nobodys,
    /// This one names the team.
    Teams(&'static str),
    /// This one names the team's owner.
    Owners(&'static str),
}
use Whose::{Nobodys, Owners, Teams};

/// Every RPC that takes page tokens.
const LISTS: &[(&str, Whose)] = &[
    ("/bursar.identity.v1.ContextService/ListContexts", Nobodys),
    ("/bursar.identity.v1.ServiceAccountService/ListServiceAccounts", Nobodys),
    ("/bursar.identity.v1.SessionService/ListSessions", Nobodys),
    ("/bursar.identity.v1.UserService/ListUsers", Nobodys),
    ("/bursar.organization.v1.AuditService/ListAuditEvents", Teams("organization_id")),
    ("/bursar.organization.v1.InvitationService/ListInvitations", Teams("organization_id")),
    ("/bursar.organization.v1.LibraryService/ListItems", Teams("owner")),
    ("/bursar.organization.v1.LibraryService/ListKinds", Nobodys),
    ("/bursar.organization.v1.MemberService/ListMembers", Teams("organization_id")),
    ("/bursar.organization.v1.OrganizationService/FindOrganizations", Owners("owner_user_id")),
    ("/bursar.organization.v1.OrganizationService/ListOrganizations", Nobodys),
    ("/bursar.organization.v1.ProjectService/ListProjects", Teams("owner")),
    ("/bursar.billing.v1.AccountService/ListLedgerEntries", Teams("owner")),
    ("/bursar.billing.v1.AccountService/ListLots", Teams("owner")),
    ("/bursar.billing.v1.CatalogService/ListModels", Nobodys),
    ("/bursar.billing.v1.CatalogService/ListPacks", Nobodys),
    ("/bursar.billing.v1.CatalogService/ListPlans", Nobodys),
    ("/bursar.billing.v1.CreditService/ListHolds", Teams("owner")),
    ("/bursar.billing.v1.InvoiceService/ListInvoices", Teams("owner")),
    ("/bursar.billing.v1.LimitService/ListLimits", Teams("owner")),
    ("/bursar.billing.v1.PaymentService/ListPaymentMethods", Teams("owner")),
    ("/bursar.billing.v1.PaymentService/ListPayments", Teams("owner")),
    ("/bursar.billing.v1.PurchaseService/ListPurchases", Teams("owner")),
    ("/bursar.billing.v1.UsageService/QueryUsage", Teams("owner")),
];

/// Those that have two rows here at least, so that a page of one gives a token.
const GIVING: [&str; 7] =
    ["ListContexts", "ListAuditEvents", "ListKinds", "ListMembers", "ListProjects", "ListLedgerEntries", "ListLots"];

#[test]
fn every_rpc_that_takes_page_tokens_is_tried_with_them() {
    let mut taking = BTreeSet::new();
    // A test clock alone has no lists.
    for (path, _) in METHODS.iter().filter(|(path, _)| !path.starts_with("/bursar.testing.")) {
        let takes = method_of(path).input().get_field_by_name("page_token").is_some();
        assert!(takes || !path.contains("/List"), "{path} lists without pages");
        if takes {
            taking.insert(*path);
        }
    }
    let tried: BTreeSet<&str> = LISTS.iter().map(|(path, _)| *path).collect();
    assert_eq!(tried, taking, "each RPC that takes page tokens has a line in LISTS");
}

/// Who asks for lists, and whose they are.
struct Reader<'a> {
    world: &'a World,
    team: &'a Team,
    operator: String,
}

impl Reader<'_> {
    /// The token of the page after a page of one row, empty where there is none.
    async fn after(&self, path: &str, whose: Whose, page_token: &str) -> Result<String, Status> {
        let method = method_of(path);
        let mut asked = DynamicMessage::new(method.input());
        asked.set_field_by_name("page_size", Value::I32(1));
        asked.set_field_by_name("page_token", Value::String(page_token.to_owned()));
        match whose {
            Nobodys => {}
            Teams(field) => asked.set_field_by_name(field, Value::String(self.team.id.clone())),
            Owners(field) => asked.set_field_by_name(field, Value::String(self.team.owner.user.clone())),
        }
        // What there is of a span is asked for from the beginning of time.
        if let Some(Kind::Message(time)) = method.input().get_field_by_name("from").map(|from| from.kind()) {
            asked.set_field_by_name("from", Value::Message(DynamicMessage::new(time)));
        }
        let mut client = tonic::client::Grpc::new(transport(self.world.anybody(), path));
        client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let mut request = Request::new(Bytes::from(asked.encode_to_vec()));
        let bearer = format!("Bearer {}", self.token(path));
        request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
        let answer = client.unary(request, path.parse().expect("a path"), Raw).await?.into_inner();
        let answer = DynamicMessage::decode(method.output(), answer).expect("an answer");
        let next = answer.get_field_by_name("next_page_token").expect("a token");
        Ok(next.as_str().expect("a text").to_owned())
    }

    /// The owner's token, or that of an operator for what is no user's.
    fn token(&self, path: &str) -> &str {
        let rule = rule(path).expect("a rule");
        let admitted = [CallerKind::User, CallerKind::Public].into_iter().any(|kind| rule.admits(kind));
        if admitted { &self.team.owner.tokens.access_token } else { &self.operator }
    }
}

/// Tokens that no list gave, made of one that a list gave.
fn crafted(token: &str) -> [String; 4] {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
    let inner = URL_SAFE_NO_PAD.encode([[7; 16].as_slice(), br#""made up""#].concat());
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    [URL_SAFE_NO_PAD.encode(bytes), inner, token[..token.len() - 4].to_owned(), "A".repeat(3_000)]
}

pub(crate) async fn page_tokens_belong_to_the_list_that_gave_them(world: World) {
    let team = world.team().with_members(1).with_credits("10").assemble().await;
    world.grant(&team.id, "1").await;
    team.charge(&team.owner, "1").await;
    for name in ["One", "Two"] {
        let project =
            CreateProjectRequest { owner: team.id.clone(), name: name.to_owned(), ..CreateProjectRequest::default() };
        given(team.owner.client().projects().create_project(project).await);
    }
    let reader = Reader { world: &world, team: &team, operator: operator(&world).await };
    let mut tokens = Vec::new();
    for (path, whose) in LISTS {
        let next = reader.after(path, *whose, "").await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        let gives = GIVING.iter().any(|rpc| path.ends_with(&format!("/{rpc}")));
        assert!(!gives || !next.is_empty(), "{path} has no second page");
        tokens.push(next);
    }
    let contexts = tokens[0].clone();
    for ((path, whose), own) in LISTS.iter().zip(&tokens) {
        if !own.is_empty() {
            reader.after(path, *whose, own).await.unwrap_or_else(|status| panic!("{path} does not go on: {status:?}"));
        }
        let others = tokens.iter().filter(|other| !other.is_empty() && *other != own).cloned();
        let made_up = crafted(if own.is_empty() { &contexts } else { own });
        for token in others.chain(made_up) {
            let outcome = reader.after(path, *whose, &token).await;
            let refusal = Refusal::of(&outcome.expect_err("no token of this list"));
            let told = (refusal.code, refusal.reason.as_str());
            assert_eq!(told, (Code::InvalidArgument, "PAGE_TOKEN_INVALID"), "{path}: {token}");
        }
    }
    // The same list of somebody else's is another one.
    let bens = ListContextsRequest { page_size: 1, page_token: contexts };
    let refusal = team.members[0].client().contexts().list_contexts(bens).await;
    refused(refusal, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}
