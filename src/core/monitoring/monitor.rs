//! Measurements of one service, read with hysteresis: window after window, each judged by those before it.
//!
//! An anomaly begins with the second surprising window in a row and ends with the third in a row that is not. Its windows are set aside,
//! so that they cannot make themselves usual. When it has ended their answers count, since a service may have rhythms; failures of an
//! anomaly never do. What is slower for a day, and does not fail, is how the service is now: what was before is forgotten.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    sketch::{Counts, Sketch},
    surprise::{Surprise, surprise},
};
use crate::api::{
    Span,
    measurements::{Anomaly, Measured},
};

/// A window lasts at least so long.
pub const WINDOW: Duration = Duration::from_secs(300);
/// A window has at least so many measurements.
pub const FEWEST: u32 = 20;
/// An anomaly begins with windows at least so surprising…
pub const ENTER: f64 = 3.0;
/// …so many in a row…
pub const ENTER_AFTER: u8 = 2;
/// …and ends with windows less surprising than that…
pub const LEAVE: f64 = 2.0;
/// …so many in a row.
pub const LEAVE_AFTER: u8 = 3;
/// What is slower for so long is usual. An anomaly of which nothing is measured for so long has ended.
pub const PATIENCE: Duration = Duration::from_secs(86_400);

/// Measurements of one service by one way to measure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Monitor {
    before: Sketch,
    aside: Sketch,
    window: Option<(Timestamp, Counts)>,
    /// Windows in a row that speak for a change.
    streak: u8,
    /// When the first of them began, of those that speak for an anomaly.
    suspected: Option<Timestamp>,
    anomaly: Option<Anomaly>,
    surprise: Option<f64>,
    /// The last measurement.
    last: Option<Timestamp>,
}

/// What a measurement brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A window has ended.
    pub window: bool,
    /// An anomaly has begun or ended.
    pub turn: bool,
}

impl Monitor {
    /// What an earlier status says, taken up at `now`.
    #[must_use]
    pub fn seeded(told: &Measured, now: Timestamp) -> Self {
        let aside = told.aside.as_deref().and_then(Sketch::read).unwrap_or_default();
        Self {
            before: Sketch::read(&told.record).unwrap_or_default(),
            aside,
            anomaly: told.anomaly,
            surprise: told.surprise,
            last: Some(now),
            ..Self::default()
        }
    }

    /// As a status tells it; `None` while no window has ended.
    #[must_use]
    pub fn told(&self) -> Option<Measured> {
        let any = |s: &Sketch| s.answered() + s.failed() > 0.0;
        if !any(&self.before) && self.anomaly.is_none() {
            return None;
        }
        let all = self.before.answered() + self.before.failed();
        // to at least a millisecond: a cast from f64 saturates
        let span = |share| self.before.quantile(share).map(|ms| Span::from_millis(ms.round().max(1.0) as u64));
        Some(Measured {
            median: span(0.5),
            p99: span(0.99),
            failed: Some(tenths(100.0 * self.before.failed() / all.max(1.0))).filter(|p| *p > 0.0),
            surprise: self.surprise.map(tenths),
            anomaly: self.anomaly,
            record: self.before.record(),
            aside: self.anomaly.and(Some(&self.aside)).filter(|s| any(s)).map(Sketch::record),
        })
    }

    /// What is unusual now.
    #[must_use]
    pub const fn anomaly(&self) -> Option<&Anomaly> {
        self.anomaly.as_ref()
    }

    /// Of the last window that was judged.
    #[must_use]
    pub const fn surprise(&self) -> Option<f64> {
        self.surprise
    }

    /// When an anomaly of which nothing is measured has ended.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.anomaly.as_ref().and(self.last)?.checked_add(PATIENCE).ok()
    }

    /// Ends an anomaly of which nothing has been measured for long; whether it did.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.expires().is_some_and(|at| at <= now);
        if over {
            self.end();
        }
        over
    }

    /// Takes in one measurement that has come to its end at `now`: how long the answer took, or `None` where there was none.
    pub fn take(&mut self, answer: Option<Duration>, now: Timestamp) -> News {
        self.last = Some(now);
        let (began, counts) = self.window.get_or_insert_with(|| (now, Counts::default()));
        counts.add(answer);
        let lasted = now.duration_since(*began).unsigned_abs();
        if lasted < WINDOW || counts.all() < FEWEST {
            return News::default();
        }
        let (began, counts) = (*began, std::mem::take(counts));
        self.window = None;
        let was = self.anomaly.is_some();
        self.close(began, &counts, now);
        News { window: true, turn: was != self.anomaly.is_some() }
    }

    fn close(&mut self, began: Timestamp, counts: &Counts, now: Timestamp) {
        let judged = surprise(counts, &self.before);
        self.surprise = judged.map(Surprise::most);
        let Some(judged) = judged else { return self.before.add(counts) };
        match self.anomaly {
            None if judged.most() < ENTER => {
                // a single surprising window is chance
                let aside = std::mem::take(&mut self.aside);
                self.before.add_all(aside);
                self.before.add(counts);
                (self.streak, self.suspected) = (0, None);
            }
            None => {
                self.aside.add(counts);
                self.streak += 1;
                let since = *self.suspected.get_or_insert(began);
                if self.streak >= ENTER_AFTER {
                    (self.streak, self.suspected) = (0, None);
                    let surprise = tenths(judged.most());
                    self.anomaly = Some(Anomaly { cause: judged.cause(), since, surprise });
                }
            }
            Some(anomaly) => {
                self.aside.add(counts);
                self.streak = if judged.most() < LEAVE { self.streak + 1 } else { 0 };
                if self.streak >= LEAVE_AFTER {
                    self.end();
                } else if now.duration_since(anomaly.since).unsigned_abs() >= PATIENCE && is_only_slow(judged) {
                    self.before = std::mem::take(&mut self.aside).answers_only();
                    self.anomaly = None;
                    self.streak = 0;
                }
            }
        }
    }

    fn end(&mut self) {
        let aside = std::mem::take(&mut self.aside);
        self.before.add_all(aside.answers_only());
        self.anomaly = None;
        self.streak = 0;
    }
}

/// Whether a window is no surprise but for being slow.
fn is_only_slow(judged: Surprise) -> bool {
    judged.slower >= LEAVE && judged.failing < LEAVE
}

/// To one digit after the point: what a reader needs, and what JSON gives back as it was.
fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
