//! A report as comma-separated values, made while it is taken: whoever takes nothing holds nothing, neither a connection
//! nor a place.

use bursar_id::OwnerId;
use bursar_rpc::Caller;
use bytes::Bytes;
use futures::{Stream, stream};

use super::reading::Found;
use super::{Interval, Position, ReportKey, ReportLine, ReportQuery, ReportUseCases};
use crate::domain::Total;
use crate::error::Error;

/// How many lines a chunk has at most.
const LINES: usize = 1_000;

/// The first line.
const HEADER: [&str; 10] =
    ["interval_start", "member", "project", "model", "meter", "quantity", "charged", "refunded", "net", "count"];

impl ReportUseCases {
    /// The whole report in chunks of whole lines. Each is asked for anew: whoever lost the right meanwhile gets no more.
    pub(crate) fn export(
        self,
        caller: Caller,
        owner: OwnerId,
        query: ReportQuery,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        let begin = Some((None::<Position>, true));
        stream::try_unfold((self, caller, query, begin), move |(reports, caller, query, mut begin)| async move {
            while let Some((after, first)) = begin {
                if !first {
                    reports.access.to(&caller, owner).await?;
                    reports.admit(&caller, owner, &query).await?;
                }
                let Found { lines, next, .. } = reports.lines(&caller, owner, (&query, after.as_ref()), LINES).await?;
                let last = lines.last().filter(|_| lines.len() == LINES).map(|(key, _)| Position::after(key));
                begin = next.or(last).map(|after| (Some(after), false));
                let chunk = write(query.interval, first, &lines)?;
                // As many rows as one part may read may have no line.
                if !chunk.is_empty() {
                    return Ok(Some((chunk, (reports, caller, query, begin))));
                }
            }
            Ok(None)
        })
    }
}

/// These lines, and the header before the first.
fn write(interval: Interval, first: bool, lines: &[(ReportKey, ReportLine)]) -> Result<Bytes, Error> {
    // RFC 4180: lines end with CRLF, and what has a comma, a quote or a line's end in it is quoted.
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if first {
        csv.write_record(HEADER).map_err(|_| Error::Failed)?;
    }
    for (key, line) in lines {
        csv.write_record(record(interval, key, line)).map_err(|_| Error::Failed)?;
    }
    Ok(csv.into_inner().map_err(|_| Error::Failed)?.into())
}

fn record(interval: Interval, key: &ReportKey, line: &ReportLine) -> [String; 10] {
    let start = if interval == Interval::Whole { String::new() } else { key.starts_at.to_rfc3339() };
    let [member, project, model, meter] = [&key.member, &key.project, &key.model, &key.meter].map(|it| harmless(it));
    let (quantity, charged, refunded, net, count) = match line {
        ReportLine::Usage(it) => (
            String::new(),
            Total(it.charged).to_string(),
            Total(it.refunded).to_string(),
            Total(it.net()).to_string(),
            it.charges.to_string(),
        ),
        ReportLine::Meter(it) => {
            let nothing = String::new;
            (Total(it.quantity).to_string(), Total(it.charged).to_string(), nothing(), nothing(), nothing())
        }
    };
    [start, member, project, model, meter, quantity, charged, refunded, net, count]
}

/// What a spreadsheet takes for the beginning of a formula, in both widths.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// What some spreadsheet takes for the end of a cell, whatever the file says, or for the end of a text.
const SEPARATORS: [char; 5] = [',', ';', '|', '"', '\''];

/// A name as a spreadsheet may have it: neither it nor what comes after a separator in it begins a formula (OWASP, CSV
/// Injection). An apostrophe before it makes it a text. Control characters are in no name.
fn harmless(name: &str) -> String {
    let (mut text, mut begins) = (String::with_capacity(name.len()), true);
    for c in name.chars() {
        if begins && FORMULA.contains(&c) {
            text.push('\'');
        }
        begins = SEPARATORS.contains(&c) || (begins && c.is_whitespace());
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use bursar_time::Timestamp;

    use super::*;
    use crate::domain::{MeterTotals, UsageTotals};

    fn key(project: &str, meter: &str) -> ReportKey {
        let starts_at = "2026-01-15T12:00:00Z".parse::<Timestamp>().unwrap();
        let (project, meter) = (project.to_owned(), meter.to_owned());
        ReportKey { starts_at, member: String::new(), project, model: "veo".to_owned(), meter }
    }

    fn text(interval: Interval, first: bool, lines: &[(ReportKey, ReportLine)]) -> String {
        String::from_utf8(write(interval, first, lines).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn lines_are_those_of_rfc_4180() {
        let used = ReportLine::Usage(UsageTotals { charged: 1_500_000, refunded: 2_000_000, charges: 3 });
        let counted = ReportLine::Meter(MeterTotals { quantity: 7_000_000, charged: 1 });
        let header = "interval_start,member,project,model,meter,quantity,charged,refunded,net,count\r\n";
        assert_eq!(text(Interval::Day, true, &[]), header);
        let lines = [(key("a, \"b\"", ""), used)];
        let line = "2026-01-15T12:00:00Z,,\"a, \"\"b\"\"\",veo,,,1.5,2,-0.5,3\r\n";
        assert_eq!(text(Interval::Day, true, &lines), format!("{header}{line}"));
        assert_eq!(text(Interval::Whole, false, &[(key("", "seconds"), counted)]), ",,,veo,seconds,7,0.000001,,,\r\n");
    }

    #[test]
    fn no_name_begins_a_formula() {
        for (name, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            (" =1", " '=1"),
            ("＝1＋1", "'＝1＋1"),
            ("＠sum", "'＠sum"),
            ("film", "film"),
            ("a-b = c", "a-b = c"),
            ("", ""),
        ] {
            assert_eq!(harmless(name), written);
        }
        let used = ReportLine::Usage(UsageTotals { charged: 1, refunded: 0, charges: 1 });
        for name in
            ["x;=1+1", "x; =1+1", "x,=1", "x|@sum", "x;\"=1", "x\";+1", ";;-1", "x;＝1", "x;=cmd|'/C calc'!A0", "';=1"]
        {
            let line = text(Interval::Whole, false, &[(key(name, ""), used)]);
            for cell in line.split([',', ';', '|', '\t', '"']) {
                let begins = cell.trim_start().starts_with(FORMULA);
                assert!(!begins, "{name}: {cell:?} in {line:?}");
            }
        }
    }
}
