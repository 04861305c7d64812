//! How soon an endpoint is probed again.
//!
//! One that has failed for long is probed at a lengthened interval, so that thousands of dead ones cost little: the breaker of its
//! probes. The first success brings the interval back. How late a recovery is seen at most is [`longest`].

use std::time::Duration;

use super::health::Thresholds;

/// Failures in a row, beyond those that take an endpoint out, at each length of the interval.
const PATIENCE: u32 = 10;
/// How often the interval doubles.
const DOUBLINGS: u32 = 3;
/// No interval is lengthened beyond this.
const CEILING: Duration = Duration::from_secs(60);
/// By how much of itself a lengthened interval is shorter, at most: what failed together need not be probed together for ever.
const JITTER: f64 = 0.1;

/// From the start of one probe to the start of the next, after so many failures in a row. `chance`, from 0 to 1, spreads lengthened
/// intervals.
#[must_use]
pub fn gap(interval: Duration, failures: u32, thresholds: Thresholds, chance: f64) -> Duration {
    let beyond = failures.saturating_sub(u32::from(thresholds.failures));
    let doublings = (beyond / PATIENCE).min(DOUBLINGS);
    if doublings == 0 {
        return interval;
    }
    let long = (interval * 2_u32.pow(doublings)).min(CEILING).max(interval);
    long.mul_f64(JITTER.mul_add(-chance.clamp(0.0, 1.0), 1.0)).max(interval)
}

/// The longest gap there is for an interval: an endpoint that has come back is asked within it, and then at its interval.
#[must_use]
pub fn longest(interval: Duration) -> Duration {
    (interval * 2_u32.pow(DOUBLINGS)).min(CEILING).max(interval)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: Thresholds = Thresholds { failures: 3, successes: 1 };

    #[test]
    fn ten_seconds_become_a_minute_in_some_minutes() {
        let gaps =
            [0, 3, 12, 13, 22, 23, 32, 33, u32::MAX].map(|n| gap(Duration::from_secs(10), n, THREE, 0.0).as_secs());
        assert_eq!(gaps, [10, 10, 10, 20, 20, 40, 40, 60, 60]);
        assert_eq!(gap(Duration::from_secs(90), 100, THREE, 1.0), Duration::from_secs(90), "what is seldom stays so");
        assert_eq!(gap(Duration::from_secs(1), 100, THREE, 0.0), Duration::from_secs(8));
    }

    proptest! {
        #[test]
        fn it_is_never_shorter_than_the_interval_nor_longer_than_is_said_and_grows_with_failures(
            seconds in 1_u64..36_000, failures in any::<u32>(), more in 0_u32..100, threshold in 0_u8..=100,
            chance in 0.0..=1.0_f64, other in 0.0..=1.0_f64,
        ) {
            let interval = Duration::from_secs(seconds);
            let thresholds = Thresholds { failures: threshold, successes: 1 };
            let now = gap(interval, failures, thresholds, chance);
            prop_assert!(now >= interval && now <= longest(interval));
            prop_assert!(longest(interval) <= interval.max(Duration::from_secs(60)));
            prop_assert!(gap(interval, failures.saturating_add(more), thresholds, chance) >= now);
            prop_assert_eq!(gap(interval, u32::from(threshold), thresholds, other), interval, "who was just taken out is asked as before");
        }
    }
}
