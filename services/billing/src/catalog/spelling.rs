//! The names in a catalog's file: what they seem, and each in its one spelling, as the charges that name them are. Catalogs
//! that are kept are read without: an earlier program took them as they are.

use super::Flaws;
use super::file::{File, ScopeEntry};
use crate::domain::{AttributionError, MeterName, ModelName, ProjectName};

/// Spells every name of a file, and tells every one that is not what it seems.
pub(super) fn spell(file: &mut File, flaws: &mut Flaws) {
    for plan in &mut file.plans {
        let place = format!("plan {}", plan.id);
        shown(flaws, &place, "name", &mut plan.name);
        plan.scope.iter_mut().for_each(|it| scope(flaws, &place, it));
    }
    for pack in &mut file.packs {
        let place = format!("pack {}", pack.id);
        shown(flaws, &place, "name", &mut pack.name);
        pack.scope.iter_mut().for_each(|it| scope(flaws, &place, it));
    }
    for model in &mut file.models {
        let place = format!("model {}", model.id);
        shown(flaws, &place, "name", &mut model.name);
        named(flaws, &place, "id", &mut model.id, |it| ModelName::given(it).map(|it| it.to_string()));
        // As the catalog is going to call it: what is wrong with a meter is told once.
        let place = format!("model {}", model.id);
        for meter in &mut model.meters {
            let place = format!("meter {} of {place}", meter.id);
            shown(flaws, &place, "unit", &mut meter.unit);
            named(flaws, &place, "id", &mut meter.id, |it| MeterName::given(it).map(|it| it.to_string()));
        }
    }
}

fn scope(flaws: &mut Flaws, place: &str, scope: &mut ScopeEntry) {
    for model in &mut scope.models {
        named(flaws, place, "scope.models", model, |it| ModelName::given(it).map(|it| it.to_string()));
    }
    for project in &mut scope.projects {
        named(flaws, place, "scope.projects", project, |it| ProjectName::given(it).map(|it| it.to_string()));
    }
}

fn shown(flaws: &mut Flaws, place: &str, field: &str, text: &mut String) {
    // Whether there is one, and how long all of it may be, is said of the catalog.
    named(flaws, place, field, text, |it| Ok(bursar_text::line(it, usize::MAX)?));
}

fn named(
    flaws: &mut Flaws,
    place: &str,
    field: &str,
    text: &mut String,
    rule: impl Fn(&str) -> Result<String, AttributionError>,
) {
    match rule(text) {
        Ok(spelled) => *text = spelled,
        Err(_) if flaws.is_told(text) => {}
        Err(error) => flaws.add(place, field, error),
    }
}
