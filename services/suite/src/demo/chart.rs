//! A horizontal bar chart for the terminal, in integers only.

use std::fmt::Write as _;

use bursar_money::Credits;

/// Blocks of one to seven eighths of a column.
const PARTS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// One bar.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) amount: Credits,
}

/// One line for each bar: its name, the bar (the longest is `columns` wide), the amount and its share.
pub(super) fn chart(bars: &[Bar], columns: u32) -> String {
    let longest = bars.iter().map(|bar| bar.amount).max().unwrap_or(Credits::ZERO);
    let sum: i128 = bars.iter().map(|bar| i128::from(bar.amount.micro())).sum();
    let names = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
    let amounts = bars.iter().map(|bar| bar.amount.to_string().len()).max().unwrap_or(0);
    let mut text = String::new();
    for Bar { name, amount } in bars {
        let drawn = draw(*amount, longest, columns);
        let room = " ".repeat((columns as usize).saturating_sub(drawn.chars().count()));
        let tenths = per_mille(*amount, sum);
        let _ = writeln!(
            text,
            "     {name:<names$}  {drawn}{room}  {:>amounts$}  {:>3}.{} %",
            amount.to_string(),
            tenths / 10,
            tenths % 10
        );
    }
    text
}

/// The bar itself, to an eighth of a column. Whatever is more than nothing is seen.
fn draw(amount: Credits, longest: Credits, columns: u32) -> String {
    if amount.is_zero() || longest.is_zero() {
        return String::new();
    }
    let eighths = i128::from(amount.micro()) * i128::from(columns) * 8 / i128::from(longest.micro());
    let eighths = usize::try_from(eighths.max(1)).unwrap_or(0);
    let mut drawn = "█".repeat(eighths / 8);
    drawn.extend((eighths % 8).checked_sub(1).and_then(|part| PARTS.get(part)));
    drawn
}

/// Thousandths of the sum, rounded to the nearest.
fn per_mille(amount: Credits, sum: i128) -> i128 {
    if sum == 0 { 0 } else { (i128::from(amount.micro()) * 2_000 + sum) / (2 * sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, amount: &str) -> Bar {
        Bar { name: name.to_owned(), amount: amount.parse().expect("credits") }
    }

    #[test]
    fn bars_are_as_long_as_their_amounts() {
        let bars = [bar("Ada", "720"), bar("Benjamin", "90"), bar("Zoë", "0.000001"), bar("Nobody", "0")];
        let expected = [
            "     Ada       ████████       720   88.9 %\n",
            "     Benjamin  █               90   11.1 %\n",
            "     Zoë       ▏         0.000001    0.0 %\n",
            "     Nobody                     0    0.0 %\n",
        ];
        assert_eq!(chart(&bars, 8), expected.concat());
    }

    #[test]
    fn a_bar_grows_by_eighths() {
        let draw = |amount: u32| draw(Credits::whole(amount), Credits::whole(16), 2);
        assert_eq!([1, 7, 8, 9, 16].map(draw), ["▏", "▉", "█", "█▏", "██"]);
    }

    #[test]
    fn nothing_used_is_no_division_by_zero() {
        assert_eq!(chart(&[bar("Ada", "0")], 4), "     Ada        0    0.0 %\n");
        assert_eq!(chart(&[], 4), "");
    }
}
