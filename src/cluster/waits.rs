//! How long is waited after failures? Twice as long each time, up to a bound, and not all at the same moment.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

use crate::core::name::chance;

/// The first wait, doubled so many times, `longest` at most.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

/// A moment in the upper half of a wait, so that those that failed together do not come back together.
pub(crate) fn spread(wait: Duration, seed: &[&str]) -> Duration {
    wait.mul_f64(0.5 + 0.5 * chance(seed))
}

/// Wait after a watch's first failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after a failure: what is not watched is not known.
const LONGEST: Duration = Duration::from_secs(10);
/// A watch that held out for so long fails for the first time again.
const HELD_OUT: Duration = Duration::from_secs(30);

/// How long a watch waits after each failure. A list that succeeds before the next failure is no reason to hurry: a watch that breaks
/// each time would read everything again and again.
pub(super) struct WatchWaits {
    kind: String,
    failures: u32,
    last: Option<Instant>,
}

impl WatchWaits {
    pub(super) fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), failures: 0, last: None }
    }
}

impl Iterator for WatchWaits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|at| now.duration_since(at) > HELD_OUT) {
            self.failures = 0;
        }
        let wait = doubled(FIRST, self.failures, LONGEST);
        self.failures += 1;
        let wait = spread(wait, &[&self.kind, &self.failures.to_string()]);
        self.last = Some(now + wait);
        Some(wait)
    }
}

impl Backoff for WatchWaits {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_waits_longer_with_each_failure_until_it_has_held_out() {
        let mut waits = WatchWaits::new("Pod");
        let first: Vec<Duration> = (0..12)
            .map(|_| {
                waits.reset();
                waits.next().unwrap()
            })
            .collect();
        assert!(first[0] <= FIRST && first[11] > LONGEST / 2, "{first:?}");
        assert!(first.iter().all(|w| *w >= FIRST / 2 && *w <= LONGEST));
        assert_ne!(WatchWaits::new("Job").next(), WatchWaits::new("Pod").next());
        tokio::time::advance(LONGEST + HELD_OUT + Duration::from_secs(1)).await;
        assert!(waits.next().unwrap() <= FIRST);
    }
}
