//! A document as a PDF.

#![expect(clippy::float_arithmetic, reason = "lengths on a page: nothing here counts money or credits")]

use bursar_paper::{Align, Cell, Column, Fonts, Grey, Picture, Sheet, Style, Table};

use super::DocumentError;
use super::view::View;

/// The left side of everything, and how wide it is.
const LEFT: f32 = 56.0;
const WIDTH: f32 = 483.0;
/// Where the right half begins, and how wide it is.
const RIGHT: f32 = 330.0;
const HALF: f32 = LEFT + WIDTH - RIGHT;
/// The room for a logo.
const LOGO: (f32, f32) = (200.0, 42.0);

const TEXT: Style = Style::new(9.5);
/// How many lines one text of a heading has at most.
const MOST: usize = 4;

pub(super) fn write(view: &View<'_>, fonts: &Fonts, logo: Option<&Picture>) -> Result<Vec<u8>, DocumentError> {
    let mut sheet = Sheet::new(fonts);
    heading(&mut sheet, view, logo);
    let mut customer = vec![(view.to, Style::new(8.0).faint())];
    customer.extend(view.customer.iter().map(|line| (line.as_str(), TEXT)));
    let height = sheet.texts((LEFT, RIGHT - LEFT - 20.0, Align::Left), &customer, MOST);
    sheet.down(height + 28.0);
    sheet.table(
        &table(view),
        view.rows.iter().map(|row| {
            let figures = [&row.quantity, &row.unit_price, &row.amount].map(|it| Cell::new(it.clone()));
            let [quantity, unit_price, amount] = figures;
            vec![Cell::new(row.description).and(row.detail.clone()), quantity, unit_price, amount]
        }),
    );
    sums(&mut sheet, view);
    let footer = |page, pages| format!("{} {}, page {page} of {pages}", view.title, view.number);
    Ok(sheet.to_pdf(&format!("{} {}", view.title, view.number), footer)?)
}

/// Who sells at the left, what it is at the right.
fn heading(sheet: &mut Sheet<'_>, view: &View<'_>, logo: Option<&Picture>) {
    let mut facts = vec![(view.title.to_owned(), Style::new(18.0).bold())];
    facts.extend(view.facts.iter().map(|(name, value)| (format!("{name}: {value}"), TEXT)));
    let facts: Vec<(&str, Style)> = facts.iter().map(|(text, style)| (text.as_str(), *style)).collect();
    let right = sheet.texts((RIGHT, HALF, Align::Right), &facts, MOST);
    let mut left = 0.0;
    if let Some(logo) = logo {
        left = sheet.picture(logo, LEFT, LOGO) + 8.0;
        sheet.down(left);
    }
    let mut issuer = vec![(view.product, Style::new(11.0).bold())];
    issuer.extend(view.issuer.iter().map(|line| (line.as_str(), Style::new(8.5))));
    let height = sheet.texts((LEFT, RIGHT - LEFT - 20.0, Align::Left), &issuer, MOST);
    // The logo is behind already.
    sheet.down(height.max(right - left) + 30.0);
}

fn table(view: &View<'_>) -> Table {
    let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
    let columns = vec![
        column("Description", WIDTH - 230.0, Align::Left),
        column("Quantity", 55.0, Align::Right),
        column("Unit price", 85.0, Align::Right),
        column(&view.amount, 90.0, Align::Right),
    ];
    Table { x: LEFT, columns, style: TEXT }
}

/// The sums below the amounts, all on one page.
fn sums(sheet: &mut Sheet<'_>, view: &View<'_>) {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let rows = view.sums.len() as f32;
    sheet.keep((rows + 3.0) * 16.0);
    sheet.down(6.0);
    for (number, (name, amount)) in (1..).zip(&view.sums) {
        let total = number == view.sums.len();
        let style = if total { Style::new(11.0).bold() } else { TEXT };
        if total {
            sheet.down(3.0);
            sheet.rule(RIGHT - 60.0, HALF + 60.0, 0.8, Grey::Faint);
            sheet.down(3.0);
        }
        let left = sheet.texts((RIGHT - 60.0, HALF - 50.0, Align::Left), &[(name, style)], MOST);
        let right = sheet.texts((RIGHT, HALF, Align::Right), &[(amount, style)], 1);
        sheet.down(left.max(right) + 2.0);
    }
    sheet.down(14.0);
    let closing = sheet.texts((LEFT, WIDTH, Align::Left), &[(view.closing, Style::new(8.5).faint())], MOST);
    sheet.down(closing);
}
