//! The gRPC face of identity: parse the message, call the use case, answer. Who may call is declared in the
//! protos and enforced before a handler runs.

mod context;
mod convert;
mod key;
mod listing;
mod service_account;
mod session;
mod status;
mod user;

use bursar_proto::identity::v1::context_service_server::ContextServiceServer;
use bursar_proto::identity::v1::key_service_server::KeyServiceServer;
use bursar_proto::identity::v1::service_account_service_server::ServiceAccountServiceServer;
use bursar_proto::identity::v1::session_service_server::SessionServiceServer;
use bursar_proto::identity::v1::user_service_server::UserServiceServer;
use bursar_rpc::MAX_MESSAGE;
use tonic::service::Routes;

use crate::usecase::Identity;

/// The gRPC services that identity answers, besides its events.
pub(crate) const SERVICES: [&str; 5] = [
    "bursar.identity.v1.UserService",
    "bursar.identity.v1.SessionService",
    "bursar.identity.v1.ContextService",
    "bursar.identity.v1.ServiceAccountService",
    "bursar.identity.v1.KeyService",
];

/// The handlers over the use cases.
#[derive(Clone)]
struct Handlers(Identity);

macro_rules! limited {
    ($server:ident, $handlers:expr) => {
        $server::new($handlers).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    };
}

/// The bare routes of every service, without the stack.
pub(crate) fn routes(identity: &Identity) -> Routes {
    let handlers = Handlers(identity.clone());
    Routes::new(limited!(UserServiceServer, handlers.clone()))
        .add_service(limited!(SessionServiceServer, handlers.clone()))
        .add_service(limited!(ContextServiceServer, handlers.clone()))
        .add_service(limited!(ServiceAccountServiceServer, handlers.clone()))
        .add_service(limited!(KeyServiceServer, handlers))
}
