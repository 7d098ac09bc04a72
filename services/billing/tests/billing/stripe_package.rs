//! The fake of Stripe and the inbox, as Stripe's own package for Node finds them. `scripts/stripe.sh` fetches that package;
//! where it cannot, the test says so on standard error and passes without having run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use bursar_testkit::engines;
use bursar_testkit::stripe::{Card, FakeStripe, signed};
use serde_json::json;
use tokio::process::Command;

use crate::stripe_desk::Desk;

/// The folder with Node and the package, where they are.
fn package() -> Option<PathBuf> {
    static SAID: OnceLock<()> = OnceLock::new();
    let folder = std::env::var_os("BURSAR_TEST_STRIPE_PACKAGE").filter(|it| !it.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        SAID.get_or_init(|| {
            // Written directly: the test runner hides what a passing test prints with `eprintln!`.
            let _ = writeln!(
                std::io::stderr(),
                "\nWARNING: the fake of Stripe was not checked with Stripe's own package. BURSAR_TEST_STRIPE_PACKAGE names no \
                 folder of it: scripts/stripe.sh fetches it, or says why it cannot\n"
            );
        });
    }
    folder
}

engines! {
    async fn the_package_of_stripe_agrees(db: TestDb) {
        let Some(package) = package() else { return };
        let desk = Desk::open(db).await;
        let (_, good) = desk.person_with(1, Card::Good).await;
        let (_, bad) = desk.person_with(2, Card::Declined("lost_card")).await;
        let of = |method: &str| format!("{method} {}", desk.fake.object(method).unwrap()["customer"].as_str().unwrap());
        let body = desk.fake.event("invoice.paid", &json!({"id": "in_1"})).body();
        let header = signed(FakeStripe::SECRET, desk.seconds(), &body);
        let webhook = json!({"header": header, "body": String::from_utf8(body).unwrap()});
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/billing/stripe_package.mjs");
        let output = Command::new(package.join("node"))
            .arg(script)
            .env("PACKAGE", &package)
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
