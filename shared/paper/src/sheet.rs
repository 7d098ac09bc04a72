//! Pages that are filled from the top.

use std::fmt;
use std::io::Cursor;

use image::ImageReader;

use crate::fonts::Fonts;
use crate::line::{Line, wrap};

/// The size of a page: A4, width and height.
pub const PAGE: (f32, f32) = (595.28, 841.89);
/// What stays free above and below; the footer stands in what is free below.
const TOP: f32 = 48.0;
const BOTTOM: f32 = 64.0;
/// From one line to the next, in sizes of the text.
const LEADING: f32 = 1.35;
/// Above and below what stands in a table's row.
const PADDING: f32 = 4.0;
/// How many lines a cell has at most.
const CELL_LINES: usize = 12;
/// The most that a picture's file may have, and its width and height in pixels.
const PICTURE_BYTES: usize = 2 * 1024 * 1024;
const PICTURE_SIDE: u32 = 4_096;

/// How dark something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grey {
    /// Black.
    Ink,
    /// What is less important.
    Faint,
    /// Lines between rows.
    Hair,
}

impl Grey {
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Ink => 0x11,
            Self::Faint => 0x66,
            Self::Hair => 0xcc,
        }
    }
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The size of its letters.
    pub size: f32,
    /// Whether they are bold.
    pub bold: bool,
    /// How dark they are.
    pub grey: Grey,
}

impl Style {
    /// Black letters of a size.
    #[must_use]
    pub const fn new(size: f32) -> Self {
        Self { size, bold: false, grey: Grey::Ink }
    }

    /// The same, bold.
    #[must_use]
    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same, less dark.
    #[must_use]
    pub const fn faint(self) -> Self {
        Self { grey: Grey::Faint, ..self }
    }

    fn height(self) -> f32 {
        self.size * LEADING
    }
}

/// At which side of its room a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The left side.
    Left,
    /// The right side: for figures.
    Right,
}

/// A picture, decoded.
#[derive(Clone)]
pub struct Picture {
    pub(crate) pixels: Vec<u8>,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} × {})", self.width, self.height)
    }
}

/// Why a file is no picture that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// More bytes than a logo has.
    #[error("must have at most {PICTURE_BYTES} bytes")]
    TooLarge,
    /// Not a PNG, JPEG or WebP, broken, or with too many pixels.
    #[error("must be a PNG, JPEG or WebP of at most {PICTURE_SIDE} pixels each way")]
    Unreadable,
}

impl Picture {
    /// Decodes a PNG, JPEG or WebP within bounds.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn read(file: &[u8]) -> Result<Self, PictureError> {
        if file.len() > PICTURE_BYTES {
            return Err(PictureError::TooLarge);
        }
        let mut reader =
            ImageReader::new(Cursor::new(file)).with_guessed_format().map_err(|_| PictureError::Unreadable)?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(PICTURE_SIDE);
        limits.max_image_height = Some(PICTURE_SIDE);
        reader.limits(limits);
        let picture = reader.decode().map_err(|_| PictureError::Unreadable)?.into_rgba8();
        let (width, height) = picture.dimensions();
        Ok(Self { pixels: picture.into_raw(), width, height })
    }
}

/// Something on a page.
pub(crate) enum Mark {
    /// A line of text with its left end on the base line.
    Text { x: f32, y: f32, line: Line },
    /// A horizontal line.
    Rule { x: f32, y: f32, width: f32, thick: f32, grey: Grey },
    /// A picture by its upper left corner.
    Picture { x: f32, y: f32, width: f32, height: f32, picture: Picture },
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// What stands over it.
    pub title: String,
    /// How wide it is.
    pub width: f32,
    /// Where its texts stand.
    pub align: Align,
}

/// What stands in one place of a table: texts below one another.
#[derive(Debug, Clone, Default)]
pub struct Cell(pub Vec<(String, bool)>);

impl Cell {
    /// One text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(vec![(text.into(), false)])
    }

    /// One more text, less dark, below.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push((text.into(), true));
        self
    }
}

/// A table's columns, and where it stands.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its left side.
    pub x: f32,
    /// From the left to the right.
    pub columns: Vec<Column>,
    /// How its cells are written; its head is bold.
    pub style: Style,
}

impl Table {
    /// How wide it is.
    #[must_use]
    pub fn width(&self) -> f32 {
        self.columns.iter().map(|column| column.width).sum()
    }
}

/// Pages in the making.
pub struct Sheet<'f> {
    pub(crate) fonts: &'f Fonts,
    pub(crate) pages: Vec<Vec<Mark>>,
    y: f32,
}

impl<'f> Sheet<'f> {
    /// One empty page.
    #[must_use]
    pub fn new(fonts: &'f Fonts) -> Self {
        Self { fonts, pages: vec![Vec::new()], y: TOP }
    }

    /// How many pages there are.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    fn turn(&mut self) {
        self.pages.push(Vec::new());
        self.y = TOP;
    }

    /// Goes on so much further down.
    pub fn down(&mut self, by: f32) {
        self.y += by;
    }

    /// Goes on on the next page unless there is so much room on this one.
    pub fn keep(&mut self, room: f32) {
        if self.y + room > PAGE.1 - BOTTOM && self.y > TOP {
            self.turn();
        }
    }

    /// Writes texts below one another within a width, from where the page has come to, without going on: says how high they
    /// are. Each has at most `most` lines.
    pub fn texts(&mut self, (x, width, align): (f32, f32, Align), texts: &[(&str, Style)], most: usize) -> f32 {
        let mut y = self.y;
        for (text, style) in texts {
            for line in wrap(self.fonts, text, *style, width, most) {
                self.line(line, (x, width, align), y);
                y += style.height();
            }
        }
        y - self.y
    }

    /// Writes a line whose upper side is at `y`.
    fn line(&mut self, line: Line, (x, width, align): (f32, f32, Align), y: f32) {
        let x = match align {
            Align::Left => x,
            Align::Right => x + width - line.width,
        };
        let y = y + line.style.size;
        self.mark(Mark::Text { x, y, line });
    }

    /// Draws a line over a width.
    pub fn rule(&mut self, x: f32, width: f32, thick: f32, grey: Grey) {
        self.mark(Mark::Rule { x, y: self.y, width, thick, grey });
    }

    /// Shows a picture as large as it fits into a width and height, without going on: says how high it is.
    pub fn picture(&mut self, picture: &Picture, x: f32, (width, height): (f32, f32)) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "at most 4,096 pixels")]
        let (wide, high) = (picture.width.max(1) as f32, picture.height.max(1) as f32);
        let scale = (width / wide).min(height / high);
        let (width, height) = (wide * scale, high * scale);
        self.mark(Mark::Picture { x, y: self.y, width, height, picture: picture.clone() });
        height
    }

    /// Writes a table's rows with its head above them and on each page that they go on to.
    pub fn table(&mut self, table: &Table, rows: impl IntoIterator<Item = Vec<Cell>>) {
        let head: Vec<Cell> = table.columns.iter().map(|column| Cell::new(column.title.clone())).collect();
        let head = self.laid(table, &head, table.style.bold());
        let mut begun = false;
        for row in rows {
            let row = self.laid(table, &row, table.style);
            let before = self.pages.len();
            self.keep(row.height + if begun { 0.0 } else { head.height });
            if !begun || self.pages.len() > before {
                self.row(table, &head, 0.8);
                begun = true;
            }
            self.row(table, &row, 0.4);
        }
    }

    fn laid(&self, table: &Table, cells: &[Cell], style: Style) -> Laid {
        let laid = cells.iter().zip(&table.columns).map(|(cell, column)| {
            let lines = cell.0.iter().flat_map(|(text, faint)| {
                let style = if *faint { Style { size: style.size - 1.0, ..style.faint() } } else { style };
                wrap(self.fonts, text, style, column.width - PADDING, CELL_LINES)
            });
            lines.collect::<Vec<_>>()
        });
        let cells: Vec<Vec<Line>> = laid.collect();
        let high = |lines: &Vec<Line>| lines.iter().map(|line| line.style.height()).sum::<f32>();
        let height = cells.iter().map(high).fold(style.height(), f32::max) + 2.0 * PADDING;
        Laid { cells, height }
    }

    fn row(&mut self, table: &Table, row: &Laid, thick: f32) {
        let (mut x, top) = (table.x, self.y + PADDING);
        for (lines, column) in row.cells.iter().zip(&table.columns) {
            // Between two columns there is some room.
            let place = match column.align {
                Align::Left => (x, column.width - PADDING, Align::Left),
                Align::Right => (x + PADDING, column.width - PADDING, Align::Right),
            };
            let mut y = top;
            for line in lines {
                y += line.style.height();
                self.line(line.clone(), place, y - line.style.height());
            }
            x += column.width;
        }
        self.down(row.height);
        self.rule(table.x, table.width(), thick, if thick > 0.5 { Grey::Faint } else { Grey::Hair });
    }
}

/// A row of a table in lines.
struct Laid {
    cells: Vec<Vec<Line>>,
    height: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::SHAPED;

    fn table() -> Table {
        let column = |title: &str, width, align| Column { title: title.to_owned(), width, align };
        let columns = vec![column("What", 300.0, Align::Left), column("Sum", 100.0, Align::Right)];
        Table { x: 50.0, columns, style: Style::new(9.0) }
    }

    fn texts(page: &[Mark]) -> Vec<&str> {
        let text = |mark: &'_ Mark| match mark {
            Mark::Text { line, .. } => Some(line.text().to_owned()),
            _ => None,
        };
        page.iter().filter_map(text).map(|text| -> &str { Box::leak(text.into_boxed_str()) }).collect()
    }

    #[test]
    fn a_long_table_has_its_head_on_each_page_and_every_row_once() {
        let fonts = Fonts::built_in();
        let mut sheet = Sheet::new(&fonts);
        sheet.table(&table(), (0..200).map(|n| vec![Cell::new(format!("row {n}")), Cell::new("1.00")]));
        assert!(sheet.pages() > 3, "{}", sheet.pages());
        let mut rows = Vec::new();
        for page in &sheet.pages {
            let texts = texts(page);
            assert_eq!(texts[..2], ["What", "Sum"], "the head stands on each page");
            rows.extend(texts.into_iter().filter(|text| text.starts_with("row")));
            let lowest = page.iter().map(|mark| match mark {
                Mark::Text { y, .. } | Mark::Rule { y, .. } | Mark::Picture { y, .. } => *y,
            });
            assert!(lowest.fold(0.0, f32::max) <= PAGE.1 - BOTTOM + 0.01, "nothing stands in the footer");
        }
        assert_eq!(rows, (0..200).map(|n| format!("row {n}")).collect::<Vec<_>>());
    }

    #[test]
    fn ten_times_as_many_rows_are_ten_times_the_work() {
        let fonts = Fonts::built_in();
        let long =
            "Premium pack for a team with quite a long name that needs more than one line, whatever it is, number";
        let work = |rows: usize| {
            let before = SHAPED.get();
            let mut sheet = Sheet::new(&fonts);
            sheet.table(&table(), (0..rows).map(|n| vec![Cell::new(format!("{long} {n:04}")), Cell::new("200.00")]));
            sheet.to_pdf("Rows", |page, pages| format!("page {page} of {pages}")).unwrap();
            (SHAPED.get() - before, sheet.pages())
        };
        let ((few, short), (many, tall)) = (work(100), work(1_000));
        assert!(few > 100 * long.len(), "each row is laid out: {few} glyphs");
        assert!(many <= 11 * few && tall <= 11 * short, "{few} and {many} glyphs, {short} and {tall} pages");
    }

    #[test]
    fn figures_end_at_the_right_side_of_their_column() {
        let fonts = Fonts::built_in();
        let mut sheet = Sheet::new(&fonts);
        sheet.table(&table(), [vec![Cell::new("a"), Cell::new("1.00")], vec![Cell::new("b"), Cell::new("1,000.00")]]);
        let right = |mark: &Mark| match mark {
            Mark::Text { x, line, .. } if line.text().contains('.') => Some(x + line.width()),
            _ => None,
        };
        let ends: Vec<f32> = sheet.pages[0].iter().filter_map(right).collect();
        assert_eq!(ends.len(), 2);
        assert!(ends.iter().all(|end| (end - 450.0).abs() < 0.01), "{ends:?}");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(Picture::read(b"<svg/>").unwrap_err(), PictureError::Unreadable);
        assert_eq!(Picture::read(&vec![0; PICTURE_BYTES + 1]).unwrap_err(), PictureError::TooLarge);
        let mut png = Vec::new();
        image::RgbaImage::new(3, 2).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        assert_eq!(Picture::read(&png).map(|it| (it.width, it.height)), Ok((3, 2)));
    }
}
