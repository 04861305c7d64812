//! A circuit breaker: an endpoint that fails again and again is left alone for a while, then tried with one call.
//!
//! The three states of M. Nygard, "Release It!" (2nd ed. 2018, ch. 5): closed, open until a moment, half-open.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What is known of one endpoint's failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    failures: u32,
    /// Left alone since then for as long as the limits of now say, then tried with one call.
    opened: Option<Timestamp>,
}

/// Whether calls may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// All.
    Free,
    /// One.
    Trial,
    /// None until then.
    Closed(Timestamp),
}

impl Breaker {
    /// As `limits` say now: after how many failures in a row an endpoint is left alone, and for how long.
    pub(super) fn passage(&self, limits: Option<(u32, Duration)>, now: Timestamp) -> Passage {
        let (Some(opened), Some((most, pause))) = (self.opened, limits) else { return Passage::Free };
        if self.failures < most {
            return Passage::Free;
        }
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
        match opened.saturating_add(pause).unwrap_or(Timestamp::MAX) {
            until if until <= now => Passage::Trial,
            until => Passage::Closed(until),
        }
    }

    /// A call has ended; whether the endpoint is left alone from now on and was not before.
    pub(super) fn ended(&mut self, well: bool, limits: Option<(u32, Duration)>, now: Timestamp) -> bool {
        let Some((most, _)) = limits.filter(|_| !well) else {
            // one that began before and ends well tells that the endpoint works
            *self = Self::default();
            return false;
        };
        let passage = self.passage(limits, now);
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= most && !matches!(passage, Passage::Closed(_));
        if opens {
            self.opened = Some(now);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_call_tries_whether_it_may_close() {
        let limits = Some((3, Duration::from_secs(10)));
        let mut breaker = Breaker::default();
        for well in [false, false, true, false, false] {
            assert!(!breaker.ended(well, limits, at(0)));
            assert_eq!(breaker.passage(limits, at(0)), Passage::Free);
        }
        assert!(breaker.ended(false, limits, at(1)));
        assert_eq!(breaker.passage(limits, at(10)), Passage::Closed(at(11)));
        assert!(!breaker.ended(false, limits, at(5)), "calls that were under way do not lengthen the pause");
        assert_eq!(breaker.passage(limits, at(11)), Passage::Trial);
        assert!(breaker.ended(false, limits, at(12)), "the trial fails");
        assert_eq!(breaker.passage(limits, at(12)), Passage::Closed(at(22)));
        assert!(!breaker.ended(true, limits, at(23)));
        assert_eq!(breaker.passage(limits, at(23)), Passage::Free);
    }

    #[test]
    fn limits_that_are_loosened_hold_at_once() {
        let limits = |failures, s| Some((failures, Duration::from_secs(s)));
        let mut breaker = Breaker::default();
        assert!(breaker.ended(false, limits(1, 3600), at(0)));
        assert_eq!(breaker.passage(limits(1, 3600), at(1)), Passage::Closed(at(3600)));
        assert_eq!(breaker.passage(limits(1, 10), at(1)), Passage::Closed(at(10)));
        assert_eq!(breaker.passage(limits(2, 3600), at(1)), Passage::Free);
        assert_eq!(breaker.passage(None, at(1)), Passage::Free);
    }
}
