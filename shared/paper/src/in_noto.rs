//! Names in scripts that the program has no letters for itself, written in the fonts that the image has. `scripts/fonts.sh`
//! fetches them; where it cannot, these tests say so on standard error and pass without having run.

use std::collections::BTreeSet;

use bursar_testkit::fonts_of_the_image;
use krilla::{Document, SerializeSettings};
use skrifa::string::StringId;
use skrifa::{FontRef, MetadataProvider as _};

use crate::fonts::Fonts;
use crate::line::{Line, Run};
use crate::sheet::{Align, Sheet, Style};

/// Scripts, a part of the names of their fonts, and names.
const NAMES: [(&str, &str, &str); 5] = [
    ("Arabic", "Arabic", "محمد بن سلمان"),
    ("Hebrew", "Hebrew", "דנה לוי"),
    ("Chinese", "CJK", "李明华"),
    ("Japanese", "CJK", "山田さくらタロウ"),
    ("Korean", "CJK", "김민준"),
];

/// The folder's fonts, where there is one.
fn noto() -> Option<Fonts> {
    let folder = fonts_of_the_image("pages in other scripts")?;
    Some(Fonts::of_folder(&folder).unwrap())
}

/// In which font a run is written, as a PDF calls it.
fn font_of(run: &Run) -> String {
    let font = FontRef::from_index(&run.face.data, run.face.index).unwrap();
    font.localized_strings(StringId::POSTSCRIPT_NAME).english_or_first().unwrap().to_string()
}

/// Which glyph stands for each part of a line that is no space, in the order in which they are seen. None is a box: glyph 0.
fn glyphs(line: &Line) -> Vec<(&str, u32)> {
    let all = line.runs.iter().flat_map(|run| &run.glyphs);
    let all = all.map(|glyph| (&line.text[glyph.text_range.clone()], glyph.glyph_id.to_u32()));
    all.filter(|(part, _)| !part.trim().is_empty()).collect()
}

fn styles() -> [Style; 2] {
    [Style::new(9.0), Style::new(9.0).bold()]
}

#[test]
fn every_letter_has_its_glyph_in_the_folder_and_is_a_box_without_it() {
    let Some(fonts) = noto() else { return };
    for style in styles() {
        for (script, family, name) in NAMES {
            let line = Line::new(&fonts, name, style);
            assert!(line.flaw.is_none(), "{script}: {:?}", line.flaw);
            let missing: Vec<_> = glyphs(&line).into_iter().filter(|(_, glyph)| *glyph == 0).collect();
            assert!(missing.is_empty(), "{script} lacks {missing:?}");
            let used: BTreeSet<_> = line.runs.iter().map(font_of).collect();
            assert!(used.iter().all(|font| font.starts_with("Noto")), "{script}: {used:?}");
            assert!(used.iter().any(|font| font.contains(family)), "{script}: {used:?}");
            assert!(used.iter().all(|font| font.contains("Bold") == style.bold), "{script}: {used:?}");

            let boxes = Line::new(&Fonts::built_in(), name, style);
            assert!(boxes.flaw.is_none() && boxes.text() == name, "{script} is written all the same");
            assert!(!glyphs(&boxes).is_empty() && glyphs(&boxes).iter().all(|(_, glyph)| *glyph == 0), "{script}");
        }
    }
}

#[test]
fn arabic_is_read_from_the_right_and_its_letters_are_joined() {
    let Some(fonts) = noto() else { return };
    let line = Line::new(&fonts, "محمد", Style::new(9.0));
    let [run] = &*line.runs else { panic!("one font has them all") };
    let font = FontRef::from_index(&run.face.data, run.face.index).unwrap();
    let drawn = glyphs(&line);
    assert_eq!(drawn.first().map(|(part, _)| *part), Some("د"), "the last letter stands at the left");
    let alone = |part: &str| font.charmap().map(part.chars().next().unwrap()).unwrap().to_u32();
    let joined = drawn.iter().filter(|(part, glyph)| *glyph != alone(part)).count();
    assert!(joined >= 3, "all but letters that stand alone have another form: {drawn:?}");
}

#[test]
fn a_pdf_has_the_fonts_of_its_names_and_says_which_letters_they_are() {
    let Some(fonts) = noto() else { return };
    let mut sheet = Sheet::new(&fonts);
    let mut used = BTreeSet::new();
    for (_, _, name) in NAMES {
        for style in styles() {
            used.extend(Line::new(&fonts, name, style).runs.iter().map(font_of));
            let height = sheet.texts((50.0, 400.0, Align::Left), &[(name, style)], 2);
            sheet.down(height);
        }
    }
    assert!(used.len() >= 6, "three scripts in both weights: {used:?}");
    // So that what says which letters they are can be read here.
    let open = SerializeSettings { compress_content_streams: false, ..SerializeSettings::default() };
    let pdf = sheet.written(Document::new_with(open), "names", |_, _| String::new()).unwrap();
    let pdf = String::from_utf8_lossy(&pdf);
    for font in used {
        assert!(pdf.contains(&format!("+{font}")), "{font} is in it");
    }
    // Arabic letters may be drawn in pieces, which one by one are none.
    for (_, _, name) in NAMES.into_iter().filter(|(script, ..)| *script != "Arabic") {
        for letter in name.chars().filter(|letter| !letter.is_whitespace()) {
            let code = format!("> <{:04X}>", u32::from(letter));
            assert!(pdf.contains(&code), "whoever copies the text has {letter}");
        }
    }
    let packed = sheet.to_pdf("names", |_, _| String::new()).unwrap();
    assert!(packed.len() < 2_000_000, "the letters that are used, not whole fonts: {} bytes", packed.len());
}
