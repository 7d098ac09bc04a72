//! Reading the table of taxes. What such a table must be is the domain's to say ([`TaxProvider::table`]).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::domain::{TaxProvider, TaxRate};

/// The longest name of a tax, in characters.
const LONGEST_NAME: usize = 40;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    taxes: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    country: String,
    name: String,
    percent: String,
}

/// Everything that is wrong with a table.
#[derive(Debug)]
pub(crate) struct TaxError {
    path: PathBuf,
    flaws: Vec<String>,
}

impl TaxError {
    /// Everything that is wrong, each in a sentence.
    pub(crate) fn into_flaws(self) -> Vec<String> {
        self.flaws
    }
}

impl fmt::Display for TaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invoices.tax_file: {}: {}", self.path.display(), self.flaws.join("; "))
    }
}

impl std::error::Error for TaxError {}

/// Reads the table in a file; without one there are no taxes.
pub(crate) fn load(path: Option<&Path>) -> Result<TaxProvider, TaxError> {
    let Some(path) = path else { return Ok(TaxProvider::None) };
    let text = super::text_of(path).map_err(|flaw| vec![flaw]);
    text.and_then(|text| parse(&text)).map_err(|flaws| TaxError { path: path.to_owned(), flaws })
}

fn parse(text: &str) -> Result<TaxProvider, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut flaws = Vec::new();
    let rates: Vec<TaxRate> =
        (1..).zip(&file.taxes).filter_map(|(number, entry)| read(number, entry, &mut flaws)).collect();
    match TaxProvider::table(rates) {
        Ok(taxes) if flaws.is_empty() => Ok(taxes),
        Ok(_) => Err(flaws),
        Err(more) => Err(flaws.into_iter().chain(more.iter().map(ToString::to_string)).collect()),
    }
}

fn read(number: u32, entry: &Entry, flaws: &mut Vec<String>) -> Option<TaxRate> {
    let mut flaw = |field: &str, error: &dyn fmt::Display| flaws.push(format!("tax {number}: {field} {error}"));
    let country = entry.country.parse().map_err(|error| flaw("country", &error)).ok();
    let name = bursar_text::name(&entry.name, LONGEST_NAME).map_err(|error| flaw("name", &error)).ok();
    let percent = entry.percent.parse().map_err(|error| flaw("percent", &error)).ok();
    Some(TaxRate { country: country?, name: name?, percent: percent? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let text = "[[taxes]]\ncountry = 'DE'\nname = 'USt.'\npercent = '19'\n\
                    [[taxes]]\ncountry = 'CA'\nname = 'GST'\npercent = '5'\n";
        let taxes = parse(text).unwrap();
        let german: Vec<_> =
            taxes.rates("DE".parse().ok()).map(|it| (it.name.as_str(), it.percent.to_string())).collect();
        assert_eq!(german, [("USt.", "19".to_owned())]);
        assert_eq!(load(None).unwrap(), TaxProvider::None);
    }

    #[test]
    fn every_mistake_is_named() {
        let text = "[[taxes]]\ncountry = 'Germany'\nname = ''\npercent = '190'\n\
                    [[taxes]]\ncountry = 'CA'\nname = 'GST'\npercent = '5'\n\
                    [[taxes]]\ncountry = 'CA'\nname = 'GST'\npercent = '7'\n";
        let flaws = parse(text).unwrap_err();
        for (flaw, part) in flaws.iter().zip(["tax 1: country", "tax 1: name", "tax 1: percent", "CA has the tax"]) {
            assert!(flaw.starts_with(part), "{flaws:?}");
        }
        assert_eq!(flaws.len(), 4, "{flaws:?}");
        assert!(parse("[[taxes]]\ncountry = 'DE'").is_err());
        assert!(parse("[[taxes]]\nland = 'DE'").unwrap_err()[0].contains("land"));
        let said = load(Some(Path::new("/nowhere/taxes.toml"))).unwrap_err().to_string();
        assert!(said.starts_with("invoices.tax_file: /nowhere/taxes.toml: cannot be read"), "{said}");
    }

    /// An operator's file with edits: every flaw is told, and none is a panic.
    #[test]
    fn fuzz_taxes() {
        const FILE: &str = "[[taxes]]\ncountry = 'DE'\nname = 'USt.'\npercent = '19'\n\
                            [[taxes]]\ncountry = 'CA'\nname = 'GST'\npercent = '5'\n";
        assert!(parse(FILE).is_ok());
        bursar_fuzz::fuzz("taxes", &[FILE], |bytes| {
            let flaws = parse(&String::from_utf8_lossy(bytes)).err();
            assert!(flaws.is_none_or(|flaws| !flaws.is_empty()), "it is refused for nothing");
        });
    }
}
