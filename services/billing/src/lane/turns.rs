//! Whose request comes next, among those that wait: the owners take turns, with requests as the unit ([`bursar_db::Turns`]).

use bursar_id::OwnerId;

use super::job::Submission;

/// Submissions that wait, by the owner of their first request.
#[derive(Default)]
pub(super) struct Turns(bursar_db::Turns<OwnerId, Submission>);

impl Turns {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a submission behind what its owner waits with. One without requests waits for nothing.
    pub(super) fn push(&mut self, submission: Submission) {
        if let Some(owner) = submission.owner() {
            self.0.push(owner, submission);
        }
    }

    /// Whose turn is next, of those for whom there is room.
    pub(super) fn next(&self, has_room: impl Fn(OwnerId) -> bool) -> Option<OwnerId> {
        self.0.next(has_room)
    }

    /// Whether anybody else waits than this owner.
    pub(super) fn has_others(&self, owner: OwnerId) -> bool {
        self.0.has_others(owner)
    }

    /// Takes the first submission that `owner` waits with.
    pub(super) fn pop(&mut self, owner: OwnerId) -> Option<Submission> {
        self.0.pop(owner, |submission| submission.jobs.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bursar_testkit::id;

    use super::*;
    use crate::domain::{Actor, Command, Request};
    use crate::lane::job::Job;

    fn owner(number: u64) -> OwnerId {
        OwnerId::User(id(number))
    }

    fn submission(of: u64, jobs: usize) -> Submission {
        let job = Job { owner: owner(of), actor: Actor::Job, request: Request::unnamed(Command::Sweep) };
        Submission::new(vec![job; jobs], None).0
    }

    /// In which order the owners have their turns, and with how many requests.
    fn order(turns: &mut Turns) -> Vec<(OwnerId, usize)> {
        let next = || {
            let owner = turns.next(|_| true)?;
            Some((owner, turns.pop(owner)?.jobs.len()))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn owners_take_turns_by_how_much_they_ask() {
        let mut turns = Turns::default();
        (0..3).for_each(|_| turns.push(submission(1, 4)));
        (0..5).for_each(|_| turns.push(submission(2, 1)));
        turns.push(submission(3, 2));
        let taken = order(&mut turns).into_iter().map(|(of, jobs)| {
            (
                if of == owner(1) {
                    1
                } else if of == owner(2) {
                    2
                } else {
                    3
                },
                jobs,
            )
        });
        let expected = [(1, 4), (2, 1), (3, 2), (2, 1), (2, 1), (2, 1), (1, 4), (2, 1), (1, 4)];
        assert_eq!(taken.collect::<Vec<_>>(), expected);
        assert!(turns.is_empty());
    }

    #[test]
    fn whoever_comes_again_at_once_stands_behind_those_who_wait() {
        let mut turns = Turns::default();
        (1..=4).for_each(|of| turns.push(submission(of, 1)));
        let mut served = HashMap::new();
        for _ in 0..40 {
            let owner = turns.next(|_| true).unwrap();
            let again = turns.pop(owner).unwrap();
            *served.entry(owner).or_insert(0) += 1;
            turns.push(again);
        }
        let each: HashMap<_, _> = (1..=4).map(|of| (owner(of), 10)).collect();
        assert_eq!(served, each);
    }

    #[test]
    fn a_newcomer_is_not_behind_those_who_have_waited_long() {
        let mut turns = Turns::default();
        (0..100).for_each(|_| turns.push(submission(1, 10)));
        (0..10).for_each(|_| drop(turns.pop(owner(1))));
        turns.push(submission(2, 1));
        assert_eq!(turns.pop(owner(1)).map(|it| it.jobs.len()), Some(10));
        assert_eq!(turns.next(|_| true), Some(owner(2)));
        assert_eq!(turns.next(|of| of != owner(2)), Some(owner(1)), "for whom there is no room waits");
        assert!(turns.has_others(owner(1)) && turns.has_others(owner(3)));
        assert_eq!(order(&mut turns).len(), 90);
    }
}
