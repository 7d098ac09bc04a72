//! Settings that are secret: where they come from, and that nothing shows them, whatever is wrong with them.

use std::fs;

use bursar_runtime::Service;

use super::suite;

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let [store, smtp, key] = ["store", "smtp", "key"].map(|name| dir.path().join(name));
    fs::write(&store, "postgres://bursar:hidden@db/billing\n").expect("written");
    fs::write(&smtp, "smtps://bursar:hidden@mail:465\n").expect("written");
    fs::write(&key, "hidden\n").expect("written");
    let [store, smtp, key] = [store, smtp, key].map(|path| path.display().to_string());
    let file = format!(
        "billing_store_file = '{store}'\n[mail]\nsmtp_url_file = '{smtp}'\n[s3]\nsecret_access_key_file = '{key}'\n\
             [gcs]\nservice_account_key_file = '{key}'\n[azure]\naccess_key_file = '{key}'\n\
             [payments.stripe]\nsecret_key_file = '{key}'\nwebhook_secret_file = '{key}'"
    );
    let env = format!(
        "BURSAR_BILLING_STORE_FILE={store}\nBURSAR_MAIL__SMTP_URL_FILE={smtp}\nBURSAR_S3__SECRET_ACCESS_KEY_FILE={key}\n\
         BURSAR_GCS__SERVICE_ACCOUNT_KEY_FILE={key}\nBURSAR_AZURE__ACCESS_KEY_FILE={key}\n\
         BURSAR_PAYMENTS__STRIPE__SECRET_KEY_FILE={key}\nBURSAR_PAYMENTS__STRIPE__WEBHOOK_SECRET_FILE={key}"
    );
    for given in [&file, &env] {
        let settings = suite(given).expect("secrets from files");
        let url = settings.mail.smtp_url.as_ref().expect("a mail server");
        assert_eq!(url.expose(), "smtps://bursar:hidden@mail:465");
        let keys = [&settings.s3.secret_access_key, &settings.gcs.service_account_key, &settings.azure.access_key];
        for key in keys {
            assert_eq!(key.as_ref().expect("a key").expose(), "hidden");
        }
        let stripe = &settings.payments.stripe;
        for secret in [&stripe.secret_key, &stripe.webhook_secret] {
            assert_eq!(secret.as_ref().expect("a secret").expose(), "hidden");
        }
        let printed = settings.to_redacted_toml().expect("TOML");
        for name in ["secret_access_key", "service_account_key", "access_key"] {
            assert!(printed.contains(&format!("\n{name} = \"[redacted]\"")), "{printed}");
        }
        assert!(printed.contains("postgres://bursar:***@db/billing"), "{printed}");
        assert!(printed.contains("smtp_url = \"[redacted]\""), "{printed}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(!format!("{settings:?}").contains("hidden"), "{settings:?}");
    }
    // A stronger place may still say otherwise; one place may not say both.
    let other = "BURSAR_BILLING_STORE=sqlite://b.db";
    let stronger = suite(&format!("{file}\n{other}")).expect("the environment wins");
    assert_eq!(stronger.store(Service::Billing).to_string(), "sqlite://b.db");
    let refusal = suite(&format!("{env}\n{other}")).expect_err("both");
    assert!(refusal.contains("BURSAR_BILLING_STORE_FILE"), "{refusal}");
    assert!(refusal.contains("use one"), "{refusal}");
}

#[test]
fn a_malformed_secret_is_not_quoted() {
    for (given, key) in [
        ("BURSAR_BILLING_STORE=postgresq://bursar:hidden@db/x", "BURSAR_BILLING_STORE"),
        ("billing_store = ['hidden']", "billing_store"),
        ("mail = { smtp_url = 'hidden", "line 1"),
    ] {
        let refusal = suite(given).expect_err(key);
        assert!(refusal.contains(key), "{refusal}");
        assert!(!refusal.contains("hidden"), "{refusal}");
    }
}
