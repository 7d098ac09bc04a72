//! Lists, page by page: sizes, opaque tokens, and tokens that fit only the arguments they came from.
//!
//! A token is a position, not a permission: whoever presents one is authorized like any caller.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bursar_secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::problem::reason;
use crate::{MAX_MESSAGE, Problem};

/// How many rows a page has when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// The most rows a page has; more is coerced to this.
pub const MAX_PAGE_SIZE: u32 = 1_000;
/// The most bytes that a page's rows have: what a message takes, less room for what stands beside them.
pub const MAX_PAGE_BYTES: usize = MAX_MESSAGE - 64 * 1024;

/// The longest token that is looked at; ours are far shorter.
const MAX_TOKEN_BYTES: usize = 2_048;
/// Bytes of a token's print: enough that nobody finds one that fits.
const PRINT_BYTES: usize = 16;
/// What a row costs beside its own bytes: its field's number and its length.
const ROW_OVERHEAD: usize = 6;

type Print = Hmac<Sha256>;

/// The key by which a service knows the page tokens that it gave. All replicas have the same one, and no other
/// installation has it.
#[derive(Clone)]
pub struct PageKey(Arc<Secret<[u8; 32]>>);

impl PageKey {
    /// With these bytes; see `Sealer::derive`.
    pub fn new(key: Secret<[u8; 32]>) -> Self {
        Self(Arc::new(key))
    }

    /// The list of this name with these other arguments, in a fixed order: tokens of one list are none of another.
    /// Lengths are part of it, so `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn list<'a>(&self, list: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> ListKey {
        let mut print = print(self.0.expose());
        for part in std::iter::once(list).chain(arguments) {
            print.update(&(part.len() as u64).to_be_bytes());
            print.update(part.as_bytes());
        }
        ListKey(Secret::new(print.finalize().into_bytes().into()))
    }
}

impl fmt::Debug for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageKey([redacted])")
    }
}

fn print(key: &[u8; 32]) -> Print {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let print = Print::new_from_slice(key).expect("a key");
    print
}

/// The key of the tokens of one list with its arguments.
#[derive(Clone, Debug)]
pub struct ListKey(Secret<[u8; 32]>);

impl ListKey {
    fn token(&self, position: &[u8]) -> String {
        let print = print(self.0.expose()).chain_update(position).finalize().into_bytes();
        let mut bytes = print.get(..PRINT_BYTES).unwrap_or_default().to_vec();
        bytes.extend_from_slice(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a token of this list; `None` for every other text.
    fn position(&self, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (given, position) = bytes.split_first_chunk::<PRINT_BYTES>()?;
        print(self.0.expose()).chain_update(position).verify_truncated_left(given).ok()?;
        Some(position.to_vec())
    }
}

/// Which page of a list is wanted; `K` is the key of a row (what the list is ordered by).
#[derive(Clone)]
pub struct PageRequest<K> {
    size: u32,
    after: Option<K>,
    list: ListKey,
}

/// One page: its rows, and the token of the next page (empty at the end).
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows, at most as many as asked for.
    pub rows: Vec<T>,
    /// What to send for the next page; empty when this is the last.
    pub next_page_token: String,
    /// Where each row stands in the list, for cutting the page short.
    cuts: Option<Cuts>,
}

#[derive(Clone, Debug)]
struct Cuts {
    list: ListKey,
    positions: Vec<Vec<u8>>,
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads a list's `page_size` (0 means [`DEFAULT_PAGE_SIZE`], more than [`MAX_PAGE_SIZE`] is
    /// coerced, less than 0 refused) and `page_token` (refused with reason `PAGE_TOKEN_INVALID` unless
    /// it came from a page of the same list).
    pub fn parse(size: i32, token: &str, list: ListKey) -> Result<Self, Problem> {
        let size = match u32::try_from(size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => return Err(Problem::invalid_field("page_size", "must not be negative")),
        };
        if token.is_empty() {
            return Ok(Self { size, after: None, list });
        }
        let position = list.position(token).ok_or_else(token_invalid)?;
        // A release may order a list by something else.
        let after = serde_json::from_slice(&position).map_err(|_| token_invalid())?;
        Ok(Self { size, after: Some(after), list })
    }

    /// How many rows the page has at most.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How many rows to read: one more than the page has, which tells whether there is a next one.
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// The key of the last row of the page before; `None` for the first page.
    pub fn after(&self) -> Option<&K> {
        self.after.as_ref()
    }

    /// The token of the page that follows the row with this key.
    pub fn token(&self, last: &K) -> Result<String, Problem> {
        Ok(self.list.token(&position(last)?))
    }

    /// Makes the page out of up to [`Self::limit`] rows in the list's order.
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Result<Page<T>, Problem> {
        let size = self.size as usize;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(&key);
        self.page_before(rows, key, next)
    }

    /// Makes the page out of up to [`Self::limit`] rows of those that were looked at; `edge` is the last of these, where there
    /// may be more behind it. The page may be short, even empty, and still not be the last.
    pub fn page_within<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> K, edge: Option<K>) -> Result<Page<T>, Problem> {
        if rows.len() > self.size as usize { self.page(rows, key) } else { self.page_before(rows, key, edge) }
    }

    /// Makes the page out of its rows and the key after which the next one begins, if there is one.
    pub fn page_before<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> K, next: Option<K>) -> Result<Page<T>, Problem> {
        let next_page_token = next.map(|next| self.token(&next)).transpose()?.unwrap_or_default();
        let positions = rows.iter().map(|row| position(&key(row))).collect::<Result<_, _>>()?;
        let cuts = Some(Cuts { list: self.list.clone(), positions });
        Ok(Page { rows, next_page_token, cuts })
    }
}

fn position<K: Serialize>(key: &K) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(key).map_err(|error| Problem::internal(&error))
}

/// `INVALID_ARGUMENT` with reason `PAGE_TOKEN_INVALID`: no page of the list that was asked for gave this token.
pub fn token_invalid() -> Problem {
    Problem::invalid_field("page_token", "is no token that this list gave; leave it out to start from the beginning")
        .with_reason(reason::PAGE_TOKEN_INVALID)
}

/// As many of these messages as fit into one answer ([`MAX_PAGE_BYTES`]), for an answer that has no pages.
pub fn fitting<M: prost::Message>(messages: impl IntoIterator<Item = M>) -> Vec<M> {
    let mut bytes = 0;
    let fits = |message: &M| {
        bytes += message.encoded_len() + ROW_OVERHEAD;
        bytes <= MAX_PAGE_BYTES
    };
    messages.into_iter().take_while(fits).collect()
}

impl<T> Page<T> {
    /// A page of somebody else's list, whose rows have no positions that are known here: it is never cut.
    pub fn foreign(rows: Vec<T>, next_page_token: String) -> Self {
        Self { rows, next_page_token, cuts: None }
    }

    /// The same page with each row turned into something else.
    pub fn map<U>(self, to: impl FnMut(T) -> U) -> Page<U> {
        let rows = self.rows.into_iter().map(to).collect();
        Page { rows, next_page_token: self.next_page_token, cuts: self.cuts }
    }

    /// The same, where a row may turn out to be none.
    pub fn try_map<U, E>(self, to: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let rows = self.rows.into_iter().map(to).collect::<Result<_, E>>()?;
        Ok(Page { rows, next_page_token: self.next_page_token, cuts: self.cuts })
    }

    /// The same page without the rows that are not to be shown; it may be empty and still not the last.
    #[must_use]
    pub fn only(self, mut shown: impl FnMut(&T) -> bool) -> Self {
        let mut cuts = self.cuts;
        let keep: Vec<bool> = self.rows.iter().map(&mut shown).collect();
        let mut kept = keep.iter().copied();
        let rows = self.rows.into_iter().filter(|_| kept.next().unwrap_or_default()).collect();
        if let Some(cuts) = &mut cuts {
            let mut kept = keep.iter().copied();
            cuts.positions.retain(|_| kept.next().unwrap_or_default());
        }
        Self { rows, next_page_token: self.next_page_token, cuts }
    }

    /// The page as messages: as many of its rows as fit into one answer ([`MAX_PAGE_BYTES`]), and the token of what
    /// follows them. At least one, so that whoever goes on gets on.
    pub fn messages<M: prost::Message>(self, mut to: impl FnMut(T) -> M) -> Page<M> {
        let (mut rows, mut bytes) = (Vec::with_capacity(self.rows.len()), 0);
        for row in self.rows {
            let message = to(row);
            bytes += message.encoded_len() + ROW_OVERHEAD;
            let cut = rows.len().checked_sub(1).filter(|_| bytes > MAX_PAGE_BYTES);
            let cuts = self.cuts.as_ref();
            if let Some((cuts, position)) = cuts.and_then(|cuts| Some((cuts, cuts.positions.get(cut?)?))) {
                return Page { rows, next_page_token: cuts.list.token(position), cuts: None };
            }
            rows.push(message);
        }
        Page { rows, next_page_token: self.next_page_token, cuts: None }
    }
}

impl<K: fmt::Debug> fmt::Debug for PageRequest<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRequest").field("size", &self.size).field("after", &self.after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PageKey {
        PageKey::new(Secret::new([byte; 32]))
    }

    fn ours() -> ListKey {
        key(1).list("ListLots", ["usr_1", "x"])
    }

    fn request(size: i32, token: &str) -> Result<PageRequest<(i64, String)>, Problem> {
        PageRequest::parse(size, token, ours())
    }

    #[test]
    fn sizes_have_a_default_and_a_cap() {
        for (asked, given) in [(0, Some(50)), (1, Some(1)), (1000, Some(1000)), (1001, Some(1000)), (-1, None)] {
            assert_eq!(request(asked, "").ok().map(|page| page.size()), given, "page_size {asked}");
        }
    }

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let all: Vec<(i64, String)> = (0..7).map(|n| (n, format!("row {n}"))).collect();
        let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let wanted = request(3, &token).expect("a token of ours");
            let limit = usize::try_from(wanted.limit()).expect("small");
            let rows = all.iter().filter(|row| wanted.after().is_none_or(|after| *row > after));
            let page = wanted.page(rows.take(limit).cloned().collect(), Clone::clone).expect("page");
            pages += 1;
            seen.extend(page.rows);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 3));
    }

    /// Pages of up to 1,000 rows, of which the odd ones are shown, each larger than the one before.
    #[test]
    fn pages_are_cut_by_bytes_and_go_on_where_they_were_cut() {
        let all: Vec<(i64, String)> =
            (0..40).map(|n| (n, "x".repeat(12_000 * usize::try_from(n).unwrap_or(0)))).collect();
        let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let wanted: PageRequest<i64> = PageRequest::parse(1_000, &token, ours()).expect("a token of ours");
            let rows = all.iter().filter(|row| wanted.after().is_none_or(|after| row.0 > *after)).collect();
            let page = wanted.page(rows, |row| row.0).expect("page").only(|row| row.0 % 2 == 1);
            let page = page.messages(|row| row.1.clone());
            let bytes: usize = page.rows.iter().map(|row| prost::Message::encoded_len(row) + 6).sum();
            assert!(bytes <= MAX_PAGE_BYTES, "{bytes}");
            pages += 1;
            seen.extend(page.rows.iter().map(String::len));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let shown: Vec<usize> = all.iter().filter(|row| row.0 % 2 == 1).map(|row| row.1.len()).collect();
        assert_eq!((seen, pages), (shown, 2));
        let huge: PageRequest<i64> = PageRequest::parse(2, "", ours()).expect("a first page");
        let page =
            huge.page(vec![(1, 9_000_000), (2, 1)], |row| row.0).expect("page").messages(|row| "x".repeat(row.1));
        assert_eq!(page.rows.len(), 1, "one at least");
        assert!(!page.next_page_token.is_empty());
    }

    #[test]
    fn a_token_fits_only_the_list_that_gave_it() {
        let token = request(3, "").expect("first").token(&(7, "k".to_owned())).expect("token");
        assert!(request(9, &token).is_ok(), "the page size may change between pages");
        let foreign = key(1).list("ListLots", ["usr_2", "x"]);
        let elsewhere = key(2).list("ListLots", ["usr_1", "x"]);
        // Another position under the print of this one, and a print of nobody's.
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        let crafted = [[0; PRINT_BYTES].as_slice(), br#"[7,"k"]"#].concat();
        bytes[PRINT_BYTES + 1] = b'8';
        let moved = URL_SAFE_NO_PAD.encode(bytes);
        let table = [
            PageRequest::<(i64, String)>::parse(3, &token, foreign).map(|_| ()),
            PageRequest::<(i64, String)>::parse(3, &token, elsewhere).map(|_| ()),
            PageRequest::<String>::parse(3, &token, ours()).map(|_| ()),
            request(3, "%%%").map(|_| ()),
            request(3, "AAAA").map(|_| ()),
            request(3, &token[..token.len() - 4]).map(|_| ()),
            request(3, &moved).map(|_| ()),
            request(3, &URL_SAFE_NO_PAD.encode(crafted)).map(|_| ()),
            request(3, &"A".repeat(5_000)).map(|_| ()),
        ];
        for (case, result) in table.into_iter().enumerate() {
            let problem = result.expect_err("refused");
            assert_eq!(problem.reason(), reason::PAGE_TOKEN_INVALID, "case {case}");
            assert_eq!(problem.fields()[0].0, "page_token", "case {case}");
        }
    }

    #[test]
    fn lists_tell_boundaries_apart_and_keys_do_not_show() {
        let key = key(1);
        let token = |list: ListKey| list.token(b"1");
        assert_ne!(token(key.list("L", ["ab", "c"])), token(key.list("L", ["a", "bc"])));
        assert_ne!(token(key.list("L", [])), token(key.list("L", [""])));
        assert_eq!(format!("{key:?} {:?}", key.list("L", [])), "PageKey([redacted]) ListKey([redacted])");
    }
}
