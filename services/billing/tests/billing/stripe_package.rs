//! The fake of Stripe and the inbox, as Stripe's own package for Node finds them (`scripts/stripe.sh`).

use std::process::Stdio;

use bursar_testkit::engines;
use bursar_testkit::stripe::{Card, FakeStripe, signed};
use serde_json::json;
use tokio::process::Command;

use crate::stripe_desk::Desk;

engines! {
    #[ignore = "needs Node and the package of Stripe: scripts/stripe.sh"]
    async fn the_package_of_stripe_agrees(db: TestDb) {
        let package = std::env::var("BURSAR_TEST_STRIPE_PACKAGE").expect("the folder of the package");
        let desk = Desk::open(db).await;
        let (_, good) = desk.person_with(1, Card::Good).await;
        let (_, bad) = desk.person_with(2, Card::Declined("lost_card")).await;
        let of = |method: &str| format!("{method} {}", desk.fake.object(method).unwrap()["customer"].as_str().unwrap());
        let body = desk.fake.event("invoice.paid", json!({"id": "in_1"})).body();
        let header = signed(FakeStripe::SECRET, desk.seconds(), &body);
        let webhook = json!({"header": header, "body": String::from_utf8(body).unwrap()});
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/billing/stripe_package.mjs");
        let output = Command::new("node")
            .arg(script)
            .env("PACKAGE", package)
            .env("FAKE", desk.fake.url())
            .env("INBOX", format!("http://{}/webhooks/stripe", desk.inbox))
            .env("KEY", FakeStripe::KEY)
            .env("SECRET", FakeStripe::SECRET)
            .env("VERSION", FakeStripe::VERSION)
            .env("AT", desk.seconds().to_string())
            .env("CARD", of(&good))
            .env("DECLINED", of(&bad))
            .env("WEBHOOK", webhook.to_string())
            .stdin(Stdio::null())
            .output()
            .await
            .expect("node runs");
        let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert!(output.status.success(), "{}\n{}", said[0], said[1]);
        assert_eq!(desk.count("IGNORED").await, 3, "one of the package's, and two of checkouts that are complete");
    }
}
