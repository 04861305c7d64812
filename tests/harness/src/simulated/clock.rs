//! What time is it in the simulated cluster? A fixed start plus tokio's clock, so that paused time moves it.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Timestamp,
    since: Instant,
}

impl Clock {
    pub(super) fn starting_at(start: Timestamp) -> Self {
        Self { start, since: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.start.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// In whole seconds, as metadata has it, `later` seconds from now.
    pub(super) fn stamp(&self, later: i64) -> String {
        let at = self.now().saturating_add(SignedDuration::from_secs(later)).unwrap_or(Timestamp::MAX);
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.since.elapsed()
    }
}
