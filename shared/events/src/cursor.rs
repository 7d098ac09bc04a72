//! The positions in one service's events, as others keep them: opaque to them, checked here.

use std::fmt;

use bursar_id::EventId;

/// A position in the events of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The incarnation in which the number was given out.
    pub(crate) incarnation: i64,
    /// The number of the last event seen; 0 before the first.
    pub(crate) seq: i64,
    /// That event's id, by which it is told from another one with its number. `None` before the first event, and when
    /// the event is not kept any more.
    pub(crate) event: Option<EventId>,
}

impl Cursor {
    /// The text that others keep: the service's name, incarnation, number and event, `organization-1-17-evt_…`.
    pub(crate) fn text(&self, source: &str) -> String {
        format!("{source}-{self}")
    }

    /// The position that a text names. `None` for what [`Cursor::text`] never said for this service.
    pub(crate) fn parse(source: &str, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(source)?.strip_prefix('-')?;
        let mut parts = rest.splitn(3, '-');
        let incarnation: i64 = parts.next()?.parse().ok()?;
        let seq: i64 = parts.next()?.parse().ok()?;
        let event = parts.next().map(EventId::parse).transpose().ok()?;
        let cursor = Self { incarnation, seq, event };
        // One spelling for each position: no sign, no leading zeros.
        let ours = incarnation > 0 && seq >= 0 && (seq > 0 || event.is_none()) && cursor.to_string() == rest;
        ours.then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation, self.seq)?;
        self.event.map_or(Ok(()), |event| write!(f, "-{event}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_cursors() {
        let event = Some(EventId::from_parts(5, [7; 10]));
        let samples = [(1, 0, None), (1, 17, event), (i64::MAX, i64::MAX, event)]
            .map(|(incarnation, seq, event)| Cursor { incarnation, seq, event }.text("billing"));
        bursar_fuzz::fuzz("cursors", &samples, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(cursor) = Cursor::parse("billing", &text) {
                assert_eq!(cursor.text("billing"), text, "two spellings of one position");
            }
        });
    }

    #[test]
    fn only_its_own_cursors_are_read() {
        let event = Some(EventId::from_parts(5, [7; 10]));
        let good = [(1, 0, None), (1, 17, event), (i64::MAX, i64::MAX, event), (2, 3, None)];
        for (incarnation, seq, event) in good {
            let cursor = Cursor { incarnation, seq, event };
            assert_eq!(Cursor::parse("billing", &cursor.text("billing")), Some(cursor));
        }
        for cursor in [
            "",
            "organization-1-1",
            "billing",
            "billing-",
            "billing-1",
            "billing-1-",
            "billing-0-1",
            "billing--1-1",
            "billing-1--1",
            "billing-+1-1",
            "billing-01-1",
            "billing-1-01",
            "billing-1-1 ",
            "billing-1-1-",
            "billing-1-1-evt_",
            "billing-1-1-usr_00000000000000000000000000",
            "billing-1-0-evt_00000000000000000000000000",
            "billing-1-9223372036854775808",
            "1",
            "x",
        ] {
            assert_eq!(Cursor::parse("billing", cursor), None, "{cursor:?}");
        }
    }
}
