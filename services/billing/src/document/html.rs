//! A document as a page of HTML that needs nothing else. Every text is escaped by the template.

use askama::Template;

use super::DocumentError;
use super::view::View;

#[derive(Template)]
#[template(path = "invoice.html")]
struct Page<'a> {
    view: &'a View<'a>,
    logo: Option<&'a str>,
}

pub(super) fn write(view: &View<'_>, logo: Option<&str>) -> Result<Vec<u8>, DocumentError> {
    Ok(Page { view, logo }.render()?.into_bytes())
}
