//! Many rows in one statement on SQLite, which has no arrays.
//!
//! A statement is written for one row, `… VALUES (?, ?, ?) …`; its group of parameters is repeated for
//! as many rows as are sent at once. There are only a few such numbers, so that the prepared
//! statements are found again.

/// The numbers of rows sent at once. SQLite takes 32,766 parameters, enough for 256 rows of any table here.
const SIZES: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Cuts rows into parts of these sizes, largest first.
pub(crate) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

/// The statement for `rows` rows. One that has no group of parameters stays as it is, which a test refuses.
pub(crate) fn for_rows(statement: &str, rows: usize) -> String {
    let Some((group, rest)) = statement
        .split_once("VALUES ")
        .and_then(|(head, tail)| Some((head, tail.split_once(')')?)))
        .map(|(head, (group, tail))| ((head, group), tail))
    else {
        return statement.to_owned();
    };
    let (head, group) = group;
    let mut text = String::with_capacity(statement.len() + rows * (group.len() + 3));
    text.push_str(head);
    text.push_str("VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "" } else { ", " });
        text.push_str(group);
        text.push(')');
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_repeats_its_group() {
        let text = "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT (a) DO NOTHING";
        assert_eq!(for_rows(text, 1), text);
        assert_eq!(for_rows(text, 3), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?) ON CONFLICT (a) DO NOTHING");
    }

    #[test]
    fn parts_are_all_rows_in_order_and_few() {
        for rows in [0, 1, 3, 5, 63, 256, 1_000, 1_023] {
            let rows: Vec<usize> = (0..rows).collect();
            let parts: Vec<_> = parts(&rows).collect();
            assert_eq!(parts.concat(), rows);
            assert!(parts.iter().all(|part| SIZES.contains(&part.len())));
            assert!(parts.len() <= 11, "{} parts for {} rows", parts.len(), rows.len());
        }
    }
}
