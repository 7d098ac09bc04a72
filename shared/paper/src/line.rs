//! Texts in lines.
//!
//! A line is cut into runs of one direction and one font, in the order in which they are seen; each run is shaped by
//! itself.

use std::ops::Range;
use std::sync::Arc;

use harfrust::{Direction, FontRef, ShapeOptions, UnicodeBuffer};
use krilla::text::{GlyphId, KrillaGlyph};
use unicode_bidi::BidiInfo;
use unicode_linebreak::linebreaks;

use crate::fonts::{Fonts, Loaded, Unreadable};
use crate::sheet::Style;

/// What stands for what there was no room for.
const MORE: &str = "…";

#[cfg(test)]
thread_local! {
    /// How many glyphs this thread has shaped: how much work it was to lay texts out, whatever a clock says.
    pub(crate) static SHAPED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Some glyphs of one font in one direction.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) face: Arc<Loaded>,
    pub(crate) glyphs: Vec<KrillaGlyph>,
    pub(crate) width: f32,
}

/// One line of a text, shaped.
#[derive(Clone)]
pub struct Line {
    pub(crate) text: String,
    pub(crate) runs: Vec<Run>,
    pub(crate) width: f32,
    pub(crate) style: Style,
    /// Why letters of it are missing: it must not be written like that.
    pub(crate) flaw: Option<Unreadable>,
}

impl Line {
    /// Shapes a text as one line, whatever its width.
    #[must_use]
    pub fn new(fonts: &Fonts, text: &str, style: Style) -> Self {
        let (mut runs, mut flaw) = (Vec::new(), None);
        let bidi = BidiInfo::new(text, None);
        for paragraph in &bidi.paragraphs {
            let (levels, ordered) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for range in ordered {
                let backwards = levels.get(range.start).is_some_and(unicode_bidi::Level::is_rtl);
                if let Err(error) = shape(fonts, text, range, backwards, style, &mut runs) {
                    flaw = Some(error);
                }
            }
        }
        let width = runs.iter().map(|run| run.width).sum();
        Self { text: text.to_owned(), runs, width, style, flaw }
    }

    /// How wide it is.
    #[must_use]
    pub fn width(&self) -> f32 {
        self.width
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Shapes a range that is read in one direction: a run for each font, in the order in which they are seen.
fn shape(
    fonts: &Fonts,
    text: &str,
    range: Range<usize>,
    backwards: bool,
    style: Style,
    runs: &mut Vec<Run>,
) -> Result<(), Unreadable> {
    let Some(part) = text.get(range.clone()) else { return Ok(()) };
    let mut pieces: Vec<(usize, Range<usize>)> = Vec::new();
    for (at, c) in part.char_indices() {
        let (start, end) = (range.start + at, range.start + at + c.len_utf8());
        match pieces.last_mut() {
            // What joins letters, and marks on them, stay with their letter.
            Some((_, piece)) if keeps_to_its_letter(c) => piece.end = end,
            last => {
                let face = fonts.face(c, style.bold)?;
                match last {
                    Some((same, piece)) if *same == face => piece.end = end,
                    _ => pieces.push((face, start..end)),
                }
            }
        }
    }
    if backwards {
        pieces.reverse();
    }
    for (face, piece) in pieces {
        runs.extend(run(&fonts.load(face)?, text, piece, backwards, style));
    }
    Ok(())
}

fn keeps_to_its_letter(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{300}'..='\u{36f}')
}

/// The glyphs of a piece. A face that is in memory is a font, and a piece is of the text.
fn run(face: &Arc<Loaded>, text: &str, piece: Range<usize>, backwards: bool, style: Style) -> Option<Run> {
    let font = FontRef::from_index(&face.data, face.index).ok()?;
    let shaper = face.shaper.shaper(&font).build();
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(text.get(piece.clone())?);
    buffer.guess_segment_properties();
    buffer.set_direction(if backwards { Direction::RightToLeft } else { Direction::LeftToRight });
    let written = shaper.shape(buffer, ShapeOptions::new());
    #[cfg(test)]
    SHAPED.set(SHAPED.get() + written.glyph_infos().len());
    let em = face.font.units_per_em();
    let clusters: Vec<usize> = written.glyph_infos().iter().map(|it| to_index(it.cluster)).collect();
    let end_of = ends(&clusters, piece.len());
    let mut width = 0.0;
    let glyphs = written.glyph_infos().iter().zip(written.glyph_positions()).map(|(info, position)| {
        let cluster = to_index(info.cluster);
        let range = piece.start + cluster..piece.start + end_of(cluster);
        width += ems(position.x_advance, em) * style.size;
        KrillaGlyph::new(
            GlyphId::new(info.glyph_id),
            ems(position.x_advance, em),
            ems(position.x_offset, em),
            ems(position.y_offset, em),
            ems(position.y_advance, em),
            range,
            None,
        )
    });
    let glyphs = glyphs.collect();
    Some(Run { face: Arc::clone(face), glyphs, width })
}

/// Where the text of a cluster ends: where the next one begins.
fn ends(clusters: &[usize], length: usize) -> impl Fn(usize) -> usize + use<> {
    let mut starts = clusters.to_vec();
    starts.sort_unstable();
    move |cluster| {
        let next = starts.partition_point(|start| *start <= cluster);
        starts.get(next).copied().unwrap_or(length)
    }
}

fn to_index(cluster: u32) -> usize {
    usize::try_from(cluster).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a font's units are far below 2^23")]
fn ems(units: i32, em: f32) -> f32 {
    units as f32 / em
}

/// A text in lines that are at most `width` wide, broken where its script allows it, inside of what has no such place only
/// when it must. `most` lines at most: where there is more the last one ends with an ellipsis. Line feeds begin a new line.
#[must_use]
pub fn wrap(fonts: &Fonts, text: &str, style: Style, width: f32, most: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let whole = Line::new(fonts, paragraph.trim_end(), style);
        if whole.width <= width {
            lines.push(whole);
        } else {
            broken(fonts, paragraph, style, width, &mut lines);
        }
        if lines.len() > most {
            break;
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = shortened(fonts, &last.text, style, width);
        }
    }
    lines
}

fn broken(fonts: &Fonts, paragraph: &str, style: Style, width: f32, lines: &mut Vec<Line>) {
    let mut line = String::new();
    let mut room = width;
    let mut start = 0;
    for (end, _) in linebreaks(paragraph) {
        let part = paragraph.get(start..end).unwrap_or_default();
        start = end;
        // A space at a line's end takes no room.
        let needed = Line::new(fonts, part.trim_end(), style).width;
        if needed > room && !line.is_empty() {
            lines.push(Line::new(fonts, line.trim_end(), style));
            line.clear();
            room = width;
        }
        if needed > width {
            chopped(fonts, part, style, width, &mut line, lines);
            room = width - Line::new(fonts, &line, style).width;
            continue;
        }
        line.push_str(part);
        room -= Line::new(fonts, part, style).width;
    }
    if !line.trim_end().is_empty() {
        lines.push(Line::new(fonts, line.trim_end(), style));
    }
}

/// Breaks what has no place to break at; its last piece is the beginning of the next line.
fn chopped(fonts: &Fonts, part: &str, style: Style, width: f32, line: &mut String, lines: &mut Vec<Line>) {
    let mut used = 0.0;
    for c in part.chars() {
        let wide = Line::new(fonts, c.encode_utf8(&mut [0; 4]), style).width;
        if used + wide > width && !line.is_empty() && !keeps_to_its_letter(c) {
            lines.push(Line::new(fonts, line, style));
            line.clear();
            used = 0.0;
        }
        line.push(c);
        used += wide;
    }
}

fn shortened(fonts: &Fonts, text: &str, style: Style, width: f32) -> Line {
    let mut kept = text.to_owned();
    loop {
        let line = Line::new(fonts, &format!("{kept}{MORE}"), style);
        if line.width <= width || kept.pop().is_none() {
            return line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style::new(10.0);

    fn texts(text: &str, width: f32, most: usize) -> Vec<String> {
        let fonts = Fonts::built_in();
        let lines = wrap(&fonts, text, STYLE, width, most);
        for line in &lines {
            assert!(line.width <= width + 0.01, "{:?} is {} wide", line.text, line.width);
        }
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_break_between_words_and_inside_only_when_they_must() {
        assert_eq!(texts("one two three four", 60.0, 9), ["one two", "three four"]);
        assert_eq!(texts("one\ntwo", 500.0, 9), ["one", "two"]);
        let long = texts(&"x".repeat(60), 100.0, 9);
        assert!(long.len() > 2 && long.concat() == "x".repeat(60), "{long:?}");
        let mixed = texts(&format!("a {} b", "y".repeat(40)), 100.0, 9);
        assert_eq!(mixed.concat().replace(' ', ""), format!("a{}b", "y".repeat(40)));
    }

    #[test]
    fn what_has_no_room_ends_with_an_ellipsis() {
        let lines = texts(&"word ".repeat(50), 100.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with(MORE), "{lines:?}");
    }

    #[test]
    fn what_is_read_from_the_right_stands_in_the_order_in_which_it_is_seen() {
        let fonts = Fonts::built_in();
        // Seen from the left: the number last in the text stands first.
        let line = Line::new(&fonts, "אב 12", STYLE);
        let first = line.runs.first().and_then(|run| run.glyphs.first()).unwrap();
        assert_eq!(&line.text[first.text_range.clone()], "1");
        let width: f32 = line.runs.iter().map(|run| run.width).sum();
        assert!((line.width() - width).abs() < f32::EPSILON);
    }

    #[test]
    fn clusters_cover_the_text() {
        let fonts = Fonts::built_in();
        let line = Line::new(&fonts, "Ađe\u{301} Яж", STYLE);
        let mut covered: Vec<_> =
            line.runs.iter().flat_map(|run| &run.glyphs).map(|it| it.text_range.clone()).collect();
        covered.sort_by_key(|range| range.start);
        assert_eq!(covered.first().unwrap().start, 0);
        assert_eq!(covered.last().unwrap().end, line.text().len());
    }
}
