//! In which order those come that wait: by urgency, and by how long they have waited.

use jiff::{SignedDuration, Timestamp};

use crate::api::vocabulary::Urgency;

/// How many ranks there are: two for each urgency, since what has waited long comes first among its equals.
pub(super) const RANKS: usize = 2 * Urgency::ALL.len();

/// Somebody who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aging {
    /// How soon the result is needed.
    pub urgency: Urgency,
    /// Since when it waits.
    pub since: Timestamp,
    /// After so long it rises one level, to `urgent` at most; after twice as long it comes first among its equals.
    pub aging: Option<SignedDuration>,
}

impl Aging {
    /// Its rank, two for each urgency: its urgency, one level more once it has waited for long, and before its equals after
    /// twice that.
    #[must_use]
    pub fn rank(&self, now: Timestamp) -> usize {
        let level = self.urgency as usize;
        let Some(aging) = self.aging else { return 2 * level };
        let waited = now.duration_since(self.since);
        let risen = if waited >= aging { (level + 1).min((Urgency::Urgent as usize).max(level)) } else { level };
        2 * risen + usize::from(waited >= aging.saturating_mul(2))
    }

    /// When it comes from this rank to the next.
    #[must_use]
    pub fn rises(&self, rank: usize) -> Option<Timestamp> {
        let aging = self.aging?;
        let once = self.since.saturating_add(aging).ok()?;
        let twice = self.since.saturating_add(aging.saturating_mul(2)).ok()?;
        let level = self.urgency as usize;
        if rank % 2 == 1 {
            None
        } else if rank == 2 * level && level < Urgency::Urgent as usize {
            Some(once)
        } else {
            Some(twice)
        }
    }
}
