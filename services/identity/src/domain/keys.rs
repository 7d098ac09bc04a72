//! When signing keys begin, sign, and end.
//!
//! Key `n` signs from its `signs_from` until key `n + 1` does. A key is published as soon as it exists and at
//! least `lead` before it signs, so every verifier knows it in time; it stays published until the last
//! token it signed has expired.

use bursar_time::{Span, Timestamp};

/// How keys rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    /// How long one key signs.
    pub period: Span,
    /// How long a key is published before it signs.
    pub lead: Span,
    /// The longest life of a token, and some more for clocks that disagree.
    pub token_lifetime: Span,
}

/// The public face of a key in the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpan {
    /// Position in the rotation, counted from 1.
    pub generation: i64,
    /// From when it signs.
    pub signs_from: Timestamp,
}

/// What the rotation needs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A key to make.
    pub create: Option<KeySpan>,
    /// Generations that nothing alive was signed with.
    pub retire: Vec<i64>,
}

impl Rotation {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.create.is_none() && self.retire.is_empty()
    }
}

/// The key that signs at `now`: the last one that has begun; where none has, because the clock went back, the first. `keys`
/// are in the order of their generation.
pub fn signer(keys: &[KeySpan], now: Timestamp) -> Option<KeySpan> {
    keys.iter().rev().find(|key| key.signs_from <= now).or(keys.first()).copied()
}

/// What to do at `now`. `keys` are in the order of their generation.
///
/// After a long pause (nobody ran, or a test clock jumped) the successor still gets its lead: meanwhile
/// the old key signs on.
///
/// A key that signs from later than a lead ahead was announced by a clock that was ahead of this one. It goes, and whatever
/// that clock had signed with it; unless it is the only one: then it signs until its successor has been announced.
pub fn rotation(keys: &[KeySpan], policy: &KeyPolicy, now: Timestamp) -> Rotation {
    let Some(newest) = keys.last() else {
        return Rotation { create: Some(KeySpan { generation: 1, signs_from: now }), retire: Vec::new() };
    };
    let latest = now.saturating_add(policy.lead).saturating_add(policy.token_lifetime);
    let timely: Vec<KeySpan> = keys.iter().filter(|key| key.signs_from <= latest).copied().collect();
    let create = match timely.last() {
        Some(last) => successor(*last, newest.generation, policy, now),
        None => {
            now.checked_add(policy.lead).map(|from| KeySpan { generation: newest.generation + 1, signs_from: from })
        }
    };
    // Somebody has to sign until the first that is timely does, and what was signed must be verified.
    let took_over = |key: &KeySpan| key.signs_from.saturating_add(policy.token_lifetime) <= now;
    let kept = usize::from(!timely.iter().any(took_over));
    let untimely = keys.iter().filter(|key| key.signs_from > latest).map(|key| key.generation).skip(kept);
    let followed = timely
        .windows(2)
        .filter(|pair| pair[1].signs_from.checked_add(policy.token_lifetime).is_some_and(|end| end <= now))
        .map(|pair| pair[0].generation);
    Rotation { create, retire: followed.chain(untimely).collect() }
}

fn successor(last: KeySpan, newest: i64, policy: &KeyPolicy, now: Timestamp) -> Option<KeySpan> {
    let due = last.signs_from.checked_add(policy.period)?;
    let announced = now.checked_add(policy.lead)?;
    (due <= announced).then(|| KeySpan { generation: newest + 1, signs_from: due.max(announced) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: KeyPolicy =
        KeyPolicy { period: Span::from_secs(1_000), lead: Span::from_secs(100), token_lifetime: Span::from_secs(10) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_secs(seconds).expect("a time")
    }

    fn key(generation: i64, signs_from: i64) -> KeySpan {
        KeySpan { generation, signs_from: at(signs_from) }
    }

    #[test]
    fn the_rotation_follows_its_calendar() {
        let idle = Rotation::default;
        let creates = |k| Rotation { create: Some(k), retire: vec![] };
        let cases = [
            ("the first signs at once", vec![], 7, creates(key(1, 7))),
            ("nothing to do in mid period", vec![key(1, 0)], 500, idle()),
            ("announced a lead ahead", vec![key(1, 0)], 900, creates(key(2, 1_000))),
            ("never with less than its lead", vec![key(1, 0)], 950, creates(key(2, 1_050))),
            ("also after a long pause", vec![key(1, 0)], 9_000, creates(key(2, 9_100))),
            ("announced already", vec![key(1, 0), key(2, 1_000)], 950, idle()),
            ("kept while a token may live", vec![key(1, 0), key(2, 1_000)], 1_009, idle()),
            (
                "retired after its last token",
                vec![key(1, 0), key(2, 1_000)],
                1_010,
                Rotation { create: None, retire: vec![1] },
            ),
        ];
        for (name, keys, now, expected) in cases {
            assert_eq!(rotation(&keys, &POLICY, at(now)), expected, "{name}");
        }
    }

    /// Kind K: the clock went back, by an hour or by years; what it announced meanwhile goes, and somebody always signs.
    #[test]
    fn a_clock_that_went_back_finds_a_key_that_signs() {
        let cases = [
            ("an hour before the first", vec![key(1, 3_600)], 0, key(1, 3_600), Some(key(2, 100)), vec![]),
            ("both are ahead", vec![key(1, 3_600), key(2, 4_600)], 0, key(1, 3_600), Some(key(3, 100)), vec![2]),
            ("a successor of later", vec![key(1, 0), key(2, 9_000)], 500, key(1, 0), None, vec![2]),
            ("the substitute has begun", vec![key(1, 3_600), key(3, 100)], 109, key(3, 100), None, vec![]),
            ("and nothing of before is alive", vec![key(1, 3_600), key(3, 100)], 110, key(3, 100), None, vec![1]),
            (
                "announced by a clock that is a little ahead",
                vec![key(1, 0), key(2, 1_005)],
                900,
                key(1, 0),
                None,
                vec![],
            ),
            ("the substitute waits", vec![key(1, 3_600), key(3, 100)], 50, key(1, 3_600), None, vec![]),
        ];
        for (name, keys, now, signs, create, retire) in cases {
            assert_eq!(signer(&keys, at(now)), Some(signs), "{name}");
            assert_eq!(rotation(&keys, &POLICY, at(now)), Rotation { create, retire }, "{name}");
        }
    }

    proptest! {
        /// Kind K: wherever the clock leaps to, somebody signs with a key that is published.
        #[test]
        fn there_is_always_a_signer_wherever_the_clock_leaps(times in proptest::collection::vec(0_i64..9_000, 1..40)) {
            let mut keys = Vec::<KeySpan>::new();
            for now in times {
                let todo = rotation(&keys, &POLICY, at(now));
                keys.retain(|k| !todo.retire.contains(&k.generation));
                keys.extend(todo.create);
                prop_assert!(keys.is_sorted_by_key(|key| key.generation));
                prop_assert!(signer(&keys, at(now)).is_some());
                prop_assert!(keys.len() <= 4, "{keys:?}");
                let again = rotation(&keys, &POLICY, at(now));
                prop_assert!(again.create.is_none(), "{keys:?}");
            }
        }

        #[test]
        fn there_is_always_a_signer_that_was_published_in_time(steps in proptest::collection::vec(0_i64..2_500, 1..60)) {
            let (mut now, mut keys) = (0, Vec::<KeySpan>::new());
            let mut published = std::collections::HashMap::new();
            let mut previous: Option<KeySpan> = None;
            for step in steps {
                // A token made just before the step must be verifiable for its whole life.
                now += step;
                let todo = rotation(&keys, &POLICY, at(now));
                if let Some(signed) = previous.filter(|_| step < 10) {
                    prop_assert!(!todo.retire.contains(&signed.generation), "retired a key with a live token");
                }
                keys.retain(|k| !todo.retire.contains(&k.generation));
                if let Some(new) = todo.create {
                    published.insert(new.generation, now);
                    keys.push(new);
                }
                let signs = signer(&keys, at(now)).expect("a signer");
                if signs.generation > 1 {
                    prop_assert!(at(published[&signs.generation] + 100) <= signs.signs_from);
                }
                prop_assert!(keys.len() <= 3);
                previous = Some(signs);
            }
        }
    }
}
