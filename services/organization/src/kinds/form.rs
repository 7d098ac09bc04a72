//! What stands in a kinds file for what cannot be read of it: how that is found is [`bursar_form`]'s.

use std::collections::BTreeSet;

use bursar_form::{Form, Place, UNREAD};

use super::file::File;
use crate::domain::kind::Declared;

/// Whether a file may have kinds that are not known.
#[derive(Clone, Copy, Debug, Default)]
struct LeftOut(bool);

impl Form for LeftOut {
    type File = File;

    fn stand_in(&mut self, place: &mut Place<'_, '_>) {
        let key = place.key();
        if place.is_root() {
            self.0 = true;
            place.put_list(key, &[]);
            return;
        }
        match key {
            "name" => place.put_text(key, UNREAD),
            "parents" => place.put_list(key, &[UNREAD]),
            // By its default none of these is a flaw.
            _ => place.leave_out(key),
        }
    }

    fn keeps_places(&self, key: &str, is_root: bool) -> bool {
        key == "parents" && !is_root
    }

    fn left_out(&mut self, place: &mut Place<'_, '_>) {
        self.0 |= place.is_root();
    }

    fn lost_section(&mut self) {
        self.0 = true;
    }
}

/// What a text declares, as far as it can be read, beside the built-in kinds; every flaw in its form is told. `None`: nothing can
/// be read of it.
pub(super) fn read(text: &str, built_in: &[Declared], flaws: &mut Vec<String>) -> Option<Vec<Declared>> {
    let (before, mut left_out) = (flaws.len(), LeftOut::default());
    let mut declared = bursar_form::read(text, &mut left_out, flaws)?.declared();
    if flaws.len() > before {
        certain(&mut declared, built_in, left_out);
    }
    Some(declared)
}

/// Leaves out what nobody can name, and what would be a flaw only because of what could not be read: a parent may be one of the
/// kinds that are not known.
fn certain(declared: &mut Vec<Declared>, built_in: &[Declared], LeftOut(mut left_out): LeftOut) {
    let all = declared.len();
    declared.retain(|kind| kind.name != UNREAD);
    left_out |= declared.len() < all;
    let known: BTreeSet<String> = built_in.iter().chain(declared.iter()).map(|kind| kind.name.clone()).collect();
    for kind in declared {
        let parents = kind.parents.len();
        kind.parents.retain(|parent| parent != UNREAD && (!left_out || known.contains(parent)));
        kind.may_stand_alone |= kind.parents.len() < parents && kind.parents.is_empty();
    }
}
