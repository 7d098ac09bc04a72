//! `ContextService`.

use bursar_proto::identity::v1::context_service_server::ContextService;
use bursar_proto::identity::v1::{
    ListContextsRequest, ListContextsResponse, SwitchContextRequest, SwitchContextResponse,
};
use bursar_rpc::{Asked, Call, Caller, PageRequest, Violations};
use tonic::{Request, Response, Status};

use super::{Handlers, convert};

#[tonic::async_trait]
impl ContextService for Handlers {
    async fn list_contexts(
        &self,
        request: Request<ListContextsRequest>,
    ) -> Result<Response<ListContextsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let user = caller.user()?;
        let message = request.into_inner();
        let list = self.0.parts().pages.list("ListContexts", [user.user.to_string().as_str()]);
        let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
        let page = self.0.list_contexts(user, &page).await?.messages(convert::context);
        Ok(Response::new(ListContextsResponse { contexts: page.rows, next_page_token: page.next_page_token }))
    }

    async fn switch_context(
        &self,
        request: Request<SwitchContextRequest>,
    ) -> Result<Response<SwitchContextResponse>, Status> {
        let call = Call::of(&request)?;
        let owner = |message: &SwitchContextRequest, violations: &mut Violations| {
            violations.check("owner", message.owner.parse())
        };
        let asked = Asked::read(call, "", &request.into_inner(), owner);
        let tokens = self.0.switch_context(&asked).await?;
        Ok(Response::new(SwitchContextResponse { tokens: Some(convert::tokens(tokens)) }))
    }
}
