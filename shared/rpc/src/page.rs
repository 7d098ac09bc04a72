//! Lists, page by page: sizes, opaque tokens, and tokens that fit only the arguments they came from.
//!
//! A token is a position, not a permission: whoever presents one is authorized like any caller.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::Problem;
use crate::problem::reason;

/// How many rows a page has when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// The most rows a page has; more is coerced to this.
pub const MAX_PAGE_SIZE: u32 = 1_000;

/// The longest token that is looked at; ours are far shorter.
const MAX_TOKEN_BYTES: usize = 2_048;

/// A digest of a list's other arguments, by which a token recognizes the list it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The digest of the list's name and its other arguments, in a fixed order. Lengths are part of
    /// it, so `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn of<'a>(list: &'a str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(list).chain(arguments) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut out = [0; 8];
        for (to, from) in out.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(out)
    }
}

/// Which page of a list is wanted; `K` is the key of a row (what the list is ordered by).
#[derive(Clone)]
pub struct PageRequest<K> {
    size: u32,
    after: Option<K>,
    fingerprint: Fingerprint,
}

/// One page: its rows, and the token of the next page (empty at the end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, at most as many as asked for.
    pub rows: Vec<T>,
    /// What to send for the next page; empty when this is the last.
    pub next_page_token: String,
}

impl<K: Serialize + DeserializeOwned> PageRequest<K> {
    /// Reads a list's `page_size` (0 means [`DEFAULT_PAGE_SIZE`], more than [`MAX_PAGE_SIZE`] is
    /// coerced, less than 0 refused) and `page_token` (refused with reason `PAGE_TOKEN_INVALID` unless
    /// it came from a page with the same fingerprint).
    pub fn parse(size: i32, token: &str, fingerprint: Fingerprint) -> Result<Self, Problem> {
        let size = match u32::try_from(size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => return Err(Problem::invalid_field("page_size", "must not be negative")),
        };
        let after = if token.is_empty() { None } else { Some(Self::read(token, fingerprint)?) };
        Ok(Self { size, after, fingerprint })
    }

    fn read(token: &str, fingerprint: Fingerprint) -> Result<K, Problem> {
        let invalid = |why| Problem::invalid_field("page_token", why).with_reason(reason::PAGE_TOKEN_INVALID);
        let garbled = "is no token of this service; leave it out to start from the beginning";
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid(garbled));
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid(garbled))?;
        let (print, key) = bytes.split_first_chunk::<8>().ok_or_else(|| invalid(garbled))?;
        if *print != fingerprint.0 {
            return Err(invalid("belongs to a list with other arguments"));
        }
        serde_json::from_slice(key).map_err(|_| invalid(garbled))
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
        let mut bytes = self.fingerprint.0.to_vec();
        serde_json::to_writer(&mut bytes, last).map_err(|error| Problem::internal(&error))?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Makes the page out of up to [`Self::limit`] rows in the list's order.
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl FnOnce(&T) -> K) -> Result<Page<T>, Problem> {
        let size = self.size as usize;
        if rows.len() <= size {
            return Ok(Page { rows, next_page_token: String::new() });
        }
        rows.truncate(size);
        let next_page_token = match rows.last() {
            Some(last) => self.token(&key(last))?,
            None => String::new(),
        };
        Ok(Page { rows, next_page_token })
    }
}

impl<T> Page<T> {
    /// The same page with each row turned into something else (for example its message).
    pub fn map<U>(self, to: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(to).collect(), next_page_token: self.next_page_token }
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

    fn ours() -> Fingerprint {
        Fingerprint::of("ListLots", ["usr_1", "x"])
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

    #[test]
    fn a_token_fits_only_the_list_it_came_from() {
        let token = request(3, "").expect("first").token(&(7, "k".to_owned())).expect("token");
        assert!(request(9, &token).is_ok(), "the page size may change between pages");
        let foreign = Fingerprint::of("ListLots", ["usr_2", "x"]);
        let table = [
            PageRequest::<(i64, String)>::parse(3, &token, foreign).map(|_| ()),
            PageRequest::<String>::parse(3, &token, ours()).map(|_| ()),
            request(3, "%%%").map(|_| ()),
            request(3, "AAAA").map(|_| ()),
            request(3, &token[..token.len() - 4]).map(|_| ()),
            request(3, &"A".repeat(5_000)).map(|_| ()),
        ];
        for (case, result) in table.into_iter().enumerate() {
            let problem = result.expect_err("refused");
            assert_eq!(problem.reason(), reason::PAGE_TOKEN_INVALID, "case {case}");
            assert_eq!(problem.fields()[0].0, "page_token", "case {case}");
        }
    }

    #[test]
    fn fingerprints_tell_boundaries_apart() {
        assert_ne!(Fingerprint::of("L", ["ab", "c"]), Fingerprint::of("L", ["a", "bc"]));
        assert_ne!(Fingerprint::of("L", []), Fingerprint::of("L", [""]));
    }
}
