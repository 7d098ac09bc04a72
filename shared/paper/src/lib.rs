//! Pages: texts in whatever script, tables that go on over page breaks, and the PDF that comes of them.
//!
//! - [`Fonts`]: which fonts there are, and which of them has a character: those of a folder, else small built-in ones
//! - [`Line`], [`wrap`]: a text in lines of a width: both directions of writing, joined letters, line breaks (Unicode's
//!   annexes 9 and 14; shaped as `HarfBuzz` does)
//! - [`Sheet`]: A4 pages that are filled from the top; [`Table`]: its head stands on each page again
//! - [`Sheet::to_pdf`]: the same pages give the same bytes
//!
//! What must not live here: what a page is about. Lengths are points (1/72 inch), from a page's upper left corner.

#![expect(clippy::float_arithmetic, reason = "lengths on a page: nothing here counts money or credits")]

mod fonts;
#[cfg(test)]
mod in_noto;
mod line;
mod pdf;
mod sheet;

pub use fonts::{Fonts, FontsError};
pub use line::{Line, wrap};
pub use pdf::PaperError;
pub use sheet::{Align, Cell, Column, Grey, PAGE, Picture, PictureError, Sheet, Style, Table};
