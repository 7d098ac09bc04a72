//! The command `audit` of a program that runs one service: the rows of its audit log, for operators. No RPC lists what belongs
//! to no organization: what operators did to the deployment and to people, and what people did about their own accounts.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use bursar_db::Db;
use bursar_db::audit::{self, AuditRow};
use bursar_id::{ApiKeyId, AuditId, InvitationId, OwnerId, ServiceAccountId, UserId};
use bursar_time::Timestamp;
use clap::Args;
use serde_json::Value;

/// How many rows are read at once, each time in a transaction of its own.
const PORTION: i64 = 1_000;

/// What `audit` can be told.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Only rows of this context (`usr_…`, `org_…`).
    #[arg(long, value_name = "ID", conflicts_with = "ownerless")]
    owner: Option<OwnerId>,
    /// Only rows of nobody's context: what was done to the deployment.
    #[arg(long)]
    ownerless: bool,
    /// Only what this one did, or what was done in this user's name (`usr_…`, `key_…`, `svc_…`, `inv_…`).
    #[arg(long, value_name = "ID", value_parser = actor)]
    actor: Option<String>,
    /// Only rows of this time or later (RFC 3339). The log is read from here on.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only rows before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only rows after this one (`aud_…`), the last that was printed: the next page. Rows are in the order in which they were
    /// decided, and may come later: those of other services when they are heard, those of long calls at their end. So whoever
    /// follows the log begins each time with a `--from` that is earlier than the last row by as long as others may have been
    /// away, and knows by their ids the rows that came before.
    #[arg(long, value_name = "ID")]
    after: Option<AuditId>,
    /// How many at most, up to 100,000.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Somebody who acts.
fn actor(text: &str) -> Result<String, &'static str> {
    let known = text.parse::<UserId>().is_ok()
        || text.parse::<ApiKeyId>().is_ok()
        || text.parse::<ServiceAccountId>().is_ok()
        || text.parse::<InvitationId>().is_ok();
    known.then(|| text.to_owned()).ok_or("must be an id that begins with usr_, key_, svc_ or inv_")
}

impl AuditArgs {
    /// After which id to begin. Ids begin with their time.
    fn begin(&self) -> String {
        let from = self.from.filter(|from| from.as_millis() > 0);
        let from = from.map(|from| AuditId::from_parts(from.as_millis() - 1, [u8::MAX; 10]).to_string());
        let after = self.after.map(|after| after.to_string());
        after.max(from).unwrap_or_default()
    }

    /// Whether neither this row nor a later one is wanted.
    fn is_over(&self, row: &AuditRow) -> bool {
        self.to.is_some_and(|to| row.at.as_millis() > to.as_millis())
    }

    fn wants(&self, row: &AuditRow) -> bool {
        let owner = if self.ownerless { row.owner.is_none() } else { self.owner.is_none() || self.owner == row.owner };
        let acted = |actor: &String| *actor == row.actor || Some(actor) == row.on_behalf_of.as_ref();
        owner
            && self.actor.as_ref().is_none_or(acted)
            && self.from.is_none_or(|from| row.at >= from)
            && self.to.is_none_or(|to| row.at < to)
    }
}

/// What was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Printed {
    rows: u32,
    /// The last one, where there may be more behind it.
    last: Option<AuditId>,
}

/// Prints rows as JSON, one a line, the oldest first.
#[expect(clippy::print_stderr, reason = "this is what the command says beside the rows")]
pub(crate) async fn run(db: Db, args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print(&db, args, &mut out).await;
    db.close().await;
    let Printed { rows, last } = printed?;
    out.flush()?;
    match last {
        Some(last) => eprintln!("{rows} rows; there may be more: --after {last}"),
        None => eprintln!("{rows} rows"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn print(db: &Db, args: &AuditArgs, out: &mut impl Write) -> anyhow::Result<Printed> {
    let mut after = args.begin();
    let mut printed = Printed { rows: 0, last: None };
    loop {
        let rows = audit::after(&mut db.read().await?, &after, PORTION).await?;
        for row in &rows {
            if args.is_over(row) {
                return Ok(printed);
            }
            if args.wants(row) {
                writeln!(out, "{}", line(row))?;
                printed.rows += 1;
            }
            if printed.rows == args.limit {
                return Ok(Printed { last: Some(row.id), ..printed });
            }
        }
        match rows.last() {
            Some(row) => after = row.id.to_string(),
            None => return Ok(printed),
        }
    }
}

fn line(row: &AuditRow) -> Value {
    let mut line = row.to_json();
    line.insert("owner".to_owned(), Value::from(row.owner.map(|owner| owner.to_string())));
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use bursar_db::Migrations;
    use bursar_db::audit::Outcome;
    use bursar_testkit::{START, at, id, personal};
    use bursar_time::Span;
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: AuditArgs,
    }

    fn asked(arguments: &[&str]) -> Result<AuditArgs, clap::Error> {
        let arguments = std::iter::once("audit").chain(arguments.iter().copied());
        Cli::try_parse_from(arguments).map(|cli| cli.args)
    }

    /// The row of the `n`-th second; every fifth belongs to nobody.
    fn row(n: u64) -> AuditRow {
        let time = at(START).saturating_add(Span::from_secs(n));
        AuditRow {
            id: AuditId::from_parts(time.as_millis(), [0; 10]),
            at: time,
            owner: (!n.is_multiple_of(5)).then(|| personal(n % 5)),
            actor: if n.is_multiple_of(2) { id::<bursar_id::kinds::User>(1).to_string() } else { "svc_1".to_owned() },
            on_behalf_of: n.is_multiple_of(3).then(|| id::<bursar_id::kinds::User>(2).to_string()),
            method: "a.B/C".to_owned(),
            target: None,
            outcome: Outcome::Refused,
            reason: Some("NOT_FOUND".to_owned()),
            request_id: Some(format!("r{n}")),
        }
    }

    /// The numbers of the rows that are printed, and what is said of them.
    async fn printed(db: &Db, arguments: &[&str]) -> (Vec<u64>, Printed) {
        let mut out = Vec::new();
        let printed = print(db, &asked(arguments).unwrap(), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let number = |line: &str| -> u64 {
            let row: Value = serde_json::from_str(line).unwrap();
            row["request_id"].as_str().unwrap().trim_start_matches('r').parse().unwrap()
        };
        let numbers: Vec<u64> = text.lines().map(number).collect();
        assert_eq!(usize::try_from(printed.rows).unwrap(), numbers.len());
        (numbers, printed)
    }

    /// Numbers of rows that fit.
    fn those(fits: impl Fn(u64) -> bool) -> Vec<u64> {
        (0..2_500).filter(|n| fits(*n)).collect()
    }

    bursar_testkit::engines! {
        async fn the_log_is_read_in_pages_by_context_actor_and_time(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            assert_eq!(printed(&db, &[]).await, (Vec::new(), Printed { rows: 0, last: None }));
            let mut tx = db.begin().await.unwrap();
            // More than are read at once.
            audit::record_all(&mut tx, &(0..2_500).map(row).collect::<Vec<_>>()).await.unwrap();
            tx.commit().await.unwrap();

            let time = |n: u64| row(n).at.to_rfc3339();
            let (some, one, two) = (personal(3).to_string(), id::<bursar_id::kinds::User>(1), id::<bursar_id::kinds::User>(2));
            assert_eq!(printed(&db, &["--limit", "100000"]).await.0, those(|_| true));
            assert_eq!(printed(&db, &["--ownerless"]).await.0, those(|n| n.is_multiple_of(5)));
            assert_eq!(printed(&db, &["--owner", &some]).await.0, those(|n| n % 5 == 3));
            let by_one = printed(&db, &["--ownerless", "--actor", &one.to_string()]).await.0;
            assert_eq!(by_one, those(|n| n.is_multiple_of(10)));
            assert_eq!(printed(&db, &["--actor", &two.to_string()]).await.0, those(|n| n.is_multiple_of(3)));
            let between = printed(&db, &["--from", &time(1_200), "--to", &time(1_300), "--ownerless"]).await;
            assert_eq!(between.0, those(|n| n.is_multiple_of(5) && (1_200..1_300).contains(&n)));
            assert_eq!(between.1.last, None, "there is nothing behind them");

            // Pages lose and double nothing.
            let (mut all, mut after) = (Vec::new(), None::<String>);
            loop {
                let mut arguments = vec!["--ownerless", "--limit", "70", "--from", START];
                arguments.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
                let (numbers, printed) = printed(&db, &arguments).await;
                assert!(numbers.len() <= 70);
                all.extend(numbers);
                match printed.last {
                    Some(last) => after = Some(last.to_string()),
                    None => break,
                }
            }
            assert_eq!(all, those(|n| n.is_multiple_of(5)));
        }
    }

    #[test]
    fn a_line_has_everything_that_the_row_has() {
        let row = row(5);
        let expected = json!({
            "id": row.id.to_string(), "at": "2026-01-15T12:00:05Z", "owner": null, "actor": "svc_1",
            "on_behalf_of": null, "method": "a.B/C", "target": null, "outcome": "REFUSED", "reason": "NOT_FOUND",
            "request_id": "r5",
        });
        assert_eq!(line(&row), expected);
        assert_eq!(line(&AuditRow { owner: Some(personal(1)), ..row })["owner"], json!(personal(1).to_string()));
    }

    #[test]
    fn what_nothing_can_be_read_by_is_refused() {
        let owner = personal(1).to_string();
        for wrong in [
            &["--owner", "me"][..],
            &["--owner", owner.as_str(), "--ownerless"],
            &["--actor", "ada"],
            &["--actor", "prj_1"],
            &["--from", "yesterday"],
            &["--after", owner.as_str()],
            &["--limit", "0"],
            &["--limit", "100001"],
        ] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
        let right = asked(&["--owner", &owner, "--actor", &owner, "--from", START, "--limit", "100000"]);
        assert_eq!(right.unwrap().limit, 100_000);
    }
}
