//! Which fonts there are, and which of them has a character.
//!
//! The files of a folder are looked through once, when the first page is written: of each face what it is called, how heavy
//! it is and which characters it has. A file is kept in memory from when a text needs it, [`LOADED`] of them at most.
//!
//! Only what was read is remembered: a file that cannot be read fails the page that needs it, and is tried again for the
//! next one.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use harfrust::ShaperData;
use skrifa::attribute::Style as Slant;
use skrifa::raw::FileRef;
use skrifa::string::StringId;
use skrifa::{FontRef, MetadataProvider as _};

/// How many files a folder of fonts may have.
const FILES: usize = 4_096;
/// How deep folders may lie in it.
const DEPTH: usize = 6;
/// The largest file that is read.
const FILE_BYTES: u64 = 128 * 1024 * 1024;
/// How many faces are kept in memory.
const LOADED: usize = 32;

const REGULAR: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("../fonts/DejaVuSans-Bold.ttf");

/// Why a folder's fonts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FontsError {
    /// It is no folder, or cannot be read.
    #[error("{0}: the folder of fonts cannot be read: {1}")]
    Folder(PathBuf, std::io::Error),
    /// No file in it, or in folders in it, is a font.
    #[error("{0}: there is no font (.ttf, .otf, .ttc or .otc) in it")]
    None(PathBuf),
    /// More files than anybody needs.
    #[error("{0}: there are more than {FILES} fonts in it")]
    TooMany(PathBuf),
}

/// Where a face's bytes are.
#[derive(Clone)]
enum Source {
    BuiltIn(&'static [u8]),
    File(PathBuf),
}

/// Why a font's file gives no face now; it may later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the font {0} cannot be read")]
pub(crate) struct Unreadable(String);

impl Source {
    /// Its bytes; nothing where the file is larger than fonts are.
    fn read(&self) -> std::io::Result<Option<Arc<Vec<u8>>>> {
        match self {
            Self::BuiltIn(bytes) => Ok(Some(Arc::new(bytes.to_vec()))),
            Self::File(path) => {
                let size = std::fs::metadata(path)?.len();
                if size > FILE_BYTES { Ok(None) } else { Ok(Some(Arc::new(std::fs::read(path)?))) }
            }
        }
    }

    fn unreadable(&self) -> Unreadable {
        match self {
            Self::BuiltIn(_) => Unreadable("that is built in".to_owned()),
            Self::File(path) => Unreadable(path.display().to_string()),
        }
    }
}

/// Whether a file is not there for this program, however often it is tried.
fn is_for_good(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied)
}

/// One face of a file.
struct Face {
    source: Source,
    /// Which face of its file.
    index: u32,
    bold: bool,
    /// Which faces are tried first: the smaller.
    rank: (bool, usize, String),
    /// The characters it has, as ranges in order.
    has: Vec<(u32, u32)>,
}

impl Face {
    fn has(&self, c: char) -> bool {
        let c = u32::from(c);
        let after = self.has.partition_point(|(first, _)| *first <= c);
        after.checked_sub(1).and_then(|before| self.has.get(before)).is_some_and(|(_, last)| c <= *last)
    }
}

/// A face that is in memory.
pub(crate) struct Loaded {
    pub(crate) data: Arc<Vec<u8>>,
    pub(crate) index: u32,
    pub(crate) shaper: ShaperData,
    pub(crate) font: krilla::text::Font,
}

/// The fonts that texts are written in. One for a program: it remembers what it has read.
pub struct Fonts {
    files: Vec<PathBuf>,
    faces: OnceLock<Vec<Face>>,
    loaded: Mutex<HashMap<usize, Arc<Loaded>>>,
}

impl fmt::Debug for Fonts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fonts").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Fonts {
    /// The built-in ones alone: Latin, Greek and Cyrillic letters (`DejaVu Sans`).
    #[must_use]
    pub fn built_in() -> Self {
        Self { files: Vec::new(), faces: OnceLock::new(), loaded: Mutex::default() }
    }

    /// Those of a folder and the folders in it, before the built-in ones.
    ///
    /// # Errors
    /// It cannot be read, or has no font, or too many.
    pub fn of_folder(folder: &Path) -> Result<Self, FontsError> {
        let mut files = Vec::new();
        gather(folder, DEPTH, &mut files).map_err(|error| FontsError::Folder(folder.to_owned(), error))?;
        if files.len() > FILES {
            return Err(FontsError::TooMany(folder.to_owned()));
        }
        files.sort();
        let is_one = |file: &PathBuf| faces_of(&Source::File(file.clone())).is_ok_and(|faces| !faces.is_empty());
        if !files.iter().any(is_one) {
            return Err(FontsError::None(folder.to_owned()));
        }
        Ok(Self { files, ..Self::built_in() })
    }

    /// All faces, looked through once; again where a file could not be read that time.
    fn faces(&self) -> Result<&[Face], Unreadable> {
        if let Some(known) = self.faces.get() {
            return Ok(known);
        }
        let mut faces = Vec::new();
        for file in self.files.iter().cloned().map(Source::File) {
            match faces_of(&file) {
                Ok(its) => faces.extend(its),
                Err(error) if is_for_good(&error) => {}
                Err(_) => return Err(file.unreadable()),
            }
        }
        faces.sort_by(|a: &Face, b| a.rank.cmp(&b.rank));
        // Last: they are there for what no file has.
        for own in [Source::BuiltIn(REGULAR), Source::BuiltIn(BOLD)] {
            faces.extend(faces_of(&own).map_err(|_| own.unreadable())?);
        }
        Ok(self.faces.get_or_init(|| faces))
    }

    /// The face for a character: the first that has it, a bold one if one is wanted and there is any; else the last of
    /// all, which draws a box.
    pub(crate) fn face(&self, c: char, bold: bool) -> Result<usize, Unreadable> {
        let faces = self.faces()?;
        let has = |wanted: bool| faces.iter().position(|face| face.bold == wanted && face.has(c));
        Ok(has(bold).or_else(|| has(!bold)).unwrap_or(faces.len().saturating_sub(1)))
    }

    /// A face with its bytes.
    pub(crate) fn load(&self, face: usize) -> Result<Arc<Loaded>, Unreadable> {
        let faces = self.faces()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(&face) {
            return Ok(Arc::clone(known));
        }
        let Some(wanted) = faces.get(face) else { return Err(Unreadable(format!("number {face}"))) };
        let read = load(wanted).ok_or_else(|| wanted.source.unreadable())?;
        if loaded.len() >= LOADED {
            loaded.clear();
        }
        loaded.insert(face, Arc::clone(&read));
        Ok(read)
    }
}

fn load(face: &Face) -> Option<Arc<Loaded>> {
    let data = face.source.read().ok()??;
    let shaper = ShaperData::new(&FontRef::from_index(&data, face.index).ok()?);
    let font = krilla::text::Font::new(Arc::clone(&data).into(), face.index)?;
    Some(Arc::new(Loaded { data, index: face.index, shaper, font }))
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if depth > 0 && files.len() <= FILES {
                gather(&path, depth - 1, files)?;
            }
        } else if path.extension().and_then(|it| it.to_str()).is_some_and(is_font) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_font(extension: &str) -> bool {
    ["ttf", "otf", "ttc", "otc"].iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// The upright faces of a file, in which invoices are written; none of what is no font.
fn faces_of(source: &Source) -> std::io::Result<Vec<Face>> {
    let Some(data) = source.read()? else { return Ok(Vec::new()) };
    let count = match FileRef::new(&data) {
        Ok(FileRef::Collection(collection)) => collection.len(),
        Ok(FileRef::Font(_)) => 1,
        Err(_) => 0,
    };
    let faces = (0..count).filter_map(|index| {
        let font = FontRef::from_index(&data, index).ok()?;
        let attributes = font.attributes();
        let plain = attributes.style == Slant::Normal && (0.99..1.01).contains(&attributes.stretch.ratio());
        let weight = attributes.weight.value();
        let bold = (650.0..750.0).contains(&weight);
        if !plain || !(bold || (350.0..450.0).contains(&weight)) {
            return None;
        }
        let name = family(&font);
        // Of the fonts for Han characters that of Hong Kong would come first by its name; most texts want another.
        let fancy = ["Serif", "Mono", "Display", "Condensed", " HK"].iter().any(|it| name.contains(it));
        let has = ranges(font.charmap().mappings().map(|(c, _)| c));
        (!has.is_empty()).then(|| Face { source: source.clone(), index, bold, rank: (fancy, name.len(), name), has })
    });
    Ok(faces.collect())
}

fn family(font: &FontRef<'_>) -> String {
    let names = font.localized_strings(StringId::FAMILY_NAME);
    names.english_or_first().map(|name| name.to_string()).unwrap_or_default()
}

fn ranges(chars: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut chars: Vec<u32> = chars.collect();
    chars.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for c in chars {
        match ranges.last_mut() {
            Some((_, last)) if c <= last.saturating_add(1) => *last = c.max(*last),
            _ => ranges.push((c, c)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_fonts_have_latin_greek_and_cyrillic_letters_in_both_weights() {
        let fonts = Fonts::built_in();
        for bold in [false, true] {
            for c in "Az09éßŁğΩжЯ€₹„“–…·".chars() {
                let (face, faces) = (fonts.face(c, bold).unwrap(), fonts.faces().unwrap());
                assert!(faces[face].has(c), "{c}");
                assert_eq!(faces[face].bold, bold, "{c}");
            }
        }
        assert_eq!(fonts.face('李', false), Ok(fonts.faces().unwrap().len() - 1), "nothing has it");
    }

    #[test]
    fn a_folder_that_is_none_or_without_fonts_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broken.ttf"), b"no font").unwrap();
        std::fs::write(folder.path().join("notes.txt"), b"text").unwrap();
        let path = folder.path().display().to_string();
        let said = |folder: &Path| Fonts::of_folder(folder).unwrap_err().to_string();
        assert!(said(folder.path()).starts_with(&path), "{}", said(folder.path()));
        assert!(said(&folder.path().join("nowhere")).contains("cannot be read"));

        std::fs::create_dir(folder.path().join("deeper")).unwrap();
        std::fs::write(folder.path().join("deeper/mine.TTF"), REGULAR).unwrap();
        let fonts = Fonts::of_folder(folder.path()).unwrap();
        assert_eq!(fonts.faces().unwrap().len(), 3, "its own one, and the two that are built in");
        assert_eq!(fonts.face('a', false), Ok(0), "its own comes first");
        assert!(fonts.load(0).is_ok());
    }

    #[test]
    fn a_font_that_cannot_be_read_now_is_read_when_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.ttf");
        std::fs::write(&file, REGULAR).unwrap();
        let fonts = Fonts::of_folder(folder.path()).unwrap();
        assert_eq!(fonts.face('a', false), Ok(0));
        let page = || {
            let mut sheet = crate::Sheet::new(&fonts);
            sheet.texts((50.0, 200.0, crate::Align::Left), &[("abc", crate::Style::new(9.0))], 1);
            sheet.to_pdf("abc", |_, _| String::new())
        };
        std::fs::remove_file(&file).unwrap();
        for _ in 0..2 {
            let error = page().unwrap_err().to_string();
            assert!(error.contains("mine.ttf"), "no page without its letters: {error}");
        }
        std::fs::write(&file, REGULAR).unwrap();
        assert!(page().is_ok(), "it is there again");
    }

    #[test]
    fn a_folder_is_looked_through_again_until_all_of_it_could_be_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.ttf"), REGULAR).unwrap();
        let other = folder.path().join("b.ttf");
        std::fs::write(&other, BOLD).unwrap();
        let fonts = Fonts::of_folder(folder.path()).unwrap();
        // Reading a folder as a file fails, and not because it is not there.
        std::fs::remove_file(&other).unwrap();
        std::fs::create_dir(&other).unwrap();
        assert!(fonts.face('a', true).is_err());
        std::fs::remove_dir(&other).unwrap();
        std::fs::write(&other, BOLD).unwrap();
        assert_eq!(fonts.faces().unwrap().len(), 4, "both, and the two that are built in");
    }

    #[test]
    fn ranges_hold_what_is_in_them() {
        assert_eq!(ranges([5, 1, 2, 3, 9, 3].into_iter()), [(1, 3), (5, 5), (9, 9)]);
    }
}
