//! One step of one past run, in two characters.
//!
//! A duration is kept as the number of its bucket, as in `DDSketch` (Masson, Rim, Lee, PVLDB 12(12), 2019, §2.1): buckets grow by
//! the factor γ = (1+α)/(1−α), and the value 2γ^i/(γ+1) differs from every duration in bucket i by the share α at most.

use std::time::Duration;

/// The share α by which a remembered duration may differ from the true one.
pub const ACCURACY: f64 = 0.02;
/// γ.
const GROWTH: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
/// The last bucket holds 293 days and more.
const BUCKETS: u16 = 600;
/// Six attempts and more are one.
const MOST_ATTEMPTS: u16 = 6;
const SKIPPED: u16 = 4093;
const FAILED: u16 = 4094;
const ABSENT: u16 = 4095;
/// The characters of base64url (RFC 4648 §5): they need no escape in JSON, YAML or HTML.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What became of a step in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It succeeded.
    Ran {
        /// From the moment that all steps before it were done to its own end, all attempts and waits included; as the number
        /// of its bucket.
        bucket: u16,
        /// How many attempts, from 1; 6 stands for all above.
        attempts: u16,
    },
    /// Its `when` gave false.
    Skipped,
    /// It failed for good, or nobody knows whether it took effect.
    Failed,
    /// The run ended before it came to it.
    Absent,
}

impl Cell {
    /// A step that succeeded.
    #[must_use]
    pub fn ran(took: Duration, attempts: u32) -> Self {
        let millis = took.as_secs_f64() * 1000.0;
        let bucket = if millis <= 1.0 { 0.0 } else { (millis.ln() / GROWTH.ln()).ceil() };
        // a cast from f64 saturates
        let bucket = (bucket as u16).min(BUCKETS - 1);
        let attempts = u16::try_from(attempts).unwrap_or(MOST_ATTEMPTS).clamp(1, MOST_ATTEMPTS);
        Self::Ran { bucket, attempts }
    }

    /// The natural logarithm of the duration in milliseconds, of a step that succeeded.
    #[must_use]
    pub fn ln_millis(self) -> Option<f64> {
        match self {
            Self::Ran { bucket: 0, .. } => Some(0.0),
            Self::Ran { bucket, .. } => Some(f64::from(bucket) * GROWTH.ln() + (2.0 / (GROWTH + 1.0)).ln()),
            Self::Skipped | Self::Failed | Self::Absent => None,
        }
    }

    /// Adds its two characters.
    pub(super) fn write(self, text: &mut String) {
        let code = match self {
            Self::Ran { bucket, attempts } => (attempts - 1) * BUCKETS + bucket,
            Self::Skipped => SKIPPED,
            Self::Failed => FAILED,
            Self::Absent => ABSENT,
        };
        text.push(char::from(ALPHABET[usize::from(code >> 6)]));
        text.push(char::from(ALPHABET[usize::from(code & 63)]));
    }

    /// Reads two characters. What no version of medley has written is as if it were not there.
    pub(super) fn read(pair: [u8; 2]) -> Self {
        let digit = |c: u8| ALPHABET.iter().position(|&a| a == c).and_then(|i| u16::try_from(i).ok());
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Self::Absent };
        match high << 6 | low {
            SKIPPED => Self::Skipped,
            FAILED => Self::Failed,
            code if code < BUCKETS * MOST_ATTEMPTS => {
                Self::Ran { bucket: code % BUCKETS, attempts: code / BUCKETS + 1 }
            }
            _ => Self::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_read_as_it_was_written() {
        let ran =
            (0..BUCKETS).flat_map(|bucket| (1..=MOST_ATTEMPTS).map(move |attempts| Cell::Ran { bucket, attempts }));
        for cell in ran.chain([Cell::Skipped, Cell::Failed, Cell::Absent]) {
            let mut text = String::new();
            cell.write(&mut text);
            let [a, b] = text.as_bytes() else { panic!("{cell:?} took {} bytes", text.len()) };
            assert_eq!(Cell::read([*a, *b]), cell);
        }
        assert_eq!(Cell::read(*b"\xc3\xa9"), Cell::Absent);
    }

    #[test]
    fn a_duration_is_kept_to_two_percent() {
        for millis in [1, 2, 7, 50, 999, 30_000, 3_600_000, 86_400_000, 20_000_000_000_u64] {
            let kept = Cell::ran(Duration::from_millis(millis), 1).ln_millis().unwrap().exp();
            let error = (kept - millis as f64).abs() / millis as f64;
            assert!(error <= ACCURACY + 1e-9, "{millis} ms kept as {kept}");
        }
    }

    #[test]
    fn the_longest_and_the_most_are_bounded() {
        assert_eq!(Cell::ran(Duration::MAX, u32::MAX), Cell::Ran { bucket: BUCKETS - 1, attempts: MOST_ATTEMPTS });
        assert_eq!(Cell::ran(Duration::ZERO, 0), Cell::Ran { bucket: 0, attempts: 1 });
    }
}
