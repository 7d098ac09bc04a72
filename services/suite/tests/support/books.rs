//! The books of one account, read over the API as the operator may, and what must hold of them at any time.

use std::collections::BTreeMap;

use bursar_money::Credits;
use bursar_proto::billing::v1::{
    EntryKind, GetBalanceRequest, GroupBy, LedgerEntry, ListLedgerEntriesRequest, ListLotsRequest, Lot,
    QueryUsageRequest, VerifyLedgerRequest,
};
use bursar_rpc::convert::to_timestamp;
use bursar_testkit::Client;
use bursar_time::{Clock, Span};

use super::given;

/// What an account's books say.
#[derive(Debug)]
pub(crate) struct Books {
    /// What could be spent.
    pub(crate) available: Credits,
    /// Every entry, in order.
    pub(crate) entries: Vec<LedgerEntry>,
    /// Net usage of each member.
    pub(crate) usage: BTreeMap<String, Credits>,
}

impl Books {
    /// Reads everything about an account that is at rest, and checks that it agrees with itself: the ledger with
    /// its own hashes, with the balance, with the lots and with the usage.
    pub(crate) async fn audit(operator: &Client, owner: &str) -> Self {
        let request = VerifyLedgerRequest { owner: owner.to_owned() };
        let verdict = given(operator.accounts().verify_ledger(request).await);
        assert!(verdict.valid, "{owner}: the ledger is bad at {:?}", verdict.first_bad);
        let request = GetBalanceRequest { owner: owner.to_owned(), ..Default::default() };
        let balance = given(operator.accounts().get_balance(request).await);
        let books = Self {
            available: credits(&balance.available),
            entries: entries(operator, owner).await,
            usage: usage(operator, owner).await,
        };
        assert_eq!(verdict.entries, books.entries.len() as u64, "{owner}: entries read and entries verified");
        books.entries_agree(owner);
        books.lots_agree(&lots(operator, owner).await, credits(&balance.held));
        let used = Credits::checked_sum(books.usage.values().copied());
        assert_eq!(used, Some(books.net()), "{owner}: the members' usage against the net charges");
        books
    }

    /// Charges less refunds.
    pub(crate) fn net(&self) -> Credits {
        let sum = |kinds: &[EntryKind]| {
            let of = self.entries.iter().filter(|entry| kinds.contains(&entry.kind()));
            Credits::checked_sum(of.map(size)).expect("a sum of credits")
        };
        sum(&[EntryKind::Charge, EntryKind::Capture]).saturating_sub(sum(&[EntryKind::Refund]))
    }

    /// The charges by their request id, which every one of them must have.
    ///
    /// # Panics
    /// When two have the same.
    pub(crate) fn charges(&self) -> BTreeMap<&str, &LedgerEntry> {
        let mut charges = BTreeMap::new();
        for entry in self.of(EntryKind::Charge) {
            let before = charges.insert(entry.request_id.as_str(), entry);
            assert!(before.is_none(), "{} was charged twice: {before:#?} and {entry:#?}", entry.request_id);
        }
        charges
    }

    /// The entries of a kind.
    pub(crate) fn of(&self, kind: EntryKind) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.iter().filter(move |entry| entry.kind() == kind)
    }

    /// Numbered without gaps, and the last one has today's balance.
    fn entries_agree(&self, owner: &str) {
        for (number, entry) in (1..).zip(&self.entries) {
            assert_eq!(entry.seq, number, "{owner}: a gap before {entry:#?}");
        }
        let last = self.entries.last().map_or(Credits::ZERO, |entry| credits(&entry.available_after));
        assert_eq!(self.available, last, "{owner}: the balance against the ledger's");
    }

    /// granted = spent + remaining + held + expired + voided, and they add up to the balance.
    fn lots_agree(&self, lots: &[Lot], held: Credits) {
        let mut left = Vec::new();
        let mut earmarked = Vec::new();
        for lot in lots {
            let parts = [&lot.spent, &lot.remaining, &lot.held, &lot.expired, &lot.voided];
            let sum = Credits::checked_sum(parts.map(|part| credits(part)));
            assert_eq!(sum, Some(credits(&lot.granted)), "the parts of {lot:#?}");
            left.push(credits(&lot.remaining));
            earmarked.push(credits(&lot.held));
        }
        assert_eq!(Credits::checked_sum(left), Some(self.available), "what is left in the lots: {lots:#?}");
        assert_eq!(Credits::checked_sum(earmarked), Some(held), "what is held of the lots: {lots:#?}");
    }
}

/// Credits as the API spells them.
pub(crate) fn credits(text: &str) -> Credits {
    bursar_testkit::credits(text)
}

/// An entry's amount without its sign.
pub(crate) fn size(entry: &LedgerEntry) -> Credits {
    credits(entry.amount.trim_start_matches(['+', '-', '\u{2212}']))
}

async fn entries(operator: &Client, owner: &str) -> Vec<LedgerEntry> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListLedgerEntriesRequest {
            owner: owner.to_owned(),
            page_size: 1_000,
            page_token,
            ..ListLedgerEntriesRequest::default()
        };
        let page = given(operator.accounts().list_ledger_entries(request).await);
        all.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

async fn lots(operator: &Client, owner: &str) -> Vec<Lot> {
    let request = ListLotsRequest { owner: owner.to_owned(), page_size: 1_000, ..ListLotsRequest::default() };
    let page = given(operator.accounts().list_lots(request).await);
    assert_eq!(page.next_page_token, "", "a test account has few lots");
    page.lots
}

async fn usage(operator: &Client, owner: &str) -> BTreeMap<String, Credits> {
    let now = Clock::system().now();
    let request = QueryUsageRequest {
        owner: owner.to_owned(),
        from: Some(to_timestamp(now.saturating_sub(Span::DAY))),
        to: Some(to_timestamp(now.saturating_add(Span::DAY))),
        group_by: vec![GroupBy::Member.into()],
        page_size: 1_000,
        ..QueryUsageRequest::default()
    };
    let report = given(operator.usage().query_usage(request).await);
    report.rows.into_iter().map(|row| (row.member, credits(&row.net))).collect()
}
