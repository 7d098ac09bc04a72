//! What the check finds: in which store something is not as the service that decides it has it.

use std::collections::BTreeSet;
use std::fmt;

use bursar_id::{OrganizationId, OwnerId, ProjectId};
use bursar_members::words::Name;
use bursar_runtime::Service;

/// The most differences that are looked for: with more than that, the rest is the same story.
const MOST: usize = 10_000;

/// Something that two stores say differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// In whose store it is found.
    pub(crate) service: Service,
    /// Whom it concerns; none is the whole deployment.
    pub(crate) owner: Option<OwnerId>,
    /// What it is about.
    pub(crate) what: String,
    /// What the service says that decides it.
    pub(crate) expected: String,
    /// What is found.
    pub(crate) found: String,
    /// What would put it right.
    pub(crate) cure: Cure,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, owner, what, expected, found, .. } = self;
        let owner = owner.map_or_else(|| "deployment".to_owned(), |owner| owner.to_string());
        write!(f, "{service} {owner} {what}: expected {expected}, found {found}")
    }
}

/// What puts a difference right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cure {
    /// Nothing that was ever told: somebody has to look.
    Operator,
    /// What this service tells, once more, and nothing else that is known of it counts any longer.
    Told(Service, Doubt),
}

/// What must not count any longer, so that what is told does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// Nothing: what is told holds by itself.
    Nothing,
    /// A membership.
    Membership(Name),
    /// An owner's policies; none is the deployment.
    Policies(Option<OwnerId>),
    /// How an organization stands.
    Standing(OwnerId),
    /// An organization's plan, with its seats.
    Seats(OrganizationId),
    /// A project.
    Project(OwnerId, ProjectId),
}

/// What was found so far, each difference once and in order.
#[derive(Debug, Default)]
pub(crate) struct Found {
    differences: BTreeSet<Difference>,
    /// Whether there may be more than were looked for.
    is_full: bool,
}

impl Found {
    /// Adds a difference, unless there are too many already.
    pub(crate) fn note(&mut self, difference: Difference) {
        if !self.is_full {
            self.differences.insert(difference);
            self.is_full = self.differences.len() >= MOST;
        }
    }

    /// Whether there may be more than were looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// What was found the same another time: not what was on its way. Where either look came to its end too soon, there may
    /// be more of it.
    pub(crate) fn again(self, other: &Self) -> Self {
        let both = self.differences.into_iter().filter(|it| other.differences.contains(it));
        Self { differences: both.collect(), is_full: self.is_full || other.is_full }
    }

    /// All of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.differences.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(found: u32) -> Difference {
        Difference {
            service: Service::Organization,
            owner: Some(bursar_testkit::organization(1)),
            what: "seats".to_owned(),
            expected: "10".to_owned(),
            found: found.to_string(),
            cure: Cure::Operator,
        }
    }

    #[test]
    fn a_difference_is_one_line_with_service_owner_what_expected_and_found() {
        let owner = bursar_testkit::organization(1);
        assert_eq!(seats(3).to_string(), format!("organization {owner} seats: expected 10, found 3"));
        let nobodys = Difference { owner: None, ..seats(3) };
        assert_eq!(nobodys.to_string(), "organization deployment seats: expected 10, found 3");
    }

    #[test]
    fn what_was_on_its_way_is_no_difference() {
        let [mut first, mut second] = [Found::default(), Found::default()];
        for n in [3, 4, 4] {
            first.note(seats(n));
        }
        for n in [4, 5] {
            second.note(seats(n));
        }
        assert_eq!((first.count(), second.count()), (2, 2));
        let both = first.again(&second);
        assert_eq!(both.all().collect::<Vec<_>>(), [&seats(4)]);
    }

    #[test]
    fn whoever_stopped_looking_may_not_have_found_all_however_little_is_found_again() {
        let [mut full, mut other] = [Found::default(), Found::default()];
        let most = u32::try_from(MOST).expect("not so many");
        for n in 0..most + 5 {
            full.note(seats(n));
        }
        other.note(seats(3));
        assert_eq!((full.count(), full.is_full(), other.is_full()), (MOST, true, false));
        let few = full.again(&other);
        assert_eq!((few.count(), few.is_full()), (1, true));
    }
}
