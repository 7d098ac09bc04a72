//! Two lists of rows side by side, each in the order of its keys and read a page at a time: whatever stands in one of them or
//! in both is met once, under its key. Neither is held whole.

use std::iter::Peekable;
use std::ops::ControlFlow;
use std::vec;

/// Meets every row of `left` and of `right` in the order of the keys, those with the same key together, until `met` breaks
/// off. A list is read by the rows that come after a key, the first ones after none; it ends where none come. Its keys must
/// come in their order, and none twice.
pub(super) async fn side_by_side<K: Ord + Copy, A, B>(
    left: impl AsyncFnMut(Option<K>) -> anyhow::Result<Vec<(K, A)>>,
    right: impl AsyncFnMut(Option<K>) -> anyhow::Result<Vec<(K, B)>>,
    mut met: impl FnMut(K, Option<A>, Option<B>) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let (mut left, mut right) = (Side::of(left), Side::of(right));
    loop {
        let key = match (left.next_key().await?, right.next_key().await?) {
            (Some(left), Some(right)) => left.min(right),
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => return Ok(()),
        };
        if met(key, left.take(key), right.take(key)).is_break() {
            return Ok(());
        }
    }
}

/// One of the two lists: the page at hand, and how to read the next one.
struct Side<K, V, R> {
    read: R,
    page: Peekable<vec::IntoIter<(K, V)>>,
    /// The last key of the page.
    last: Option<K>,
    ends: bool,
}

impl<K: Ord + Copy, V, R: AsyncFnMut(Option<K>) -> anyhow::Result<Vec<(K, V)>>> Side<K, V, R> {
    fn of(read: R) -> Self {
        Self { read, page: Vec::new().into_iter().peekable(), last: None, ends: false }
    }

    async fn next_key(&mut self) -> anyhow::Result<Option<K>> {
        if self.page.peek().is_none() && !self.ends {
            let page = (self.read)(self.last).await?;
            match page.last() {
                Some((key, _)) => self.last = Some(*key),
                None => self.ends = true,
            }
            self.page = page.into_iter().peekable();
        }
        Ok(self.page.peek().map(|(key, _)| *key))
    }

    /// What stands under this key, if that is the next one.
    fn take(&mut self, key: K) -> Option<V> {
        self.page.next_if(|(next, _)| *next == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Met = Vec<(u32, Option<char>, Option<bool>)>;

    /// Two rows in a page.
    fn page<V: Copy>(rows: &[(u32, V)], after: Option<u32>) -> Vec<(u32, V)> {
        rows.iter().filter(|(key, _)| after.is_none_or(|after| *key > after)).take(2).copied().collect()
    }

    async fn meet(left: &[(u32, char)], right: &[(u32, bool)], most: usize) -> Met {
        let mut all = Vec::new();
        let met = |key, left, right| {
            all.push((key, left, right));
            if all.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let outcome = side_by_side(async |after| Ok(page(left, after)), async |after| Ok(page(right, after)), met);
        outcome.await.expect("nothing fails");
        all
    }

    #[tokio::test]
    async fn each_row_is_met_once_beside_the_one_with_its_key_whatever_page_it_is_on() {
        let left = [(1, 'a'), (2, 'b'), (5, 'c'), (6, 'd'), (9, 'e')];
        let right = [(2, true), (3, true), (4, false), (6, false), (7, true), (8, true), (9, false)];
        let all = [
            (1, Some('a'), None),
            (2, Some('b'), Some(true)),
            (3, None, Some(true)),
            (4, None, Some(false)),
            (5, Some('c'), None),
            (6, Some('d'), Some(false)),
            (7, None, Some(true)),
            (8, None, Some(true)),
            (9, Some('e'), Some(false)),
        ];
        assert_eq!(meet(&left, &right, 100).await, all);
        assert_eq!(meet(&left, &right, 4).await, all[..4], "broken off");
        assert_eq!(meet(&[], &[], 100).await, []);
        assert_eq!(meet(&left[..1], &[], 100).await, [(1, Some('a'), None)]);
        assert_eq!(meet(&[], &right[..3], 100).await, [2, 3, 4].map(|key| (key, None, Some(key < 4))));
    }

    #[tokio::test]
    async fn a_list_that_cannot_be_read_is_no_list() {
        let unreadable = async |_: Option<u32>| -> anyhow::Result<Vec<(u32, char)>> { anyhow::bail!("gone") };
        let met = |_: u32, _: Option<char>, _: Option<char>| ControlFlow::Continue(());
        let none = async |_: Option<u32>| Ok(Vec::new());
        assert!(side_by_side(none, unreadable, met).await.is_err());
    }
}
