//! A distribution of measurements that fades and has a bound.
//!
//! Durations are counted in logarithmic buckets, as in `DDSketch` (Masson, Rim, Lee, PVLDB 12(12), 2019, §2.1): bucket i ends at
//! 0.1 ms · γ^i with γ = (1+α)/(1−α), so that a quantile read from it is wrong by the share α at most. With each window of measurements that is
//! added all before counts a little less: by number of windows, not by time, so that a service that is seldom called does not forget
//! all in between.

use std::{collections::BTreeMap, time::Duration};

/// The share α.
const ACCURACY: f64 = 0.1;
/// γ: how much longer durations are than those one bucket below.
pub const GROWTH: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
/// The end of bucket 0, in milliseconds.
const SMALLEST: f64 = 0.1;
/// The last bucket holds 28 minutes and more.
const LAST: u8 = 83;
/// After so many further windows a window counts half: three days and a half, where each has five minutes.
pub const HALF_LIFE: f64 = 1000.0;
/// What counts less has faded.
const FADED: f64 = 0.05;
/// Two base64url characters (RFC 4648 §5) for each number of a record.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Numbers of a record before the weights.
const HEAD: usize = 4;

/// Measurements of one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answers by bucket.
    pub answers: BTreeMap<u8, u32>,
    /// What failed.
    pub failed: u32,
}

impl Counts {
    /// Takes in one measurement: how long the answer took, or `None` where there was none.
    pub fn add(&mut self, answer: Option<Duration>) {
        let count = match answer {
            Some(took) => self.answers.entry(bucket(took)).or_default(),
            None => &mut self.failed,
        };
        *count = count.saturating_add(1);
    }

    /// How many answers.
    #[must_use]
    pub fn answered(&self) -> u32 {
        self.answers.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// How many measurements.
    #[must_use]
    pub fn all(&self) -> u32 {
        self.answered().saturating_add(self.failed)
    }

    /// How many answers beyond this bucket.
    #[must_use]
    pub fn beyond(&self, bucket: u8) -> u32 {
        self.answers.iter().filter(|(b, _)| **b > bucket).fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

/// The bucket of a duration.
fn bucket(took: Duration) -> u8 {
    let ratio = took.as_secs_f64() * 1000.0 / SMALLEST;
    // a cast from f64 saturates
    if ratio <= 1.0 { 0 } else { ((ratio.ln() / GROWTH.ln()).ceil() as u8).min(LAST) }
}

/// What windows have shown so far, the newest counting most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    answers: BTreeMap<u8, f64>,
    failed: f64,
    /// Windows with an answer.
    windows: f64,
    /// Over these, the sum of answers times the square of the mean bucket.
    squares: f64,
}

impl Sketch {
    /// Adds a window.
    pub fn add(&mut self, counts: &Counts) {
        let one = Self {
            answers: counts.answers.iter().map(|(b, n)| (*b, f64::from(*n))).collect(),
            failed: f64::from(counts.failed),
            ..Self::default()
        };
        let (answers, mean) = (one.answered(), one.mean());
        let windows = if answers > 0.0 { 1.0 } else { 0.0 };
        self.fade(0.5_f64.powf(1.0 / HALF_LIFE));
        self.join(Self { windows, squares: answers * mean * mean, ..one });
    }

    /// Adds all that another has seen since.
    pub fn add_all(&mut self, newer: Self) {
        self.fade(0.5_f64.powf(newer.windows / HALF_LIFE));
        self.join(newer);
    }

    /// The same without what failed.
    #[must_use]
    pub fn answers_only(self) -> Self {
        Self { failed: 0.0, ..self }
    }

    fn fade(&mut self, factor: f64) {
        self.answers.values_mut().for_each(|w| *w *= factor);
        self.answers.retain(|_, w| *w >= FADED);
        self.failed *= factor;
        self.windows *= factor;
        self.squares *= factor;
    }

    fn join(&mut self, other: Self) {
        for (bucket, weight) in other.answers {
            *self.answers.entry(bucket).or_default() += weight;
        }
        self.failed += other.failed;
        self.windows += other.windows;
        self.squares += other.squares;
    }

    /// Weight of all answers.
    #[must_use]
    pub fn answered(&self) -> f64 {
        self.answers.values().sum()
    }

    /// Weight of what failed.
    #[must_use]
    pub const fn failed(&self) -> f64 {
        self.failed
    }

    /// Weight of the windows with an answer.
    #[must_use]
    pub const fn windows(&self) -> f64 {
        self.windows
    }

    /// Weight of the answers beyond this bucket.
    #[must_use]
    pub fn beyond(&self, bucket: u8) -> f64 {
        self.answers.iter().filter(|(b, _)| **b > bucket).map(|(_, w)| w).sum()
    }

    /// The first bucket beyond which at most this weight lies; `None` where there is no answer.
    #[must_use]
    pub fn before_last(&self, weight: f64) -> Option<u8> {
        let mut left = self.answered();
        self.answers
            .iter()
            .find(|(_, w)| {
                left -= **w;
                left <= weight
            })
            .map(|(bucket, _)| *bucket)
    }

    /// The duration, in milliseconds, below which this share of the answers lies.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let bucket = self.before_last((1.0 - share) * self.answered())?;
        Some(SMALLEST * GROWTH.powi(i32::from(bucket)) * 2.0 / (GROWTH + 1.0))
    }

    fn mean(&self) -> f64 {
        let all = self.answered();
        if all > 0.0 { self.answers.iter().map(|(b, w)| f64::from(*b) * w).sum::<f64>() / all } else { 0.0 }
    }

    /// Variance of the answers' buckets.
    fn variance(&self) -> f64 {
        let mean = self.mean();
        let sum: f64 = self.answers.iter().map(|(b, w)| w * (f64::from(*b) - mean).powi(2)).sum();
        sum / self.answered().max(1.0)
    }

    /// Variance of the windows' mean buckets.
    fn between(&self) -> f64 {
        (self.squares / self.answered().max(1.0) - self.mean().powi(2)).max(0.0)
    }

    /// How much answers of the same window resemble each other: the intraclass correlation by the method of moments (Fisher, Statistical Methods
    /// for Research Workers, 1925, §40). Of independent answers 0; near 1 where they differ by day and night only.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        let (all, size) = (self.variance(), self.answered() / self.windows.max(1.0));
        if all < 1e-6 || size <= 1.0 {
            return 0.0;
        }
        ((self.between() - all / size) / (all * (1.0 - 1.0 / size))).clamp(0.0, 0.99)
    }

    /// As text: at most 176 characters.
    #[must_use]
    pub fn record(&self) -> String {
        let first = self.answers.keys().next().copied().unwrap_or(0);
        let last = self.answers.keys().next_back().copied();
        let weights =
            last.map_or(0..0, |last| first..last + 1).map(|b| code(self.answers.get(&b).copied().unwrap_or(0.0)));
        let head = [code(self.windows), code(self.failed), code(FINE * self.between()), u16::from(first)];
        let codes = head.into_iter().chain(weights);
        codes.flat_map(|c| [c >> 6, c & 63]).map(|digit| char::from(ALPHABET[usize::from(digit)])).collect()
    }

    /// Reads a record. `None` for what no version of medley has written.
    #[must_use]
    pub fn read(record: &str) -> Option<Self> {
        let digit = |c: &u8| ALPHABET.iter().position(|a| a == c).and_then(|i| u16::try_from(i).ok());
        let digits: Vec<u16> = record.as_bytes().iter().map(digit).collect::<Option<_>>()?;
        let codes: Vec<u16> = digits.chunks_exact(2).map(|pair| pair[0] << 6 | pair[1]).collect();
        let (head, weights) = codes.split_at_checked(HEAD)?;
        let first = usize::from(head[3]);
        if !digits.len().is_multiple_of(2) || first + weights.len() > usize::from(LAST) + 1 {
            return None;
        }
        let weights = (first..).zip(weights).filter_map(|(b, c)| Some((u8::try_from(b).ok()?, value(*c))));
        let mut sketch = Self {
            answers: weights.filter(|(_, w)| *w > 0.0).collect(),
            failed: value(head[1]),
            windows: value(head[0]),
            squares: 0.0,
        };
        sketch.squares = (value(head[2]) / FINE + sketch.mean().powi(2)) * sketch.answered();
        Some(sketch)
    }
}

/// Steps of a number's logarithm: neighbours differ by half a percent.
const STEPS: f64 = 200.0;
/// Variances are small.
const FINE: f64 = 1000.0;

/// A number from 0 to 700 million.
fn code(x: f64) -> u16 {
    // a cast from f64 saturates
    ((STEPS * x.max(0.0).ln_1p()).round() as u16).min(4095)
}

fn value(code: u16) -> f64 {
    (f64::from(code) / STEPS).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 30 answers from 10 ms up, one in ten failing.
    fn filled(windows: u32) -> Sketch {
        let mut sketch = Sketch::default();
        for w in 0..windows {
            let mut counts = Counts::default();
            for i in 0..30 {
                counts.add((i % 10 != 9).then(|| Duration::from_micros(10_000 + 1_000 * u64::from((i * 7 + w) % 30))));
            }
            sketch.add(&counts);
        }
        sketch
    }

    #[test]
    fn quantiles_are_true_to_a_tenth() {
        let sketch = filled(100);
        let near =
            |found: Option<f64>, ms: f64| assert!((found.unwrap() / ms - 1.0).abs() < 0.12, "{found:?} is not {ms}");
        near(sketch.quantile(0.5), 24.5);
        near(sketch.quantile(0.99), 39.5);
        assert!((sketch.failed() / (sketch.answered() + sketch.failed()) - 0.1).abs() < 1e-9);
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn old_windows_count_less_and_less() {
        let sketch = filled(10_000);
        let most = 30.0 / (1.0 - 0.5_f64.powf(1.0 / HALF_LIFE));
        assert!((sketch.answered() + sketch.failed()) <= most && sketch.windows() < HALF_LIFE * 1.45);
        let mut other = filled(1);
        let slow = Counts { answers: BTreeMap::from([(60, 30)]), failed: 0 };
        (0..1000).for_each(|_| other.add(&slow));
        assert!(other.beyond(59) > 20_000.0 && other.answered() - other.beyond(59) < 14.0);
    }

    #[test]
    fn a_record_holds_all_of_it_in_few_characters() {
        for sketch in [Sketch::default(), filled(1), filled(3000)] {
            let record = sketch.record();
            let read = Sketch::read(&record).unwrap();
            assert_eq!(read.record(), record, "what is read is written alike");
            let near = |a: f64, b: f64| assert!((a - b).abs() <= 0.003 * (1.0 + b), "{a} is not {b}");
            near(read.answered(), sketch.answered());
            near(read.failed(), sketch.failed());
            near(read.windows(), sketch.windows());
            near(read.correlation(), sketch.correlation());
            assert_eq!(read.quantile(0.5), sketch.quantile(0.5));
        }
        let widest = Counts { answers: (0..=LAST).map(|b| (b, u32::MAX)).collect(), failed: u32::MAX };
        let mut sketch = Sketch::default();
        sketch.add(&widest);
        assert_eq!(sketch.record().len(), 176);
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        for text in ["", "A", "AAAA", "AAAAAAA", "AAAAAA__AA", "ÄÄÄÄÄÄÄÄ", "AAAAAA!A", &"_".repeat(400)] {
            assert_eq!(Sketch::read(text), None, "{text}");
        }
    }

    #[test]
    fn answers_that_differ_by_day_and_night_only_resemble_each_other() {
        let window = |bucket| Counts { answers: BTreeMap::from([(bucket, 30)]), failed: 0 };
        let mut rhythm = Sketch::default();
        (0..400).for_each(|i| rhythm.add(&window(if i / 100 % 2 == 0 { 20 } else { 30 })));
        assert!(rhythm.correlation() > 0.95, "{}", rhythm.correlation());
        let mixed = Counts { answers: BTreeMap::from([(20, 15), (30, 15)]), failed: 0 };
        let mut same = Sketch::default();
        (0..400).for_each(|_| same.add(&mixed));
        assert!(same.correlation() < 1e-9);
    }

    #[test]
    fn every_duration_has_a_bucket() {
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_micros(100)), 0);
        assert_eq!(bucket(Duration::from_micros(101)), 1);
        assert_eq!(bucket(Duration::from_secs(100_000)), LAST);
    }
}
