//! Invoices as documents: what stands on them ([`view`]), as a page of HTML and as a PDF.
//!
//! Both show the same texts in the same order. What an invoice says is the domain's; how pages are written is
//! `bursar-paper`'s.

mod html;
mod pdf;
#[cfg(test)]
mod tests;
mod view;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_paper::{Fonts, FontsError, PaperError, Picture};

use crate::domain::Invoice;
use view::View;

/// In which form a document is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page of HTML.
    Html,
    /// A PDF.
    Pdf,
}

/// How what stands on a document is paid. Its payment says so, which never changes in this: so the same document is the same
/// for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// By a provider, before the invoice was issued.
    AtOnce,
    /// By the invoice itself, which is yet to be paid: nothing records whether that has happened.
    ByInvoice,
}

/// How the deployment's documents look. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    fonts: Arc<Fonts>,
    logo: Option<Arc<Logo>>,
}

#[derive(Debug)]
struct Logo {
    picture: Picture,
    /// The file as a `data:` URI.
    uri: String,
}

/// Why a deployment's documents cannot look as they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// The fonts.
    #[error("fonts_dir: {0}")]
    Fonts(#[from] FontsError),
    /// The logo.
    #[error("invoices.logo_file: {0}")]
    Logo(String),
}

/// Why a document could not be made: a defect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// The pages.
    #[error(transparent)]
    Paper(#[from] PaperError),
    /// The template.
    #[error(transparent)]
    Html(#[from] askama::Error),
}

impl Look {
    /// With the fonts of a folder and the logo of a file, where there are such.
    pub(crate) fn load(fonts: Option<&Path>, logo: Option<&Path>) -> Result<Self, LookError> {
        let fonts = fonts.map_or_else(|| Ok(Fonts::built_in()), Fonts::of_folder)?;
        let logo = logo.map(read_logo).transpose()?;
        Ok(Self { fonts: Arc::new(fonts), logo: logo.map(Arc::new) })
    }

    /// Writes a document. Takes as long as it has lines: not for a thread that others wait for.
    pub(crate) fn write(&self, invoice: &Invoice, paid: Paid, format: Format) -> Result<Vec<u8>, DocumentError> {
        let view = View::of(invoice, paid);
        match format {
            Format::Html => html::write(&view, self.logo.as_ref().map(|logo| logo.uri.as_str())),
            Format::Pdf => pdf::write(&view, &self.fonts, self.logo.as_ref().map(|logo| &logo.picture)),
        }
    }
}

fn read_logo(path: &Path) -> Result<Logo, LookError> {
    let flaw = |error: &dyn std::fmt::Display| LookError::Logo(format!("{}: {error}", path.display()));
    let file = std::fs::read(path).map_err(|error| flaw(&error))?;
    let picture = Picture::read(&file).map_err(|error| flaw(&error))?;
    let media = match file.as_slice() {
        [0x89, b'P', ..] => "png",
        [0xff, 0xd8, ..] => "jpeg",
        _ => "webp",
    };
    Ok(Logo { picture, uri: format!("data:image/{media};base64,{}", STANDARD.encode(&file)) })
}
