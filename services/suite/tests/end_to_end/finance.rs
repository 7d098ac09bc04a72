//! `bursar-billing report` as somebody in finance calls it: exit codes, and what is printed.

use bursar_proto::billing::v1::PurchasePackRequest;
use bursar_testkit::{Client, Plan, Topology};
use bursar_time::{Clock, Timestamp};

use crate::support::clocks::advance_to;
use crate::support::waiting::{PATIENCE, settles};
use crate::support::{given, programs, stores::billing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_months_report_is_printed_and_says_whether_all_agree() {
    programs::build();
    let suite = Plan::new(Topology::Suite).start().await;
    let data = suite.data_dir().to_owned();
    let operator = Client::of(&suite).as_operator(&suite.operator()).await;
    let owner = "usr_00000000008008000000000001".to_owned();
    let pack = PurchasePackRequest {
        owner: owner.clone(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..Default::default()
    };
    operator.purchases().purchase_pack(pack).await.expect("bought");

    let now = Clock::system().now();
    let month = &now.to_rfc3339()[.."2026-01".len()];
    let (status, said) = billing(&data, &["report", "--month", month]).await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("owner,lot,source,granted_at") && said.contains(&format!("{owner},lot_")), "{said}");
    assert!(said.contains("USD: 300 paid credits unspent, worth 20; earned 0, breakage 0"), "{said}");
    assert!(said.contains("1 lots, 0 differences"), "{said}");
    let books = "USD by now: payments 20 = invoices 20 + not invoiced 0 = taxes 0 + lots 20 + without lots 0 + paid ahead 0; \
                 given back 0 = credit notes 0 + not noted 0; not delivered 0; difference 0";
    assert!(said.contains(books), "{said}");
    let (status, said) = billing(&data, &["report", "--month", "2025-01", "--owner", &owner]).await;
    assert!(status.success() && said.contains("0 lots, 0 differences"), "{said}");

    let refused: [(&[&str], &str); 6] = [
        (&["report"], "--month"),
        (&["report", "--month", "2026-13"], "such as 2026-01"),
        (&["report", "--month", "2026-1"], "such as 2026-01"),
        (&["report", "--month", "january"], "such as 2026-01"),
        (&["report", "--month", "9999-01"], "has not begun"),
        (&["report", "--month", month, "--owner", "everybody"], "--owner"),
    ];
    for (arguments, why) in refused {
        let (status, said) = billing(&data, arguments).await;
        assert!(!status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}

/// The report is another program than the service whose clock was moved: it goes by how far the store was used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_of_a_test_clock_is_reported_once_it_has_begun_there() {
    programs::build();
    let suite = Plan::new(Topology::Suite).arg("--test-clock").start().await;
    let data = suite.data_dir().to_owned();
    let begin = Clock::system().now();
    let (next, after) = (begin.add_months_anchored(7), begin.add_months_anchored(9));
    let month = |at: Timestamp| at.to_rfc3339()[.."2026-01".len()].to_owned();
    let (played, ahead) = (month(next), month(after));
    let (status, said) = billing(&data, &["report", "--month", &played]).await;
    assert!(!status.success() && said.contains("has not begun"), "{said}");

    let anybody = Client::of(&suite);
    advance_to(&anybody, next).await;
    let operator = anybody.as_operator(&suite.operator()).await;
    let pack = PurchasePackRequest {
        owner: "usr_00000000008008000000000001".to_owned(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        ..Default::default()
    };
    given(operator.purchases().purchase_pack(pack).await);
    // How far the store was used is noted a moment after the clock was moved.
    let said = settles("the month is reported", PATIENCE, async || {
        let (status, said) = billing(&data, &["report", "--month", &played]).await;
        if status.success() { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(said.contains("USD: 300 paid credits unspent, worth 20; earned 0, breakage 0"), "{said}");
    assert!(said.contains("1 lots, 0 differences"), "{said}");
    let (status, said) = billing(&data, &["report", "--month", &ahead]).await;
    assert!(!status.success() && said.contains("has not begun"), "{said}");
}
