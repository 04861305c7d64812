//! How many have their turn in a second, as a count that forgets: demands of a tree of pools, calls to a service.

use jiff::{SignedDuration, Timestamp};

/// After so many seconds a demand counts half.
const HALF_LIFE: f64 = 300.0;

/// A rate that follows the last minutes.
///
/// With every admission counted with weight `2^(-age / h)`, a steady rate r gives the sum `r h / ln 2 (1 - 2^(-T / h))` after the
/// time T since counting began (exponential smoothing, corrected for its start as by Kingma, Ba: "Adam", 2015, §3).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    sum: f64,
    began: Option<Timestamp>,
    at: Option<Timestamp>,
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

impl Rate {
    /// Counts admissions.
    pub fn add(&mut self, count: u32, now: Timestamp) {
        let age = self.at.map_or(0.0, |at| seconds(at, now));
        self.sum = self.sum * (-age / HALF_LIFE).exp2() + f64::from(count);
        self.began.get_or_insert(now);
        self.at = Some(now);
    }

    /// Admissions in a second; `None` while there is too little to tell.
    #[must_use]
    pub fn per_second(&self, now: Timestamp) -> Option<f64> {
        let (began, at) = (self.began?, self.at?);
        let elapsed = seconds(began, now);
        if elapsed < 1.0 {
            return None;
        }
        let sum = self.sum * (-seconds(at, now) / HALF_LIFE).exp2();
        let weight = HALF_LIFE / std::f64::consts::LN_2 * (1.0 - (-elapsed / HALF_LIFE).exp2());
        Some(sum / weight).filter(|r| *r > 0.0)
    }

    /// When somebody has its turn who has so many before it, if things go on as fast; `None` while there is too little to tell.
    #[must_use]
    pub fn eta(&self, ahead: usize, now: Timestamp) -> Option<Timestamp> {
        #[allow(clippy::cast_precision_loss, reason = "a count of those who wait")]
        let wait = (ahead as f64 + 1.0) / self.per_second(now)?;
        now.checked_add(SignedDuration::try_from_secs_f64(wait).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_from_the_first_minute_on_and_a_new_one_followed() {
        let mut rate = Rate::default();
        let start = Timestamp::UNIX_EPOCH;
        let at = |s: i64| start + SignedDuration::from_secs(s);
        assert_eq!(rate.per_second(start), None);
        for s in 0..60 {
            rate.add(4, at(s));
        }
        let found = rate.per_second(at(60)).unwrap();
        assert!((found - 4.0).abs() < 0.1, "{found}");
        for s in 60..3600 {
            rate.add(1, at(s));
        }
        let found = rate.per_second(at(3600)).unwrap();
        assert!((found - 1.0).abs() < 0.05, "{found}");
    }
}
