//! Rows of the audit log, one by one and many at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use bursar_db::Migrations;
use bursar_db::audit::{self, AuditRow, Outcome};
use bursar_testkit::{START, at, audited, engines, id, personal};

fn row(n: u64) -> AuditRow {
    let odd = n % 2 == 1;
    AuditRow {
        id: id(n),
        at: at(START),
        owner: odd.then(|| personal(n)),
        actor: format!("svc_{n}"),
        on_behalf_of: odd.then(|| format!("usr_{n}")),
        method: "a.B/C".to_owned(),
        target: n.is_multiple_of(3).then(|| format!("lot_{n}, \"quoted\" {{braced}}")),
        outcome: if odd { Outcome::Done } else { Outcome::Refused },
        reason: (!odd).then(|| "ROLE_NOT_ALLOWED".to_owned()),
        request_id: n.is_multiple_of(5).then(|| "r, NULL".to_owned()),
    }
}

engines! {
    async fn many_rows_at_once_are_as_they_would_be_one_by_one(db: TestDb) {
        let db = db.open(&Migrations::SHARED).await;
        let rows: Vec<AuditRow> = (0..1_000).map(row).collect();
        let mut tx = db.begin().await.unwrap();
        audit::record(&mut tx, &rows[7]).await.unwrap();
        audit::record_all(&mut tx, &[]).await.unwrap();
        audit::record_all(&mut tx, &rows).await.unwrap();
        // Those that are there already stay as they are.
        let others: Vec<AuditRow> = rows[..10].iter().map(|it| AuditRow { actor: "usr_9".to_owned(), ..it.clone() }).collect();
        audit::record_all(&mut tx, &others).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(audited(&db).await, rows);
    }
}
