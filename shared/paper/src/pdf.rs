//! Pages as PDF.

use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect, Size, Transform};
use krilla::image::Image;
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;

use crate::line::Line;
use crate::sheet::{Grey, Mark, PAGE, Picture, Sheet, Style};

/// The program could not write the pages: a defect, or a font that is broken inside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pages could not be written: {0}")]
pub struct PaperError(String);

impl Sheet<'_> {
    /// The pages as a PDF, with a footer on each: `footer(page, pages)`, both counted from one. It has no time in it: the
    /// same pages are the same bytes.
    ///
    /// # Errors
    /// A font is broken inside, or could not be read: there is no page without some of its letters.
    pub fn to_pdf(&self, title: &str, footer: impl Fn(usize, usize) -> String) -> Result<Vec<u8>, PaperError> {
        self.written(Document::new(), title, footer)
    }

    /// The same in a document that was made for it.
    pub(crate) fn written(
        &self,
        mut document: Document,
        title: &str,
        footer: impl Fn(usize, usize) -> String,
    ) -> Result<Vec<u8>, PaperError> {
        document.set_metadata(Metadata::new().title(title.to_owned()));
        let pages = self.pages.len();
        for (number, marks) in (1..).zip(&self.pages) {
            let size = PageSettings::from_wh(PAGE.0, PAGE.1).ok_or_else(|| PaperError("no page".to_owned()))?;
            let mut page = document.start_page_with(size);
            let mut surface = page.surface();
            for mark in marks {
                draw(&mut surface, mark)?;
            }
            let line = Line::new(self.fonts, &footer(number, pages), Style::new(8.0).faint());
            let x = (PAGE.0 - line.width) / 2.0;
            draw(&mut surface, &Mark::Text { x, y: PAGE.1 - 32.0, line })?;
            surface.finish();
            page.finish();
        }
        document.finish().map_err(|error| PaperError(format!("{error:?}")))
    }
}

fn draw(surface: &mut Surface<'_>, mark: &Mark) -> Result<(), PaperError> {
    match mark {
        Mark::Text { x, y, line } => {
            if let Some(flaw) = &line.flaw {
                return Err(PaperError(flaw.to_string()));
            }
            surface.set_fill(Some(fill(line.style.grey)));
            let mut x = *x;
            for run in &line.runs {
                let start = Point::from_xy(x, *y);
                surface.draw_glyphs(start, &run.glyphs, run.face.font.clone(), &line.text, line.style.size, false);
                x += run.width;
            }
        }
        Mark::Rule { x, y, width, thick, grey } => {
            let mut path = PathBuilder::new();
            if let Some(area) = Rect::from_xywh(*x, y - thick, *width, *thick) {
                path.push_rect(area);
            }
            if let Some(path) = path.finish() {
                surface.set_fill(Some(fill(*grey)));
                surface.draw_path(&path);
            }
        }
        Mark::Picture { x, y, width, height, picture } => {
            if let Some(size) = Size::from_wh(*width, *height) {
                surface.push_transform(&Transform::from_translate(*x, *y));
                surface.draw_image(image(picture), size);
                surface.pop();
            }
        }
    }
    Ok(())
}

fn image(picture: &Picture) -> Image {
    Image::from_rgba8(picture.pixels.clone(), picture.width, picture.height)
}

fn fill(grey: Grey) -> Fill {
    let level = grey.level();
    Fill { paint: rgb::Color::new(level, level, level).into(), opacity: NormalizedF32::ONE, ..Fill::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fonts::Fonts;
    use crate::sheet::Align;

    #[test]
    fn the_same_pages_are_the_same_bytes() {
        let fonts = Fonts::built_in();
        let make = || {
            let mut sheet = Sheet::new(&fonts);
            let height = sheet.texts((50.0, 200.0, Align::Left), &[("Ada Łódź 李", Style::new(12.0).bold())], 3);
            sheet.down(height);
            sheet.rule(50.0, 200.0, 1.0, Grey::Hair);
            sheet.picture(&Picture { pixels: vec![9; 16], width: 2, height: 2 }, 50.0, (40.0, 20.0));
            sheet.to_pdf("Ada", |page, pages| format!("{page} of {pages}")).unwrap()
        };
        let pdf = make();
        assert!(pdf.starts_with(b"%PDF-1.7"), "{:?}", String::from_utf8_lossy(&pdf[..10]));
        assert_eq!(pdf, make());
    }
}
