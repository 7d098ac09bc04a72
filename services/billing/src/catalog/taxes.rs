//! Reading the table of taxes. What such a table must be is the domain's to say ([`TaxProvider::table`]), and how whatever cannot be
//! read of its file is found [`bursar_form`]'s.

use std::fmt;
use std::path::{Path, PathBuf};

use bursar_form::{Form, Place, UNREAD};
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

/// What stands in the file for what cannot be read of it.
#[derive(Default)]
struct StandIns {
    /// Whether something in the list could not be read at all: the numbers of what stands behind it are not those in the file.
    left_out: bool,
}

impl Form for StandIns {
    type File = File;

    fn stand_in(&mut self, place: &mut Place<'_, '_>) {
        let key = place.key();
        if place.is_root() { place.put_list(key, &[]) } else { place.put_text(key, UNREAD) }
    }

    fn keeps_places(&self, _key: &str, _is_root: bool) -> bool {
        false
    }

    fn left_out(&mut self, _place: &mut Place<'_, '_>) {
        self.left_out = true;
    }

    fn lost_section(&mut self) {}
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
    let (mut flaws, mut stand_ins) = (Vec::new(), StandIns::default());
    let Some(file) = bursar_form::read(text, &mut stand_ins, &mut flaws) else { return Err(flaws) };
    let has_stand_ins = !flaws.is_empty();
    let called = |number: u32| if stand_ins.left_out { "a tax".to_owned() } else { format!("tax {number}") };
    let read = |(number, entry)| read((&called(number), entry), has_stand_ins, &mut flaws);
    let rates: Vec<TaxRate> = (1..).zip(&file.taxes).filter_map(read).collect();
    match TaxProvider::table(rates) {
        Ok(taxes) if flaws.is_empty() => Ok(taxes),
        Ok(_) => Err(flaws),
        Err(more) => Err(flaws.into_iter().chain(more.iter().map(ToString::to_string)).collect()),
    }
}

fn read((called, entry): (&str, &Entry), has_stand_ins: bool, flaws: &mut Vec<String>) -> Option<TaxRate> {
    let Entry { country, name, percent } = entry;
    let mut flaw = |field: &str, said: &str, error: &dyn fmt::Display| {
        // What something stands for was told as a flaw of the form.
        if !has_stand_ins || said != UNREAD {
            flaws.push(format!("{called}: {field} {error}"));
        }
    };
    let country = country.parse().map_err(|error| flaw("country", country, &error)).ok();
    let name = bursar_text::name(name, LONGEST_NAME).map_err(|error| flaw("name", name, &error)).ok();
    let percent = percent.parse().map_err(|error| flaw("percent", percent, &error)).ok();
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

    #[test]
    fn mistakes_of_form_and_of_value_are_named_together_and_each_once() {
        let text = "[[taxes]]\ncountry = 'Germany'\nnane = 'USt.'\npercent = 19\n\
                    [[taxes]]\ncountry = 'CA'\nname = 'GST'\npercent = '5'\nsince = 2020\n\
                    [[taxes]]\ncountry = 'CA'\nname = 'PST'\npercent = '190'\n\
                    [[taxes]]\nname = 'TVA'\npercent = '20'\n\
                    [[rates]]\ncountry = 'FR'\n";
        let flaws = parse(text).unwrap_err();
        let parts = [
            "did you mean `name`?",
            "invalid type: integer `19`",
            "unknown field `since`",
            "unknown field `rates`",
            "missing field `country`",
            "tax 1: country",
            "tax 3: percent",
        ];
        for part in parts {
            assert_eq!(flaws.iter().filter(|flaw| flaw.contains(part)).count(), 1, "{part}: {flaws:#?}");
        }
        assert_eq!(flaws.len(), parts.len(), "{flaws:#?}");
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
