//! When those that wait are told where they stand, be it for capacity or for their turn to call: each word costs a status write.

use jiff::SignedDuration;

/// A wait is not told before it has lasted so long: most are over by then.
pub const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(10);
/// Where a step stands is told again after so long, if that has changed much.
pub const TOLD_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Whether a place in the order is worth another word: another half of those who were ahead is, or is not.
#[must_use]
pub const fn moved_much(ahead_before: usize, ahead: usize) -> bool {
    ahead_before.abs_diff(ahead) * 2 > ahead_before
}
