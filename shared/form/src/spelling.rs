//! Which key was meant by a misspelt one.

/// The longest key that may be a misspelt one.
const LONGEST_KEY: usize = 64;

/// Keys that are shorter than this are told apart by two characters.
const SHORT: usize = 4;

/// The one of these keys that another one is a misspelt one of, if it is near enough.
pub(crate) fn nearest<'a>(key: &str, missing: &[&'a str]) -> Option<&'a str> {
    if key.len() > LONGEST_KEY {
        return None;
    }
    let far = missing.iter().map(|it| (distance(key, it), *it));
    let near = far.filter(|(far, it)| *far <= if it.len() < SHORT { 1 } else { 2 });
    near.min().map(|(_, it)| it)
}

/// How many characters have to be changed, added or removed to make the one of the other: their Levenshtein distance.
pub fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (done, from) in one.chars().enumerate() {
        let (mut left, mut above_left) = (done + 1, done);
        let mut next = vec![left];
        for (to, above) in other.chars().zip(row.iter().skip(1)) {
            left = (above_left + usize::from(from != to)).min(left + 1).min(above + 1);
            above_left = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("ab", "abc", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn one_that_is_near_was_meant() {
        let cases: [(&str, &[&str], Option<&str>); 9] = [
            ("nmae", &["name", "price"], Some("name")),
            ("seat", &["seats"], Some("seats")),
            ("seatprice", &["seats", "seat_price"], Some("seat_price")),
            ("di", &["id"], None),
            ("i", &["id"], Some("id")),
            ("people", &["seats"], None),
            ("", &["id"], None),
            ("name", &[], None),
            ("parents", &["patents", "parent"], Some("parent")),
        ];
        for (key, missing, meant) in cases {
            assert_eq!(nearest(key, missing), meant, "{key}");
        }
        assert_eq!(nearest(&"n".repeat(LONGEST_KEY + 1), &["name"]), None, "no work is done for it");
    }
}
