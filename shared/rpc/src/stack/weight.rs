//! What the messages of calls in work have in memory.
//!
//! Calls are bounded by number, and a message may be a thousand times as large as most are: so the bytes have a bound of their
//! own, of which a caller may have as much as is left for everybody else ([`crate::has_room`]). The first kilobyte of each
//! message goes with its call's place, so that most calls ask for nothing more. What lists and maps take once they are read
//! counts like bytes (`growth.rs`), and the first 8 KiB of it go with the place, too: as much as a charge takes with all the meters
//! and labels that it may have.
//!
//! Bytes count as they come, and not as a caller says how many will. They are given back when the call has ended: of a message
//! that was read there is something in memory until then. Of a stream its longest message counts: that is what is read at once.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;

use super::shed::{By, InFlight};
use crate::Problem;

/// So many bytes of a message go with the place of its call.
pub(super) const SMALL: usize = 1024;

/// So many bytes that the parts of a message take once it is read go with the place of its call, too.
pub(super) const SMALL_PARTS: usize = 8 * 1024;

/// Larger messages take their bytes in so many at a time, smaller ones in powers of two.
const PORTION: usize = 64 * 1024;

/// What stands in front of each message: whether it is compressed, and in four bytes how long it is.
const HEAD: u8 = 5;

tokio::task_local! {
    /// Of the call that a task serves. Its message is read within it.
    static OF_CALL: Option<Weight>;
}

/// What one call's message has in memory; given back when it is dropped.
pub(super) struct Weight {
    in_flight: Arc<InFlight>,
    by: By,
    /// Taken for it, beside what goes with its call's place.
    bytes: Cell<usize>,
}

impl Weight {
    /// Of a message of this caller's that is still to be read.
    pub(super) fn none(in_flight: &Arc<InFlight>, by: By) -> Self {
        Self { in_flight: Arc::clone(in_flight), by, bytes: Cell::new(0) }
    }

    /// So many bytes of it are in memory.
    fn hold(&self, bytes: usize) -> Result<(), Problem> {
        let taken = self.bytes.get();
        let wanted = rounded(bytes);
        if wanted > taken {
            self.in_flight.take(self.by, wanted - taken)?;
            self.bytes.set(wanted);
        }
        Ok(())
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        let bytes = self.bytes.get();
        if bytes > 0 {
            self.in_flight.give_back(self.by, bytes);
        }
    }
}

/// Serves a call: what its message has in memory counts until that is done, however it ends.
pub(super) fn counted<F: Future>(weight: Option<Weight>, serving: F) -> impl Future<Output = F::Output> {
    OF_CALL.scope(weight, serving)
}

/// The message of the call that this task serves has so many bytes in memory, and its parts take so many more.
pub(super) fn hold(come: usize, grown: usize) -> Result<(), Problem> {
    let bytes = come.saturating_add(grown.saturating_sub(SMALL_PARTS));
    if bytes <= SMALL {
        return Ok(());
    }
    let counted = OF_CALL.try_with(|weight| weight.as_ref().map_or(Ok(()), |weight| weight.hold(bytes)));
    // Nobody reads a message outside of its call.
    counted.unwrap_or(Ok(()))
}

/// So many bytes are taken for a message that has at least these.
fn rounded(bytes: usize) -> usize {
    let unit = if bytes <= PORTION { bytes.next_power_of_two() } else { PORTION };
    bytes.checked_next_multiple_of(unit).unwrap_or(usize::MAX)
}

/// What has come of a request.
pub(super) enum Come {
    /// Of a single message: so many bytes, all of which stay.
    One(usize),
    /// Of a stream of messages.
    Many(Longest),
}

impl Come {
    /// Takes note of bytes that have come; how many are in memory at once.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::One(all) => {
                *all = all.saturating_add(bytes.len());
                *all
            }
            Self::Many(longest) => {
                longest.take(bytes);
                longest.bytes
            }
        }
    }
}

/// The longest message of a stream, as far as it has come.
#[derive(Default)]
pub(super) struct Longest {
    bytes: usize,
    /// How much of the next message's head has come, and its length so far.
    head: u8,
    length: u32,
    /// How much of a message has come whose head has, and how much is still to come.
    come: usize,
    left: usize,
}

impl Longest {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let more = self.left.min(bytes.len());
                self.left -= more;
                self.come += more;
                self.bytes = self.bytes.max(self.come);
                bytes = bytes.get(more..).unwrap_or_default();
            } else {
                // The first byte of the five is no part of the length, and is shifted out of it.
                self.length = (self.length << 8) | u32::from(*first);
                self.head += 1;
                bytes = rest;
                if self.head == HEAD {
                    self.head = 0;
                    self.come = 0;
                    self.left = usize::try_from(self.length).unwrap_or(usize::MAX);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bursar_id::UserId;
    use futures::FutureExt as _;

    use super::*;
    use crate::caller::Party;
    use crate::problem::reason;

    const KIB: usize = 1024;

    fn person(number: u8) -> By {
        By::Known(Party::Person(UserId::from_parts(1, [number; 10])))
    }

    /// Messages as they stand in a stream.
    fn stream(lengths: &[usize]) -> Vec<u8> {
        let message = |length: &usize| {
            let head = u32::try_from(*length).expect("short").to_be_bytes();
            [&[0][..], &head[..], &vec![7; *length][..]].concat()
        };
        lengths.iter().flat_map(message).collect()
    }

    #[test]
    fn bytes_are_taken_in_steps_that_few_calls_need() {
        let table = [
            (KIB + 1, 2 * KIB),
            (3 * KIB, 4 * KIB),
            (64 * KIB, 64 * KIB),
            (64 * KIB + 1, 128 * KIB),
            (crate::MAX_MESSAGE, crate::MAX_MESSAGE),
            (usize::MAX, usize::MAX),
        ];
        for (bytes, taken) in table {
            assert_eq!(rounded(bytes), taken, "{bytes}");
        }
    }

    #[test]
    fn one_callers_bytes_leave_room_for_others() {
        let in_flight = Arc::new(InFlight::new(8, 96 * KIB));
        let message = |number, bytes| {
            let weight = Weight::none(&in_flight, person(number));
            weight.hold(bytes).map(|()| weight)
        };
        let mut hers: Vec<_> = (0..3).map(|_| message(1, 16 * KIB).expect("half of them")).collect();
        let refused = Weight::none(&in_flight, person(1)).hold(16 * KIB).expect_err("more than are left");
        assert_eq!(refused.reason(), reason::OVERLOADED);
        assert!(message(2, 16 * KIB).is_ok(), "others have room");
        hers.pop();
        let grown = hers.pop().expect("two are left");
        grown.hold(20 * KIB).expect("she has room again");
        assert!(grown.hold(64 * KIB).is_err(), "but not for so much");
        assert_eq!(in_flight.bytes(), (16 + 32) * KIB, "what was refused takes nothing");
        drop((hers, grown));
        assert_eq!(in_flight.bytes(), 0, "everything was given back");
    }

    #[test]
    fn what_a_charge_has_of_parts_goes_with_the_place_of_its_call() {
        let in_flight = Arc::new(InFlight::new(8, 96 * KIB));
        let taken = |come, grown| {
            let weight = Weight::none(&in_flight, person(1));
            let held = counted(Some(weight), async { hold(come, grown).map(|()| in_flight.bytes()) });
            held.now_or_never().expect("nothing is waited for").expect("room")
        };
        assert_eq!(taken(SMALL, SMALL_PARTS), 0);
        assert_eq!(taken(SMALL, SMALL_PARTS + 1), 2 * KIB);
        assert_eq!(taken(3 * KIB, SMALL_PARTS), 4 * KIB, "as one without parts");
        assert_eq!(taken(3 * KIB, SMALL_PARTS + 2 * KIB), 8 * KIB, "as one of five kilobytes");
        assert_eq!(in_flight.bytes(), 0, "everything was given back");
    }

    #[test]
    fn what_a_stream_has_in_memory_is_its_longest_message() {
        let sent = stream(&[300, 0, 70_000, 10, 65_536]);
        for step in [1, 3, 1_000, sent.len()] {
            let mut come = Come::Many(Longest::default());
            let held: Vec<usize> = sent.chunks(step).map(|chunk| come.take(chunk)).collect();
            assert_eq!(held.last(), Some(&70_000), "{step} at a time");
            assert!(held.is_sorted(), "{step} at a time");
        }
        let mut come = Come::Many(Longest::default());
        // What is announced and has not come is nowhere.
        assert_eq!(come.take(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2]), 2);
        let mut all = Come::One(0);
        assert_eq!((all.take(&[0; 5]), all.take(&[0; 700])), (5, 705));
    }
}
