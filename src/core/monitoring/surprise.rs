//! How improbable a window of measurements is, given all before: P(measurements | service).

use super::{
    sketch::{Counts, Sketch},
    tail::{self, Before, MOST_SURPRISING},
};
use crate::api::measurements::Cause;

/// Windows that must have been seen before any is judged: twelve, of which the first have faded a little.
const FEWEST_WINDOWS: f64 = 11.5;
/// Measurements that must have been seen.
const FEWEST: f64 = 100.0;
/// Share of the answers before that lie below what a slow answer exceeds; the last is all of them.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
/// Weight below which answers are none: what was seen once, half a life ago.
const NONE: f64 = 0.5;
/// A slow answer lies so many buckets beyond: it takes at least 22 % longer. What is less is of no use to know.
const DEAD_BAND: u8 = 1;

/// −log₁₀ of probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surprise {
    /// That a window has so many slow answers.
    pub slower: f64,
    /// That so many measurements of a window fail.
    pub failing: f64,
}

impl Surprise {
    /// The larger one.
    #[must_use]
    pub const fn most(self) -> f64 {
        self.slower.max(self.failing)
    }

    /// What is more surprising.
    #[must_use]
    pub fn cause(self) -> Cause {
        if self.failing >= self.slower { Cause::Failing } else { Cause::Slower }
    }
}

/// Judges a window by what was seen before it; `None` while that is too little.
///
/// Five counts are looked at: answers beyond four quantiles of those before, and failures. Each probability is taken five times as large
/// (Bonferroni), so that of measurements which do not depend on each other, and are distributed as before, a window's surprise exceeds s
/// with a probability of at most 10⁻ˢ.
#[must_use]
pub fn surprise(window: &Counts, before: &Sketch) -> Option<Surprise> {
    if before.windows() < FEWEST_WINDOWS || before.answered() + before.failed() < FEWEST {
        return None;
    }
    // a cast is exact for so few
    let price = ((QUANTILES.len() + 1) as f64).log10();
    let paid = |surprise: f64| (surprise - price).clamp(0.0, MOST_SURPRISING);
    let (answered, seen) = (window.answered(), before.answered());
    let correlation = before.correlation();
    let slower = QUANTILES.iter().filter_map(|quantile| {
        let edge = before.before_last(((1.0 - quantile) * seen).max(NONE))?.saturating_add(DEAD_BAND);
        let events = before.beyond(edge);
        let before = Before { events, others: seen - events, correlation };
        Some(tail::surprise(window.beyond(edge), answered, before))
    });
    // failures have no rhythm that would excuse them
    let failures = Before { events: before.failed(), others: seen, correlation: 0.0 };
    Some(Surprise {
        slower: paid(slower.fold(0.0, f64::max)),
        failing: paid(tail::surprise(window.failed, window.all(), failures)),
    })
}
