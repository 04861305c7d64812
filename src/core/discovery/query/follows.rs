//! When is a status told that follows slices?
//!
//! A change of health concerns all queries that its service answers. Clients see the slices: those of all these queries come first, and what the
//! statuses cost does not hold them up. Changes that come together are told of once.

use jiff::{SignedDuration, Timestamp};

/// How long a status waits for the slices of other queries.
const FOLLOWS: SignedDuration = SignedDuration::from_millis(200);
/// How long it waits at most while the slices of its own query keep changing.
const LONGEST: SignedDuration = SignedDuration::from_secs(1);

/// A status that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Since when.
    since: Timestamp,
    /// When it is written, unless slices change again.
    pub due: Timestamp,
}

/// What is owed after a look at which a status was to be written; `None` when it is to be written now. `moved`: the slices of its query have
/// changed in this look.
#[must_use]
pub fn owed(before: Option<Owed>, moved: bool, now: Timestamp) -> Option<Owed> {
    let since = before.map_or(now, |owed| owed.since);
    let next = if moved {
        let last = since.checked_add(LONGEST).ok()?;
        Owed { since, due: now.checked_add(FOLLOWS).ok()?.min(last) }
    } else {
        before?
    };
    (now < next.due).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    #[test]
    fn what_moves_no_slice_is_told_at_once() {
        assert_eq!(owed(None, false, at(0)), None);
    }

    #[test]
    fn a_status_waits_for_a_moment_whoever_looks_meanwhile_and_never_for_long() {
        let first = owed(None, true, at(0)).unwrap();
        assert_eq!(first.due, at(200));
        assert_eq!(owed(Some(first), false, at(199)), Some(first));
        assert_eq!(owed(Some(first), false, at(200)), None);
        let mut last = first;
        for moment in (100..1000).step_by(100) {
            last = owed(Some(last), true, at(moment)).unwrap();
            assert_eq!(last.due, at((moment + 200).min(1000)));
        }
        assert_eq!(owed(Some(last), true, at(1000)), None);
    }
}
