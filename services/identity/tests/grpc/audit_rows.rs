//! What gets a row of the audit log, by a table of every RPC that changes something; and that organization, which lists
//! everybody's, is told of each.

use std::collections::BTreeSet;

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{ServiceAccountId, kinds};
use bursar_proto::access::{Idempotency, MethodRule, Permission};
use bursar_proto::event_type::AUDIT_RECORDED;
use bursar_proto::identity::v1 as proto;
use bursar_testkit::{Client, Operator, PASSWORD, Person, Refusal, audited, auditing, id, rpcs};
use tonic::Status;

use crate::world::{World, credentials, sign_up};

/// Who signs up in the course of it.
const EVE: &str = "eve@example.com";

/// What changes something and leaves no row, and why.
const WITHOUT: [(&str, &str); 3] = [
    ("IssueServiceToken", "one proof is exchanged for another"),
    ("Refresh", "one proof is exchanged for another"),
    ("RequestEmailVerification", "nobody knows who asks"),
];

/// What calls are about, and who calls.
struct Stage {
    world: World,
    ada: Person,
    ben: Person,
    operator: Client,
    /// One of Ada's.
    session: String,
    /// The user whom operators deal with.
    user: String,
    /// The service account that they deal with.
    account: String,
    /// How somebody or something is to be called.
    name: String,
    /// Out of a mail.
    token: String,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Anybody,
    Ada,
    Ben,
    Operator,
}

/// The RPCs of identity that change something and fit, by their short names.
fn changing(fits: impl Fn(&MethodRule) -> bool) -> BTreeSet<&'static str> {
    rpcs("bursar.identity.v1", |rule| rule.idempotency != Idempotency::NoSideEffects && fits(rule))
        .into_keys()
        .collect()
}

impl Stage {
    async fn set(world: World) -> Self {
        let (ada, ben, operator) = (world.join("Ada").await, world.join("Ben").await, world.operator().await);
        let session = Person::sign_in(&world.anybody, &ada.email).await.tokens.session_id;
        let made = proto::CreateServiceAccountRequest {
            display_name: "Farm".to_owned(),
            role: "product".to_owned(),
            ..Default::default()
        };
        let made = operator.service_accounts().create_service_account(made).await.unwrap().into_inner();
        let (user, account, name) = (ben.user.clone(), made.client_id, "Countess".to_owned());
        Self { world, ada, ben, operator, session, user, account, name, token: String::new() }
    }

    fn client(&self, by: By) -> &Client {
        match by {
            By::Anybody => &self.world.anybody,
            By::Ada => self.ada.client(),
            By::Ben => self.ben.client(),
            By::Operator => &self.operator,
        }
    }

    /// Calls an RPC with something that is allowed to whoever may call it.
    async fn call(&self, by: By, rpc: &str) -> Result<(), Status> {
        let who = self.client(by);
        let (mut users, mut sessions) = (who.users(), who.sessions());
        match rpc {
            "SignUp" => users.sign_up(sign_up(EVE)).await.map(drop),
            "RequestEmailVerification" => {
                let request = proto::RequestEmailVerificationRequest { email: EVE.to_owned() };
                users.request_email_verification(request).await.map(drop)
            }
            "VerifyEmail" => {
                users.verify_email(proto::VerifyEmailRequest { token: self.token.clone() }).await.map(drop)
            }
            "UpdateMe" => {
                let request = proto::UpdateMeRequest { display_name: self.name.clone(), ..Default::default() };
                users.update_me(request).await.map(drop)
            }
            "DeleteMe" => users.delete_me(proto::DeleteMeRequest::default()).await.map(drop),
            "SignIn" => sessions.sign_in(credentials(EVE, PASSWORD)).await.map(drop),
            "Refresh" => {
                let refresh_token = self.ben.tokens.refresh_token.clone();
                sessions.refresh(proto::RefreshRequest { refresh_token }).await.map(drop)
            }
            "SignOut" => sessions.sign_out(proto::SignOutRequest {}).await.map(drop),
            "RevokeSession" => {
                let request = proto::RevokeSessionRequest { session_id: self.session.clone(), ..Default::default() };
                sessions.revoke_session(request).await.map(drop)
            }
            "SwitchContext" => {
                let request = proto::SwitchContextRequest { owner: self.ada.user.clone() };
                who.contexts().switch_context(request).await.map(drop)
            }
            _ => self.operate(who, rpc).await,
        }
    }

    async fn operate(&self, who: &Client, rpc: &str) -> Result<(), Status> {
        let (mut users, mut accounts) = (who.users(), who.service_accounts());
        let (user_id, service_account_id) = (self.user.clone(), self.account.clone());
        match rpc {
            "SuspendUser" => {
                users.suspend_user(proto::SuspendUserRequest { user_id, ..Default::default() }).await.map(drop)
            }
            "UnsuspendUser" => {
                users.unsuspend_user(proto::UnsuspendUserRequest { user_id, ..Default::default() }).await.map(drop)
            }
            "IssueUserToken" => {
                let reason = "ticket 7".to_owned();
                let request = proto::IssueUserTokenRequest { user_id, reason, ..Default::default() };
                users.issue_user_token(request).await.map(drop)
            }
            "CreateServiceAccount" => {
                let (display_name, role) = (self.name.clone(), "product".to_owned());
                let request = proto::CreateServiceAccountRequest { display_name, role, ..Default::default() };
                accounts.create_service_account(request).await.map(drop)
            }
            "RotateServiceAccountSecret" => {
                let request = proto::RotateServiceAccountSecretRequest { service_account_id, ..Default::default() };
                accounts.rotate_service_account_secret(request).await.map(drop)
            }
            "DisableServiceAccount" => {
                let request = proto::DisableServiceAccountRequest { service_account_id, ..Default::default() };
                accounts.disable_service_account(request).await.map(drop)
            }
            "IssueServiceToken" => {
                let Operator { client_id, client_secret } = Operator::of(&self.world.path(""));
                let request = proto::IssueServiceTokenRequest { client_id, client_secret };
                accounts.issue_service_token(request).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who does"),
        }
    }

    /// Calls, and gives what came of it and the rows that came with it.
    async fn rows_of(&self, by: By, rpc: &str) -> (String, Vec<AuditRow>) {
        let (outcome, rows) = auditing(&self.world.db, self.call(by, rpc)).await;
        (outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned()), rows)
    }

    /// Demands that organization is told of every row.
    async fn all_are_told(&self) {
        let told = self.world.count("SELECT COUNT(*) FROM outbox WHERE type = $1", AUDIT_RECORDED).await;
        assert_eq!(usize::try_from(told).ok(), Some(audited(&self.world.db).await.len()));
    }
}

bursar_testkit::engines! {
    async fn every_call_that_changes_something_leaves_one_row_or_is_known_to_leave_none(db: TestDb) {
        let mut stage = Stage::set(World::start(&db).await).await;
        let operator = ServiceAccountId::OPERATOR.to_string();
        let mut called = BTreeSet::new();
        let calls = [
            ("SignUp", By::Anybody), ("RequestEmailVerification", By::Anybody), ("VerifyEmail", By::Anybody),
            ("SignIn", By::Anybody), ("Refresh", By::Anybody), ("UpdateMe", By::Ada), ("SwitchContext", By::Ada),
            ("RevokeSession", By::Ada), ("SignOut", By::Ben), ("CreateServiceAccount", By::Operator),
            ("RotateServiceAccountSecret", By::Operator), ("DisableServiceAccount", By::Operator),
            ("IssueServiceToken", By::Anybody), ("SuspendUser", By::Operator), ("UnsuspendUser", By::Operator),
            ("IssueUserToken", By::Operator), ("DeleteMe", By::Ada),
        ];
        for (rpc, by) in calls {
            let (outcome, rows) = stage.rows_of(by, rpc).await;
            assert_eq!(outcome, "OK", "{rpc}");
            called.insert(rpc);
            if matches!(rpc, "SignUp" | "RequestEmailVerification") {
                stage.token = stage.world.mailbox.next_token(EVE).await;
            }
            if let Some((_, why)) = WITHOUT.iter().find(|(without, _)| *without == rpc) {
                assert_eq!(rows, [], "{rpc} leaves none: {why}");
                continue;
            }
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.starts_with("bursar.identity.v1.") && row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            assert_eq!((row.outcome, &row.reason), (Outcome::Done, &None), "{rpc}");
            let target = row.target.as_deref().unwrap_or_default();
            assert!(target.len() == 30 && target.as_bytes()[3] == b'_', "{rpc} has an id for a target: {target}");
            let owner = row.owner.map(|owner| owner.to_string());
            let acted = (row.actor.as_str(), row.on_behalf_of.as_deref(), owner.as_deref());
            let expected = match (by, rpc) {
                // In whose name it is stands there as well, and it is theirs to know.
                (By::Operator, "IssueUserToken") => (operator.as_str(), Some(stage.user.as_str()), Some(stage.user.as_str())),
                (By::Operator, _) => (operator.as_str(), None, None),
                (By::Ada, _) => (stage.ada.user.as_str(), None, Some(stage.ada.user.as_str())),
                (By::Ben, _) => (stage.ben.user.as_str(), None, Some(stage.ben.user.as_str())),
                // Who that was has been proven by a password or by a mail.
                (By::Anybody, _) => (row.actor.as_str(), None, Some(row.actor.as_str())),
            };
            assert_eq!(acted, expected, "{rpc}");
            assert!(by != By::Anybody || row.actor.starts_with("usr_"), "{row:?}");
        }
        assert_eq!(called, changing(|_| true), "a row for each, or a reason why there is none");
        stage.all_are_told().await;
        let all = format!("{:?}", audited(&stage.world.db).await);
        for secret in [stage.token.as_str(), "@example.com", "Countess", "Farm", "ticket", PASSWORD] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }

    async fn operators_are_heard_when_they_are_refused_and_nobody_else_is(db: TestDb) {
        let mut stage = Stage::set(World::start(&db).await).await;
        // What there is none of, and no name at all.
        stage.user = id::<kinds::User>(9).to_string();
        stage.account = id::<kinds::ServiceAccount>(9).to_string();
        stage.name = String::new();
        let operating = changing(|rule| rule.permission == Permission::Operate);
        assert!(operating.contains("SuspendUser") && operating.contains("CreateServiceAccount"), "{operating:?}");
        for rpc in operating {
            let (reason, rows) = stage.rows_of(By::Operator, rpc).await;
            assert!(matches!(reason.as_str(), "NOT_FOUND" | "INVALID_FIELDS"), "{rpc}: {reason}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            let told = (row.actor.clone(), row.owner, row.outcome, row.reason.clone());
            assert_eq!(told, (ServiceAccountId::OPERATOR.to_string(), None, Outcome::Refused, Some(reason)), "{rpc}");
            // Whoever is no operator does not get as far.
            for by in [By::Ada, By::Anybody] {
                let (reason, rows) = stage.rows_of(by, rpc).await;
                assert!(matches!(reason.as_str(), "CALLER_NOT_ALLOWED" | "TOKEN_MISSING"), "{rpc}: {reason}");
                assert_eq!(rows, [], "{rpc}");
            }
        }
        // What only concerns oneself concerns no log when it comes to nothing.
        stage.call(By::Ben, "SignOut").await.unwrap();
        for rpc in changing(|rule| rule.permission == Permission::Self_) {
            // It is said again.
            if rpc != "SignOut" {
                let (reason, rows) = stage.rows_of(By::Ben, rpc).await;
                assert_eq!((reason.as_str(), rows), ("SESSION_ENDED", Vec::new()), "{rpc}");
            }
        }
        stage.all_are_told().await;
    }

    async fn an_operator_who_is_refused_all_the_time_has_a_row_each_time(db: TestDb) {
        let mut stage = Stage::set(World::start(&db).await).await;
        stage.user = id::<kinds::User>(9).to_string();
        let mut reasons = Vec::new();
        for _ in 0..50 {
            let (reason, rows) = stage.rows_of(By::Operator, "SuspendUser").await;
            assert_eq!(reason, "NOT_FOUND");
            reasons.extend(rows.into_iter().filter_map(|row| row.reason));
        }
        assert_eq!(reasons, ["NOT_FOUND"; 50]);
        stage.all_are_told().await;
    }
}
