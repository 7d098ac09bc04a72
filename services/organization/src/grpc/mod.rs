//! The gRPC face of organization: parse the message, call the use case, answer. Who may call is declared in
//! the protos and enforced before a handler runs; what a member may do is decided by the use cases.

mod audit;
mod avatar;
mod convert;
mod document;
mod export;
mod invitation;
mod library;
mod member;
mod operating;
mod organization;
mod policy;
mod project;
mod status;
mod transfer;

use bursar_proto::organization::v1::audit_service_server::AuditServiceServer;
use bursar_proto::organization::v1::invitation_service_server::InvitationServiceServer;
use bursar_proto::organization::v1::library_service_server::LibraryServiceServer;
use bursar_proto::organization::v1::member_service_server::MemberServiceServer;
use bursar_proto::organization::v1::organization_service_server::OrganizationServiceServer;
use bursar_proto::organization::v1::project_service_server::ProjectServiceServer;
use bursar_rpc::MAX_MESSAGE;
use tonic::service::Routes;

use crate::usecase::Organization;

/// The gRPC services that organization answers, besides its events.
pub(crate) const SERVICES: [&str; 6] = [
    "bursar.organization.v1.OrganizationService",
    "bursar.organization.v1.MemberService",
    "bursar.organization.v1.InvitationService",
    "bursar.organization.v1.ProjectService",
    "bursar.organization.v1.LibraryService",
    "bursar.organization.v1.AuditService",
];

/// The handlers over the use cases.
#[derive(Clone)]
struct Handlers(Organization);

macro_rules! limited {
    ($server:ident, $handlers:expr) => {
        $server::new($handlers).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    };
}

/// The bare routes of every service, without the stack.
pub(crate) fn routes(organization: &Organization) -> Routes {
    let handlers = Handlers(organization.clone());
    Routes::new(limited!(OrganizationServiceServer, handlers.clone()))
        .add_service(limited!(MemberServiceServer, handlers.clone()))
        .add_service(limited!(InvitationServiceServer, handlers.clone()))
        .add_service(limited!(ProjectServiceServer, handlers.clone()))
        .add_service(limited!(LibraryServiceServer, handlers.clone()))
        .add_service(limited!(AuditServiceServer, handlers))
}
