//! What a service's objective for latency says about one measurement.

use std::time::Duration;

use super::measurements::Source;
use crate::api::objectives::{LatencyObjective, LatencySource};

/// How soon which measurements should be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    source: Source,
    within: Duration,
}

impl Bound {
    /// That of an objective.
    #[must_use]
    pub fn of(latency: &LatencyObjective) -> Self {
        let source = match latency.source.unwrap_or_default() {
            LatencySource::Calls => Source::Calls,
            LatencySource::Probes => Source::Probes,
        };
        Self { source, within: latency.within.duration() }
    }

    /// Whether a measurement was answered in time: how long the answer took, or `None` where there was none. `None` for one that the
    /// objective is not about.
    #[must_use]
    pub fn judge(self, source: Source, answer: Option<Duration>) -> Option<bool> {
        (source == self.source).then(|| answer.is_some_and(|took| took <= self.within))
    }
}

/// A percentage as a share of 1, to eight digits: 99.9 / 100 by itself is 0.9990000000000001.
#[must_use]
pub fn share(percent: f64) -> f64 {
    (percent * 1e6).round() / 1e8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Span;

    #[test]
    fn a_share_is_what_a_person_would_write() {
        assert_eq!([95.0, 99.9, 99.95, 99.999].map(|p| share(p).to_string()), ["0.95", "0.999", "0.9995", "0.99999"]);
    }

    #[test]
    fn what_takes_longer_or_fails_is_not_in_time_and_other_measurements_do_not_count() {
        let ms = |n| Some(Duration::from_millis(n));
        let bound = |source| Bound::of(&LatencyObjective { source, percentile: 99.0, within: Span::from_millis(500) });
        for source in [None, Some(LatencySource::Calls)] {
            let judged = [ms(0), ms(500), ms(501), None].map(|answer| bound(source).judge(Source::Calls, answer));
            assert_eq!(judged, [Some(true), Some(true), Some(false), Some(false)]);
            assert_eq!(bound(source).judge(Source::Probes, ms(1)), None);
        }
        assert_eq!(bound(Some(LatencySource::Probes)).judge(Source::Probes, ms(1)), Some(true));
        assert_eq!(bound(Some(LatencySource::Probes)).judge(Source::Calls, None), None);
    }
}
