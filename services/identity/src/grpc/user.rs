//! `UserService`.

use std::mem::take;

use bursar_email::Email;
use bursar_id::{OwnerId, UserId};
use bursar_proto::identity::v1::find_user_request::By;
use bursar_proto::identity::v1::user_service_server::UserService;
use bursar_proto::identity::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, DeleteMeRequest, DeleteMeResponse, FindUserRequest, FindUserResponse,
    GetMeRequest, GetMeResponse, GetPreferencesRequest, GetPreferencesResponse, IssueUserTokenRequest,
    IssueUserTokenResponse, ListUsersRequest, ListUsersResponse, RequestEmailVerificationRequest,
    RequestEmailVerificationResponse, SignUpRequest, SignUpResponse, SuspendUserRequest, SuspendUserResponse,
    Suspension, UnsuspendUserRequest, UnsuspendUserResponse, UpdateMeRequest, UpdateMeResponse, User,
    VerifyEmailRequest, VerifyEmailResponse,
};
use bursar_rpc::convert::{UpdateMask, field};
use bursar_rpc::document::{document, to_struct};
use bursar_rpc::{Answer, Asked, Call, Caller, Origin, Problem, Violations};
use bursar_secret::Secret;
use tonic::{Request, Response, Status};

use super::{Handlers, convert, listing};
use crate::Error;
use crate::domain::display_name::DisplayName;
use crate::domain::password;
use crate::usecase::{ActFor, Found, MeChange, SignUp, Suspend, VerifyAgain, Wanted};

/// Users that one call may ask for.
const MAX_BATCH: usize = 1_000;
/// Characters of what an operator says about a suspension.
const MAX_REASON: usize = 500;

#[tonic::async_trait]
impl UserService for Handlers {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let (call, origin) = (Call::of(&request)?, Origin::of(&request));
        let read = |message: &_, violations: &mut _| sign_up(message, violations, origin);
        let asked = Asked::read(call, "", &request.into_inner(), read);
        self.0.sign_up(&asked).await?;
        Ok(Response::new(SignUpResponse {}))
    }

    async fn get_me(&self, request: Request<GetMeRequest>) -> Result<Response<GetMeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let user = self.0.get_me(caller.user()?).await?;
        Ok(Response::new(GetMeResponse { user: Some(convert::me(user)) }))
    }

    async fn update_me(&self, request: Request<UpdateMeRequest>) -> Result<Response<UpdateMeResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |message, violations| Some(change(message, violations)));
        let updated = self.0.update_me(&asked).await?;
        // What is kept has no address; the caller's token has.
        let user = User { email: asked.user()?.email.to_string(), ..updated.message()? };
        Ok(Response::new(UpdateMeResponse { user: Some(user) }))
    }

    async fn request_email_verification(
        &self,
        request: Request<RequestEmailVerificationRequest>,
    ) -> Result<Response<RequestEmailVerificationResponse>, Status> {
        let (call, origin) = (Call::of(&request)?, Origin::of(&request));
        let again = |message: &RequestEmailVerificationRequest, violations: &mut _| {
            convert::email(violations, &message.email).map(|email| VerifyAgain { email, origin })
        };
        let asked = Asked::read(call, "", &request.into_inner(), again);
        self.0.request_email_verification(&asked).await?;
        Ok(Response::new(RequestEmailVerificationResponse {}))
    }

    async fn verify_email(
        &self,
        request: Request<VerifyEmailRequest>,
    ) -> Result<Response<VerifyEmailResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let token = Secret::from(message.token.clone());
        let asked = Asked::by_token(call, token.expose(), &message, token.clone());
        self.0.verify_email(&asked).await?;
        Ok(Response::new(VerifyEmailResponse {}))
    }

    async fn delete_me(&self, request: Request<DeleteMeRequest>) -> Result<Response<DeleteMeResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        self.0.delete_me(&asked).await?;
        Ok(Response::new(DeleteMeResponse {}))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let ids = user_ids(&request.into_inner())?;
        let users = self.0.batch_get_users(&ids).await?;
        Ok(Response::new(BatchGetUsersResponse { users: users.into_iter().map(convert::user).collect() }))
    }

    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let user = field("user_id", &request.into_inner().user_id)?;
        let preferences = self.0.get_preferences(user).await?;
        Ok(Response::new(GetPreferencesResponse { preferences: Some(to_struct(preferences)) }))
    }

    async fn find_user(&self, request: Request<FindUserRequest>) -> Result<Response<FindUserResponse>, Status> {
        let found = self.0.find_user(&wanted(request.into_inner())?).await?;
        Ok(Response::new(convert::found(found)))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        let wanted = listing::wanted(&request.into_inner(), &self.0.parts().pages)?;
        let page = self.0.list_users(wanted).await?.messages(convert::listed);
        Ok(Response::new(ListUsersResponse { users: page.rows, next_page_token: page.next_page_token }))
    }

    async fn suspend_user(
        &self,
        request: Request<SuspendUserRequest>,
    ) -> Result<Response<SuspendUserResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, suspend);
        let answer = self.0.suspend_user(&asked).await?;
        let FindUserResponse { user, suspension } = self.suspended(answer).await?;
        Ok(Response::new(SuspendUserResponse { user, suspension }))
    }

    async fn unsuspend_user(
        &self,
        request: Request<UnsuspendUserRequest>,
    ) -> Result<Response<UnsuspendUserResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let id = |message: &UnsuspendUserRequest, violations: &mut Violations| {
            violations.check("user_id", message.user_id.parse::<UserId>())
        };
        let asked = Asked::read(call, &request_id, &message, id);
        let answer = self.0.unsuspend_user(&asked).await?;
        let user = self.suspended(answer).await?.user;
        Ok(Response::new(UnsuspendUserResponse { user }))
    }

    async fn issue_user_token(
        &self,
        request: Request<IssueUserTokenRequest>,
    ) -> Result<Response<IssueUserTokenResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, act_for);
        let issued = self.0.issue_user_token(&asked).await?;
        let kept = issued.message()?;
        let access_token = issued.made().map(|made| made.access_token.expose().clone()).unwrap_or_default();
        Ok(Response::new(IssueUserTokenResponse { access_token, ..kept }))
    }
}

impl Handlers {
    /// What a suspension is answered with, or taking one back. A repetition is told of the same suspension, and of the user
    /// whatever there still is.
    async fn suspended(&self, answer: Answer<Found>) -> Result<FindUserResponse, Status> {
        let kept = match answer {
            Answer::New(found) => return Ok(convert::found(found)),
            before @ Answer::Replay(_) => before.message()?,
        };
        let id = kept.user.as_ref().map(|user| user.id.parse::<UserId>());
        let Some(Ok(id)) = id else { return Err(Problem::internal(&"a stored answer names no user").into()) };
        let now = match self.0.find_user(&Wanted::Id(id)).await {
            Ok(found) => convert::found(found),
            Err(Error::UserNotFound) => return Ok(kept),
            Err(error) => return Err(error.into()),
        };
        let reason = |it: &Suspension| it.reason.clone();
        let same = |it: &&Suspension| kept.suspension.as_ref().is_some_and(|kept| kept.since == it.since);
        let reason = now.suspension.as_ref().filter(same).map(reason).unwrap_or_default();
        let suspension = kept.suspension.map(|kept| Suspension { reason, ..kept });
        Ok(FindUserResponse { user: now.user, suspension })
    }
}

fn wanted(message: FindUserRequest) -> Result<Wanted, Problem> {
    let mut violations = Violations::new();
    let wanted = match message.by {
        Some(By::UserId(id)) => violations.check("user_id", id.parse()).map(Wanted::Id),
        Some(By::Email(email)) => violations.check("email", Email::parse(&email)).map(Wanted::Email),
        None => {
            violations.require("user_id", false, "name a user by user_id or email");
            None
        }
    };
    wanted.ok_or_else(|| violations.into_problem())
}

fn suspend(message: &SuspendUserRequest, violations: &mut Violations) -> Option<Suspend> {
    let user = violations.check("user_id", message.user_id.parse());
    let reason = violations.check("reason", bursar_text::prose(&message.reason, MAX_REASON));
    Some(Suspend { user: user?, reason: reason? })
}

fn act_for(message: &IssueUserTokenRequest, violations: &mut Violations) -> Option<ActFor> {
    let user: Option<UserId> = violations.check("user_id", message.user_id.parse());
    let owner = match message.owner.as_str() {
        "" => user.map(OwnerId::User),
        text => violations.check("owner", text.parse()),
    };
    let fits = match (user, owner) {
        (Some(user), Some(OwnerId::User(owner))) => user == owner,
        _ => true,
    };
    violations.require("owner", fits, "must be an organization or the user's own context");
    violations.check("reason", bursar_text::prose(&message.reason, MAX_REASON))?;
    Some(ActFor { user: user?, owner: owner.filter(|_| fits)? })
}

fn sign_up(message: &SignUpRequest, violations: &mut Violations, origin: Origin) -> Option<SignUp> {
    let password = Secret::from(message.password.clone());
    let email = convert::email(violations, &message.email);
    violations.check("password", password::check(password.expose()));
    // Nobody has to think of a name: the address has one.
    let named = match (&email, message.display_name.trim()) {
        (Some(email), "") => email.local_part().to_owned(),
        (None, "") => "-".to_owned(),
        (_, name) => name.to_owned(),
    };
    let display_name = violations.check("display_name", DisplayName::parse(&named));
    Some(SignUp { email: email?, password, display_name: display_name?, origin })
}

fn change(message: &UpdateMeRequest, violations: &mut Violations) -> MeChange {
    let mask = UpdateMask::parse(message.update_mask.as_ref(), &["display_name", "preferences"], violations);
    let sent = message.preferences.as_ref();
    let empty = sent.is_none_or(|sent| sent.fields.is_empty());
    let preferences = mask.changes("preferences", empty).then(|| violations.check("preferences", document(sent)));
    MeChange {
        display_name: mask.read("display_name", &message.display_name, DisplayName::parse, violations),
        preferences: preferences.flatten(),
    }
}

fn user_ids(message: &BatchGetUsersRequest) -> Result<Vec<UserId>, Problem> {
    let mut violations = Violations::new();
    violations.require("user_ids", message.user_ids.len() <= MAX_BATCH, "at most 1,000 ids at once");
    if !violations.is_empty() {
        return Err(violations.into_problem());
    }
    let parsed = message.user_ids.iter().enumerate();
    let ids = parsed.filter_map(|(at, id)| violations.check(&format!("user_ids[{at}]"), id.parse())).collect();
    violations.finish()?;
    Ok(ids)
}
