//! `bursar-billing checkpoint` and `verify --against` as an operator calls them: exit codes, and what is printed.

use std::{fs, process::ExitStatus, time::Duration};

use bursar_proto::billing::v1::{GrantCreditsRequest, LotSource};
use bursar_testkit::{Client, Plan, Topology};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{programs, stores::billing};

/// The longest that a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_written_once_and_compared_by_exit_code() {
    programs::build();
    let suite = Plan::new(Topology::Suite).start().await;
    let data = suite.data_dir().to_owned();
    let operator = Client::of(&suite).as_operator(&suite.operator()).await;
    let owner = "usr_00000000008008000000000001".to_owned();
    let grant = GrantCreditsRequest {
        owner: owner.clone(),
        amount: "5".to_owned(),
        source: LotSource::Goodwill.into(),
        ..Default::default()
    };
    operator.credits().grant_credits(grant).await.expect("granted");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("heads");
    let named = file.display().to_string();

    // Beside the running service.
    let (status, key) = billing(&data, &["checkpoint", "--public-key"]).await;
    assert!(status.success(), "{key}");
    let key = key.lines().find(|line| line.len() == 64).expect("a key").to_owned();
    let (status, said) = billing(&data, &["checkpoint", "--out", &named]).await;
    assert!(status.success() && said.contains(&key), "{said}");
    let text = fs::read_to_string(&file).expect("written");
    assert!(text.starts_with("bursar-checkpoint 1 ") && text.contains(&format!("\n{owner} 1 ")), "{text}");
    let (status, said) = billing(&data, &["checkpoint", "--out", &named]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("there"), text, "what is there is not replaced");

    let (status, said) = billing(&data, &["verify", "--against", &named]).await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("0 differences") && said.contains("0 bad ledgers"), "{said}");
    let (status, said) = billing(&data, &["verify", "--against", &named, "--public-key", &key]).await;
    assert_eq!(status.code(), Some(0), "{said}");

    // Files that cannot be used, and command lines.
    let forged = elsewhere.path().join("forged");
    fs::write(&forged, text.replacen(" 1 ", " 2 ", 2)).expect("written");
    let forged = forged.display().to_string();
    let missing = elsewhere.path().join("none").display().to_string();
    let another = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";
    let refused: [(&[&str], &str); 6] = [
        (&["verify", "--against", &forged], "newer program"),
        (&["verify", "--against", &missing], "No such file"),
        (&["verify", "--against", &named, "--public-key", another], "another key"),
        (&["verify", "--against", &named, "--public-key", "abc"], "hexadecimal"),
        (&["verify", "--public-key", &key], "--against"),
        (&["checkpoint"], "--out"),
    ];
    for (arguments, why) in refused {
        let (status, said) = billing(&data, arguments).await;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }

    // The account is gone, as after a backup of before was restored.
    let mut suite = suite;
    assert!(suite.stop(STOPS_WITHIN).iter().all(ExitStatus::success));
    let store = SqliteConnectOptions::new().filename(data.join("billing.db"));
    let mut store = SqliteConnection::connect_with(&store).await.expect("opens");
    sqlx::query("DELETE FROM accounts").execute(&mut store).await.expect("deleted");
    store.close().await.expect("closes");
    let (status, said) = billing(&data, &["verify", "--against", &named]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("account of {owner}: it is missing")), "{said}");
}
