//! A circuit breaker: an endpoint that fails again and again is left alone for a while, then tried with one call.
//!
//! The three states of M. Nygard, "Release It!" (2nd ed. 2018, ch. 5): closed, open until a moment, half-open.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What is known of one endpoint's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    failures: u32,
    /// Left alone until then; tried with one call after it, until that has ended.
    until: Option<Timestamp>,
}

/// Whether calls may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// All.
    Free,
    /// One, while no other is under way.
    Trial,
    /// None until then.
    Closed(Timestamp),
}

impl Breaker {
    pub(super) fn passage(&self, now: Timestamp) -> Passage {
        match self.until {
            None => Passage::Free,
            Some(until) if until <= now => Passage::Trial,
            Some(until) => Passage::Closed(until),
        }
    }

    /// A call has ended; whether the endpoint is left alone from now on and was not before.
    pub(super) fn ended(&mut self, well: bool, limits: Option<(u32, Duration)>, now: Timestamp) -> bool {
        let Some((most, pause)) = limits.filter(|_| !well) else {
            // one that began before and ends well tells that the endpoint works
            *self = Self::default();
            return false;
        };
        self.failures = self.failures.saturating_add(1);
        if self.failures < most {
            return false;
        }
        let fresh = !matches!(self.passage(now), Passage::Closed(_));
        if fresh {
            let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
            self.until = Some(now.saturating_add(pause).unwrap_or(Timestamp::MAX));
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_call_tries_whether_it_may_close() {
        let limits = Some((3, Duration::from_secs(10)));
        let at = |s: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s);
        let mut breaker = Breaker::default();
        for well in [false, false, true, false, false] {
            assert!(!breaker.ended(well, limits, at(0)));
            assert_eq!(breaker.passage(at(0)), Passage::Free);
        }
        assert!(breaker.ended(false, limits, at(1)));
        assert_eq!(breaker.passage(at(10)), Passage::Closed(at(11)));
        assert!(!breaker.ended(false, limits, at(5)), "calls that were under way do not lengthen the pause");
        assert_eq!(breaker.passage(at(11)), Passage::Trial);
        assert!(breaker.ended(false, limits, at(12)), "the trial fails");
        assert_eq!(breaker.passage(at(12)), Passage::Closed(at(22)));
        assert!(!breaker.ended(true, limits, at(23)));
        assert_eq!(breaker.passage(at(23)), Passage::Free);
    }
}
