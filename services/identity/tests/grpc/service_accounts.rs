//! Service accounts: the ones of the first start, and those an operator makes.

use std::os::unix::fs::PermissionsExt as _;

use bursar_id::ServiceAccountId;
use bursar_proto::identity::v1::{
    BatchGetUsersRequest, CreateServiceAccountRequest, DisableServiceAccountRequest, IssueServiceTokenRequest,
    ListServiceAccountsRequest, RotateServiceAccountSecretRequest,
};
use bursar_rpc::Transport;
use bursar_runtime::{Each, Env, Peers, Service, Settings};
use bursar_secret::Entropy;
use bursar_testkit::{Client, Operator, clock, id, refused};
use tonic::{Code, Status};

use crate::world::{World, claims};

async fn token(anybody: &Client, client_id: &str, client_secret: &str) -> Result<String, Status> {
    let request = IssueServiceTokenRequest { client_id: client_id.to_owned(), client_secret: client_secret.to_owned() };
    Ok(anybody.service_accounts().issue_service_token(request).await?.into_inner().access_token)
}

fn create(display_name: &str, role: &str) -> CreateServiceAccountRequest {
    CreateServiceAccountRequest { display_name: display_name.to_owned(), role: role.to_owned(), ..Default::default() }
}

fn rotate(id: &str) -> RotateServiceAccountSecretRequest {
    RotateServiceAccountSecretRequest { service_account_id: id.to_owned(), ..Default::default() }
}

fn disable(id: &str, request_id: &str) -> DisableServiceAccountRequest {
    DisableServiceAccountRequest { service_account_id: id.to_owned(), request_id: request_id.to_owned() }
}

bursar_testkit::engines! {
    async fn the_first_start_makes_the_suites_own_accounts(db: TestDb) {
        let world = World::start(&db).await;
        let mode = std::fs::metadata(world.path("operator.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let operator = Operator::of(&world.path(""));
        assert_eq!(operator.client_id, ServiceAccountId::OPERATOR.to_string());
        let issued = token(&world.anybody, &operator.client_id, &operator.client_secret).await.unwrap();
        let said = claims(&issued);
        assert_eq!((said["sub"].as_str(), said["srole"].as_str()), (Some(operator.client_id.as_str()), Some("operator")));
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 300);
        for (service, account) in [
            (Service::Organization, ServiceAccountId::ORGANIZATION),
            (Service::Billing, ServiceAccountId::BILLING),
        ] {
            let secret = world.settings.service_secret(service, &Entropy::system()).unwrap();
            let issued = token(&world.anybody, &account.to_string(), secret.expose()).await.unwrap();
            assert_eq!(claims(&issued)["srole"], service.name());
        }
        // Starting again changes nothing, and a file that was taken away stays away.
        std::fs::remove_file(world.path("operator.json")).unwrap();
        world.replica().await;
        assert!(!world.path("operator.json").exists());
        token(&world.anybody, &operator.client_id, &operator.client_secret).await.unwrap();
    }

    async fn an_operators_secret_that_could_be_guessed_is_not_taken_over(db: TestDb) {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::for_test(directory.path());
        settings.stores[Service::Identity] = db.store_url();
        bursar_identity::migrate(&settings, None).await.unwrap();
        let client_id = ServiceAccountId::OPERATOR;
        let file = format!("{{\"client_id\": \"{client_id}\", \"client_secret\": \"hunter2\"}}");
        std::fs::write(&settings.operator_file, file).unwrap();
        let peers = Peers::new(Each::of(|_| Transport::late().0));
        let env = Env::for_test(clock(), Entropy::system());
        let error = format!("{:#}", bursar_identity::start(&settings, peers, env).await.unwrap_err());
        assert!(error.contains("operator.json") && error.contains("client_secret"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    async fn a_new_secret_in_its_file_works_and_the_old_one_for_a_day(db: TestDb) {
        let world = World::start(&db).await;
        let account = ServiceAccountId::BILLING.to_string();
        let secret = || world.settings.service_secret(Service::Billing, &Entropy::system()).unwrap();
        let old = secret();
        std::fs::remove_file(&world.settings.service_secrets[Service::Billing]).unwrap();
        world.replica().await;
        let new = secret();
        assert_ne!(old, new);
        token(&world.anybody, &account, new.expose()).await.unwrap();
        world.pass(24 * 3600 - 1);
        token(&world.anybody, &account, old.expose()).await.unwrap();
        world.pass(1);
        refused(token(&world.anybody, &account, old.expose()).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        token(&world.anybody, &account, new.expose()).await.unwrap();
    }

    async fn an_account_lives_rotates_and_ends(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let mut accounts = operator.service_accounts();
        let made = accounts.create_service_account(create("Render farm", "product")).await.unwrap().into_inner();
        let account = made.service_account.unwrap();
        assert_eq!((account.id.as_str(), account.role.as_str(), account.disabled), (made.client_id.as_str(), "product", false));
        let service = token(&world.anybody, &made.client_id, &made.client_secret).await.unwrap();
        let users = world.anybody.with_token(&service).users().batch_get_users(BatchGetUsersRequest::default()).await;
        users.expect("a product's service may ask");
        let denied = world.anybody.with_token(&service).service_accounts().list_service_accounts(ListServiceAccountsRequest::default()).await;
        refused(denied, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");

        let next = accounts.rotate_service_account_secret(rotate(&made.client_id)).await.unwrap().into_inner();
        refused(token(&world.anybody, &made.client_id, &made.client_secret).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        token(&world.anybody, &next.client_id, &next.client_secret).await.unwrap();

        let ended = accounts.disable_service_account(disable(&made.client_id, "x1")).await.unwrap().into_inner();
        assert!(ended.service_account.as_ref().unwrap().disabled);
        assert_eq!(accounts.disable_service_account(disable(&made.client_id, "x1")).await.unwrap().into_inner(), ended);
        accounts.disable_service_account(disable(&made.client_id, "")).await.expect("once more");
        refused(token(&world.anybody, &next.client_id, &next.client_secret).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        let again = accounts.rotate_service_account_secret(rotate(&made.client_id)).await;
        refused(again, Code::FailedPrecondition, "SERVICE_ACCOUNT_DISABLED");
    }

    async fn accounts_are_listed_page_by_page(db: TestDb) {
        let world = World::start(&db).await;
        let operator = world.operator().await;
        let mut accounts = operator.service_accounts();
        for n in 0..3 {
            accounts.create_service_account(create(&format!("Service {n}"), "operator")).await.unwrap();
        }
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListServiceAccountsRequest { page_size: 2, page_token };
            let page = accounts.list_service_accounts(request).await.unwrap().into_inner();
            seen.extend(page.service_accounts.into_iter().map(|account| account.role));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ["operator", "identity", "organization", "billing", "operator", "operator", "operator"]);
        let request = ListServiceAccountsRequest { page_size: 2, page_token: "x".to_owned() };
        refused(accounts.list_service_accounts(request).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn bad_requests_about_accounts_are_refused(db: TestDb) {
        let world = World::start(&db).await;
        let ada = world.join("Ada").await;
        let operator = world.operator().await;
        let mut accounts = operator.service_accounts();
        for (request, fields) in [
            (create("", "billing"), vec!["display_name", "role"]),
            (create("Spy", "identity"), vec!["role"]),
            (create("Spy", "OPERATOR"), vec!["role"]),
        ] {
            let refusal = refused(accounts.create_service_account(request).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(refusal.fields, fields);
        }
        let nobody: ServiceAccountId = id(5);
        let nobody = nobody.to_string();
        refused(accounts.rotate_service_account_secret(rotate(&nobody)).await, Code::NotFound, "NOT_FOUND");
        refused(accounts.disable_service_account(disable(&nobody, "")).await, Code::NotFound, "NOT_FOUND");
        refused(accounts.rotate_service_account_secret(rotate("svc_1")).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(accounts.disable_service_account(disable("", "")).await, Code::InvalidArgument, "INVALID_FIELDS");
        for needed in [ServiceAccountId::OPERATOR, ServiceAccountId::BILLING] {
            let answer = accounts.disable_service_account(disable(&needed.to_string(), "")).await;
            refused(answer, Code::FailedPrecondition, "SERVICE_ACCOUNT_NEEDED");
        }
        let from_file = accounts.rotate_service_account_secret(rotate(&ServiceAccountId::BILLING.to_string())).await;
        refused(from_file, Code::FailedPrecondition, "SERVICE_ACCOUNT_NEEDED");
        let person = ada.client().service_accounts().create_service_account(create("Mine", "operator")).await;
        refused(person, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let nobody = world.anybody.service_accounts().create_service_account(create("Mine", "operator")).await;
        refused(nobody, Code::Unauthenticated, "TOKEN_MISSING");
    }

    async fn wrong_secrets_look_alike_and_are_throttled_but_lock_nobody_out(db: TestDb) {
        let world = World::start(&db).await;
        let operator = Operator::of(&world.path(""));
        let nobody: ServiceAccountId = id(5);
        let nobody = nobody.to_string();
        let mut answers = Vec::new();
        for (client_id, secret) in [
            (operator.client_id.as_str(), "wrong"),
            (nobody.as_str(), operator.client_secret.as_str()),
            ("", ""),
            ("svc_1", "x"),
        ] {
            answers.push(refused(token(&world.anybody, client_id, secret).await, Code::Unauthenticated, "CREDENTIALS_INVALID"));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        for _ in 4..100 {
            let answer = token(&world.anybody, &operator.client_id, "wrong").await;
            refused(answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
        }
        refused(token(&world.anybody, &operator.client_id, "wrong").await, Code::ResourceExhausted, "TOO_MANY_ATTEMPTS");
        token(&world.anybody, &operator.client_id, &operator.client_secret).await.expect("the right secret gets in");
    }
}
