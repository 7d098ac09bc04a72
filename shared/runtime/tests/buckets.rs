//! What is refused of how buckets are reached, without asking anybody.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use bursar_runtime::{Loader, Program, Settings};

/// What the suite makes of these variables, one a line.
fn suite(given: &str) -> Result<Settings, String> {
    let variables = given.lines().map(|line| line.split_once('=').expect("a variable has a value"));
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Loader::new(Program::Suite).environment(environment).load().map_err(|refusal| refusal.to_string())
}

#[test]
fn each_mistake_about_a_bucket_is_named_and_no_key_is_shown() {
    let key = |account: &str, key: &str| {
        format!(
            r#"{{"client_email": "{account}", "private_key_id": "1", "private_key": "{key}", "type": "service_account"}}"#
        )
    };
    let (google, azure) = ("BURSAR_CONTENT_URL=gs://acme-content", "BURSAR_CONTENT_URL=az://acme-content");
    let good = key("bursar@acme.test", "-----BEGIN PRIVATE KEY-----hunter2");
    for given in [
        google.to_owned(),
        format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={good}\nBURSAR_GCS__ENDPOINT=https://gcs.test"),
        format!("{azure}\nBURSAR_AZURE__ACCOUNT=acme"),
        format!("{azure}\nBURSAR_AZURE__ACCOUNT=acme\nBURSAR_AZURE__ACCESS_KEY=aHVudGVyMg=="),
        // Nobody asks for what is not used.
        "BURSAR_GCS__SERVICE_ACCOUNT_KEY=hunter2\nBURSAR_AZURE__ACCESS_KEY=hunter2\nBURSAR_AZURE__ENDPOINT=x"
            .to_owned(),
    ] {
        suite(&given).expect(&given);
    }
    let no_oauth = good.replace('{', r#"{"disable_oauth": true, "#);
    let elsewhere = good.replace('{', r#"{"gcs_base_url": "https://gcs.test", "#);
    for (given, named) in [
        (format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY=hunter2"), "gcs.service_account_key: is not"),
        (
            format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={}", key("", "-----BEGIN hunter2")),
            "gcs.service_account_key: is not",
        ),
        (
            format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={}", key("a", "hunter2")),
            "gcs.service_account_key: is not",
        ),
        (format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={no_oauth}"), "gcs.service_account_key: is not"),
        (format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={elsewhere}"), "(gcs_base_url), which gcs.endpoint names"),
        // Also where another one is named.
        (
            format!("{google}\nBURSAR_GCS__SERVICE_ACCOUNT_KEY={elsewhere}\nBURSAR_GCS__ENDPOINT=https://storage.test"),
            "gcs.service_account_key: is not",
        ),
        (format!("{google}\nBURSAR_GCS__ENDPOINT=gcs.test"), "gcs.endpoint: `gcs.test` is not"),
        (azure.to_owned(), "azure.account: must be set where content_url is az://acme-content"),
        (format!("{azure}\nBURSAR_AZURE__ACCOUNT=Acme"), "azure.account: `Acme` names no account"),
        (
            format!("{azure}\nBURSAR_AZURE__ACCOUNT=acme\nBURSAR_AZURE__ACCESS_KEY=hunter2"),
            "azure.access_key: is no key",
        ),
        (format!("{azure}\nBURSAR_AZURE__ACCOUNT=acme\nBURSAR_AZURE__ENDPOINT=x"), "azure.endpoint: `x` is not"),
        ("BURSAR_CONTENT_URL=az://acme.content".to_owned(), "names no bucket"),
    ] {
        let refusal = suite(&given).expect_err(&given);
        assert!(refusal.contains(named) && !refusal.contains("hunter2"), "{given}: {refusal}");
    }
}
