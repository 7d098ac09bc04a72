//! What a thief of the database file does not find in it.

use bursar_testkit::{PASSWORD, TestDb, sqlite};

use crate::world::World;

/// Everything in the store's file and its log.
fn bytes_of(db: &TestDb) -> Vec<u8> {
    let path = db.url().strip_prefix("sqlite://").unwrap();
    ["", "-wal"].into_iter().filter_map(|suffix| std::fs::read(format!("{path}{suffix}")).ok()).flatten().collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn no_password_no_token_and_no_key_is_kept_in_clear() {
    sqlite::run(|db| async move {
        let world = World::start(&db).await;
        world.sign_up("ada@example.com").await;
        let verification = world.mailbox.next_token("ada@example.com").await;
        let tokens = world.sign_in("ada@example.com", PASSWORD).await.unwrap().into_inner().tokens.unwrap();
        let operator = bursar_testkit::Operator::of(&world.path(""));
        let bytes = bytes_of(&db);
        assert!(holds(&bytes, "ada@example.com"), "the file is the one that is written");
        let secrets = [
            ("password", PASSWORD),
            ("verification token", verification.as_str()),
            ("refresh token", tokens.refresh_token.as_str()),
            ("access token", tokens.access_token.as_str()),
            ("operator's secret", operator.client_secret.as_str()),
        ];
        for (name, secret) in secrets {
            assert!(!holds(&bytes, secret), "the {name} is in the file");
        }
    });
}
