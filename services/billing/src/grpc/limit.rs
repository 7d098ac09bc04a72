//! `LimitService`.

use std::mem::take;

use bursar_id::{LimitId, OwnerId};
use bursar_money::Credits;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::limit_service_server::LimitService;
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Answer, Asked, Call, Caller, PageKey, PageRequest, Problem, Stored, Violations};
use tonic::{Request, Response, Status};

use super::parse;
use crate::domain::{LimitMode, LimitSubject, LimitWindow, ModelName, Percents, ProjectName, Subject, Total};
use crate::usecase::limits::{LimitUseCases, SetCommand, Shown};

/// Answers with the use cases.
pub(crate) struct LimitHandler(pub(crate) LimitUseCases, pub(crate) PageKey);

#[tonic::async_trait]
impl LimitService for LimitHandler {
    async fn set_limit(&self, request: Request<pb::SetLimitRequest>) -> Result<Response<pb::SetLimitResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, command);
        let set = match self.0.set(owner, &asked).await? {
            Answer::New(set) => limit(&set),
            before @ Answer::Replay(_) => {
                // A repetition names it again: it would not be one if it named something else.
                let subject = Some(named(&asked.command()?.subject));
                let kept = pb::Limit { subject, ..before.message()? };
                self.as_is(asked.caller(), owner, kept).await?
            }
        };
        Ok(Response::new(pb::SetLimitResponse { limit: Some(set) }))
    }

    async fn list_limits(
        &self,
        request: Request<pb::ListLimitsRequest>,
    ) -> Result<Response<pb::ListLimitsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let owner = parse::owner_for(&caller, &asked.owner)?;
        let viewer = self.0.viewer(&caller, owner).await?;
        let list = self.1.list("ListLimits", [owner.to_string().as_str()]);
        let page = PageRequest::parse(asked.page_size, &asked.page_token, list)?;
        let page = self.0.list(owner, viewer, &page).await?.messages(|it| limit(&it));
        Ok(Response::new(pb::ListLimitsResponse { limits: page.rows, next_page_token: page.next_page_token }))
    }

    async fn delete_limit(
        &self,
        request: Request<pb::DeleteLimitRequest>,
    ) -> Result<Response<pb::DeleteLimitResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner: OwnerId = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let read = |message: &pb::DeleteLimitRequest, bad: &mut Violations| {
            bad.check("limit_id", message.limit_id.parse::<LimitId>())
        };
        let asked = Asked::read(call, &request_id, &message, read);
        self.0.delete(owner, &asked).await?;
        Ok(Response::new(pb::DeleteLimitResponse {}))
    }
}

impl LimitHandler {
    /// What a repetition is told: of the limit that was set, and of its use as that is now, as far as the caller may see it now.
    async fn as_is(&self, caller: &Caller, owner: OwnerId, kept: pb::Limit) -> Result<pb::Limit, Status> {
        let id = kept.id.parse::<LimitId>().map_err(|_| Problem::internal(&"a stored answer names no limit"))?;
        let now = self.0.as_is(caller, owner, id).await?;
        // Earlier programs have kept what was used.
        let kept = pb::Limit { used: String::new(), ..kept };
        let Some(now) = now.as_ref().map(limit) else { return Ok(kept) };
        Ok(pb::Limit { used: now.used, resets_at: now.resets_at, ..kept })
    }
}

/// What to set, with every bad field at once.
fn command(message: &pb::SetLimitRequest, bad: &mut Violations) -> Option<SetCommand> {
    let subject = subject(message.subject.as_ref(), bad);
    let window = match message.window() {
        pb::LimitWindow::Unspecified => None,
        pb::LimitWindow::Hour => Some(LimitWindow::Hour),
        pb::LimitWindow::Day => Some(LimitWindow::Day),
        pb::LimitWindow::Month => Some(LimitWindow::Month),
        pb::LimitWindow::Period => Some(LimitWindow::Period),
    };
    bad.require("window", window.is_some(), "must be HOUR, DAY, MONTH or PERIOD");
    let mode = match message.mode() {
        pb::LimitMode::Unspecified => None,
        pb::LimitMode::Hard => Some(LimitMode::Hard),
        pb::LimitMode::Warn => Some(LimitMode::Warn),
    };
    bad.require("mode", mode.is_some(), "must be HARD or WARN");
    let amount = bad.check("amount", message.amount.parse::<Credits>());
    let alerts = bad.check("alert_percents", Percents::parse(&message.alert_percents));
    let nothing = amount.is_some_and(Credits::is_zero);
    let of_nothing = nothing && !message.alert_percents.is_empty();
    bad.require("alert_percents", !of_nothing, "must be empty for an amount of zero, which has no percentages");
    // No use reaches a percentage of nothing for the first time: it would never tell anybody.
    let warns_of_nothing = nothing && mode == Some(LimitMode::Warn);
    bad.require("amount", !warns_of_nothing, "must be above zero for WARN; with HARD, zero forbids");
    let (mode, alerts) = (mode?, alerts?);
    let unsaid = alerts.as_slice().is_empty() && mode == LimitMode::Warn;
    let alerts = if unsaid { Percents::whole() } else { alerts };
    Some(SetCommand { subject: subject?, window: window?, mode, amount: amount?, alerts })
}

fn subject(message: Option<&pb::LimitSubject>, bad: &mut Violations) -> Option<LimitSubject> {
    use pb::limit_subject::Subject as Named;
    let one = match message.and_then(|it| it.subject.as_ref()) {
        Some(Named::EveryMember(true)) => return Some(LimitSubject::EveryMember),
        Some(Named::EveryMember(false)) => {
            bad.add("subject.every_member", "must be true where it is given");
            return None;
        }
        None => {
            bad.add("subject", "must be every_member, member, project, model or api_key");
            return None;
        }
        Some(Named::Member(text)) => Subject::Member(bad.check("subject.member", text.parse())?),
        Some(Named::Project(text)) => Subject::Project(bad.check("subject.project", ProjectName::given(text))?),
        Some(Named::Model(text)) => Subject::Model(bad.check("subject.model", ModelName::given(text))?),
        Some(Named::ApiKey(text)) => Subject::Key(bad.check("subject.api_key", text.parse())?),
    };
    Some(LimitSubject::One(one))
}

/// What it is about may be anybody's words, which end with the limit: they stand in the request. How much is used is for the
/// policy to say whenever it is told: a repetition is told it as it may be then.
impl Stored for Shown {
    type Message = pb::Limit;

    fn to_message(&self) -> pb::Limit {
        pb::Limit { subject: None, used: String::new(), ..limit(self) }
    }
}

fn named(subject: &LimitSubject) -> pb::LimitSubject {
    use pb::limit_subject::Subject as Named;
    let subject = match subject {
        LimitSubject::EveryMember => Named::EveryMember(true),
        LimitSubject::One(Subject::Member(user)) => Named::Member(user.to_string()),
        LimitSubject::One(Subject::Project(name)) => Named::Project(name.to_string()),
        LimitSubject::One(Subject::Model(name)) => Named::Model(name.to_string()),
        LimitSubject::One(Subject::Key(key)) => Named::ApiKey(key.to_string()),
    };
    pb::LimitSubject { subject: Some(subject) }
}

/// A limit as it is answered.
fn limit(shown: &Shown) -> pb::Limit {
    let limit = &shown.limit;
    let window = match limit.window {
        LimitWindow::Hour => pb::LimitWindow::Hour,
        LimitWindow::Day => pb::LimitWindow::Day,
        LimitWindow::Month => pb::LimitWindow::Month,
        LimitWindow::Period => pb::LimitWindow::Period,
    };
    let mode = match limit.mode {
        LimitMode::Hard => pb::LimitMode::Hard,
        LimitMode::Warn => pb::LimitMode::Warn,
    };
    pb::Limit {
        id: limit.id.to_string(),
        owner: shown.owner.to_string(),
        subject: Some(named(&limit.subject)),
        window: window.into(),
        amount: limit.amount.to_string(),
        mode: mode.into(),
        alert_percents: limit.alerts.as_slice().iter().copied().map(u32::from).collect(),
        used: shown.used.map(|used| Total(used).to_string()).unwrap_or_default(),
        resets_at: Some(to_timestamp(shown.resets_at)),
    }
}
