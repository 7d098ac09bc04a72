//! `AuditService`.

use bursar_db::audit::{AuditRow, Outcome};
use bursar_proto::organization::v1::audit_service_server::AuditService;
use bursar_proto::organization::v1::{AuditEvent, AuditOutcome, ListAuditEventsRequest, ListAuditEventsResponse};
use bursar_rpc::convert::{optional_timestamp, to_timestamp};
use bursar_rpc::{Call, PageKey, PageRequest, Problem, Violations};
use bursar_time::Timestamp;
use tonic::{Request, Response, Status};

use super::{Handlers, convert};
use crate::store::audit::Filter;
use crate::usecase::AuditWanted;

#[tonic::async_trait]
impl AuditService for Handlers {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let id = convert::organization_id(&message.organization_id)?;
        let wanted = wanted(&message, &self.0.parts().pages);
        let page = self.0.list_audit_events(&call, id, wanted).await?.messages(event);
        Ok(Response::new(ListAuditEventsResponse { events: page.rows, next_page_token: page.next_page_token }))
    }
}

fn wanted(message: &ListAuditEventsRequest, pages: &PageKey) -> Result<AuditWanted, Problem> {
    let mut violations = Violations::new();
    let from = violations.check("from", optional_timestamp(message.from)).flatten();
    let to = violations.check("to", optional_timestamp(message.to)).flatten();
    let ordered = from.zip(to).is_none_or(|(from, to)| from <= to);
    violations.require("to", ordered, "must not be before `from`");
    let actor = violations.check_optional("actor", &message.actor, str::parse).flatten();
    let method = violations.check_optional("method", &message.method, str::parse).flatten();
    let target = violations.check_optional("target", &message.target, str::parse).flatten();
    let outcome = violations.check("outcome", outcome(message.outcome)).flatten();
    violations.finish()?;
    let time = |time: Option<Timestamp>| time.map(|time| time.as_micros().to_string()).unwrap_or_default();
    let (since, until, word) = (time(from), time(to), message.outcome.to_string());
    let arguments = [&message.organization_id, &since, &until, &message.actor, &message.method, &message.target, &word];
    let list = pages.list("ListAuditEvents", arguments.map(String::as_str));
    let page = PageRequest::parse(message.page_size, &message.page_token, list)?;
    Ok(AuditWanted { filter: Filter { from, to, actor, method, target, outcome }, page })
}

/// The outcome by which the log is filtered; unspecified is both.
fn outcome(number: i32) -> Result<Option<Outcome>, &'static str> {
    match AuditOutcome::try_from(number) {
        Ok(AuditOutcome::Unspecified) => Ok(None),
        Ok(AuditOutcome::Done) => Ok(Some(Outcome::Done)),
        Ok(AuditOutcome::Refused) => Ok(Some(Outcome::Refused)),
        Err(_) => Err("must be an outcome of a call"),
    }
}

fn event(row: AuditRow) -> AuditEvent {
    let outcome = match row.outcome {
        Outcome::Done => AuditOutcome::Done,
        Outcome::Refused => AuditOutcome::Refused,
    };
    AuditEvent {
        id: row.id.to_string(),
        at: Some(to_timestamp(row.at)),
        actor: row.actor,
        on_behalf_of: row.on_behalf_of.unwrap_or_default(),
        method: row.method,
        target: row.target.unwrap_or_default(),
        outcome: outcome.into(),
        reason: row.reason.unwrap_or_default(),
        request_id: row.request_id.unwrap_or_default(),
    }
}
