//! What stands in a catalog's file for what cannot be read of it: how that is found is [`bursar_form`]'s.
//!
//! What nobody can name, an entry without its id, is looked at for its form alone.

use bursar_form::{Form, Place};

use super::Flaws;
use super::file::File;

pub(super) use bursar_form::UNREAD;

/// What stands for a name that is only shown.
const UNNAMED: &str = "?";

/// Of what a file has more than could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) plans: bool,
    pub(super) models: bool,
}

impl LeftOut {
    /// Some of what stands under a key of the file's own.
    fn some_of(&mut self, section: &str) {
        self.plans |= section == "plans";
        self.models |= section == "models";
    }
}

impl Form for LeftOut {
    type File = File;

    /// Names mean the same wherever they stand, but for lists of models.
    fn stand_in(&mut self, place: &mut Place<'_, '_>) {
        let key = place.key();
        if place.is_root() {
            self.some_of(key);
            place.put_list(key, &[]);
            return;
        }
        match key {
            "id" | "price" | "credits" | "rollover" | "seat_price" | "credits_per_seat" | "from" => {
                place.put_text(key, UNREAD);
            }
            "name" | "unit" => place.put_text(key, UNNAMED),
            "models" | "projects" => place.put_list(key, &[UNREAD]),
            "seats" => place.put_number(key, "1"),
            // Of a model without meters, and of what may be a contract, there is nothing more to say.
            "meters" => {
                place.put_list(key, &[]);
                place.put_text("id", UNREAD);
            }
            "contract" => {
                place.leave_out(key);
                place.put_text("id", UNREAD);
            }
            _ => place.leave_out(key),
        }
    }

    fn keeps_places(&self, key: &str, is_root: bool) -> bool {
        matches!(key, "models" | "projects") && !is_root
    }

    fn left_out(&mut self, place: &mut Place<'_, '_>) {
        if place.is_root() {
            self.some_of(place.key());
        } else if place.key() == "meters" {
            place.put_text("id", UNREAD);
        }
    }

    fn lost_section(&mut self) {
        *self = Self { plans: true, models: true };
    }
}

/// Reads a text as far as it can be. `None`: nothing can be read of it.
pub(super) fn read(text: &str, flaws: &mut Flaws) -> Option<(File, LeftOut)> {
    let mut left_out = LeftOut::default();
    let file = bursar_form::read(text, &mut left_out, &mut flaws.said)?;
    Some(named(file, left_out, flaws))
}

/// A file without the entries that nobody can name. Where nothing was told, each has the name that it says.
fn named(mut file: File, mut left_out: LeftOut, flaws: &mut Flaws) -> (File, LeftOut) {
    flaws.has_stand_ins = !flaws.said.is_empty();
    if flaws.has_stand_ins {
        let (plans, models) = (file.plans.len(), file.models.len());
        file.plans.retain(|it| it.id != UNREAD);
        file.packs.retain(|it| it.id != UNREAD);
        file.models.retain(|it| it.id != UNREAD && it.meters.iter().all(|meter| meter.id != UNREAD));
        left_out.plans |= file.plans.len() < plans;
        left_out.models |= file.models.len() < models;
    }
    (file, left_out)
}
