//! How long services take, compared within one answer.
//!
//! It is read from what a service's status tells of its measurements, which is written seldom, and at once when an anomaly begins or ends. So no
//! single probe or call moves an answer.

use std::collections::BTreeMap;

use crate::{
    api::{MedicalService, measurements::Measured},
    core::monitoring::{
        measurements::Source,
        sketch::{GROWTH, Sketch},
    },
};

/// Shorter durations are not told apart, in milliseconds: where both are as short, the network decides.
const SHORTEST: f64 = 1.0;

/// How long a service usually takes to answer, in milliseconds, by where that is measured: for ever where everything fails now, and `None`
/// where nothing is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Typical {
    /// Calls of workflow steps.
    pub calls: Option<f64>,
    /// Probes.
    pub probes: Option<f64>,
}

impl Typical {
    /// What the status of a service tells.
    #[must_use]
    pub fn of(service: &MedicalService) -> Self {
        let told = service.status.as_ref().and_then(|s| s.measurements.as_ref());
        let median = |source: Source| told.and_then(|t| source.of(t)).and_then(median);
        Self { calls: median(Source::Calls), probes: median(Source::Probes) }
    }

    /// The shorter of each source.
    fn fastest(self, other: Self) -> Self {
        let less = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).min_by(f64::total_cmp);
        Self { calls: less(self.calls, other.calls), probes: less(self.probes, other.probes) }
    }

    /// The share of the time of a service that the fastest would take, in hundredths; `None` where nothing is learned.
    fn share(self, fastest: Self) -> Option<u8> {
        let (own, fastest) = self.calls.zip(fastest.calls).or(self.probes.zip(fastest.probes))?;
        // medians that the distribution cannot tell apart are the same: it has a bucket for each. A cast from f64 saturates
        let share = (GROWTH * fastest / own).min(1.0) * 100.0;
        Some(if own.is_finite() { share.round() as u8 } else { 0 })
    }
}

/// What services have of a weight, by name and in hundredths: the share of the time of each that the fastest would take.
///
/// Calls are compared where there are any, being what callers wait for; a service that nobody has called yet is compared by probes, or it would
/// never be called. One of which nothing is learned is neither better nor worse than the others: it has their mean, and 0 where
/// nothing is learned of any.
#[must_use]
pub fn shares<'a>(services: impl IntoIterator<Item = (&'a str, Typical)>) -> BTreeMap<&'a str, u8> {
    let services: BTreeMap<&str, Typical> = services.into_iter().collect();
    let fastest = services.values().copied().fold(Typical::default(), Typical::fastest);
    let known: Vec<u8> = services.values().filter_map(|t| t.share(fastest)).collect();
    // whole numbers: their sum is the same in whatever order
    let (sum, count) = known.iter().fold((0_u64, 0_u64), |(sum, count), share| (sum + u64::from(*share), count + 1));
    let mean = u8::try_from((sum + count / 2) / count.max(1)).unwrap_or(100);
    services.into_iter().map(|(name, typical)| (name, typical.share(fastest).unwrap_or(mean))).collect()
}

/// Half of the answers take less. While an anomaly goes on this is of what was measured since it began: what was before does not hold now.
fn median(measured: &Measured) -> Option<f64> {
    if measured.anomaly.is_none() {
        return Some(Sketch::read(&measured.record)?.quantile(0.5)?.max(SHORTEST));
    }
    let sketch = Sketch::read(measured.aside.as_deref()?)?;
    Some(sketch.quantile(0.5).map_or(f64::INFINITY, |ms| ms.max(SHORTEST)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use jiff::Timestamp;

    use super::*;
    use crate::{
        api::measurements::{Anomaly, Cause},
        core::monitoring::sketch::Counts,
    };

    /// The record of a hundred answers that took so long.
    fn record(ms: u64) -> String {
        let mut counts = Counts::default();
        (0..100).for_each(|_| counts.add(Some(Duration::from_millis(ms))));
        let mut sketch = Sketch::default();
        sketch.add(&counts);
        sketch.record()
    }

    fn typical(calls: Option<f64>, probes: Option<f64>) -> Typical {
        Typical { calls, probes }
    }

    #[test]
    fn twice_as_long_is_about_half_and_what_cannot_be_told_apart_is_the_same() {
        let share = |ms: f64| shares([("a", typical(Some(ms), None)), ("b", typical(Some(100.0), None))])["a"];
        assert_eq!([1.0, 100.0, 110.0, 122.0].map(share), [100; 4]);
        assert_eq!([200.0, 400.0, 1_000_000.0, f64::INFINITY].map(share), [61, 31, 0, 0]);
    }

    #[test]
    fn calls_are_compared_with_calls_and_only_who_has_none_by_probes() {
        let (slow, fast, new) =
            (typical(Some(400.0), Some(2.0)), typical(Some(100.0), Some(9.0)), typical(None, Some(4.0)));
        let found = shares([("slow", slow), ("fast", fast), ("new", new)]);
        assert_eq!(found, BTreeMap::from([("slow", 31), ("fast", 100), ("new", 61)]));
    }

    #[test]
    fn a_service_of_which_nothing_is_learned_has_the_mean_of_the_others() {
        let nothing = Typical::default();
        let calls = |ms| typical(Some(ms), None);
        let found = shares([("a", calls(100.0)), ("b", nothing), ("c", calls(400.0)), ("d", nothing)]);
        assert_eq!(found, BTreeMap::from([("a", 100), ("b", 66), ("c", 31), ("d", 66)]));
        assert_eq!(shares([("a", calls(100.0)), ("b", nothing)])["b"], 100);
        assert_eq!(shares([("a", nothing), ("b", nothing)]), BTreeMap::from([("a", 0), ("b", 0)]));
        let ever = calls(f64::INFINITY);
        assert_eq!(shares([("a", ever), ("b", ever)]), BTreeMap::from([("a", 0), ("b", 0)]));
    }

    #[test]
    fn while_an_anomaly_goes_on_what_was_measured_since_counts() {
        let mut measured = Measured { record: record(20), ..Measured::default() };
        let near = |found: Option<f64>, ms: f64| assert!((found.unwrap() / ms - 1.0).abs() < 0.12, "{found:?}");
        near(median(&measured), 20.0);
        measured.anomaly = Some(Anomaly { cause: Cause::Slower, since: Timestamp::UNIX_EPOCH, surprise: 9.0 });
        measured.aside = Some(record(300));
        near(median(&measured), 300.0);
        // all fail since
        let mut failed = Sketch::default();
        failed.add(&Counts { answers: BTreeMap::new(), failed: 40 });
        for (aside, wanted) in
            [(None, None), (Some("?".to_owned()), None), (Some(failed.record()), Some(f64::INFINITY))]
        {
            measured.aside = aside;
            assert_eq!(median(&measured), wanted);
        }
        let short = Measured { record: record(0), ..Measured::default() };
        assert_eq!(median(&short), Some(SHORTEST));
    }
}
