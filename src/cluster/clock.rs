//! The wall clock, as the rest of the program asks for it.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Follows tokio's clock from a given moment: under paused time a test decides how it goes.
    Simulated {
        /// The moment at which it starts.
        origin: Timestamp,
        /// When it was started.
        started: Instant,
    },
}

impl Clock {
    /// A simulated clock that starts now, at `origin`.
    #[must_use]
    pub fn simulated(origin: Timestamp) -> Self {
        Self::Simulated { origin, started: Instant::now() }
    }

    /// The time, in whole milliseconds: what a status holds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = match self {
            Self::System => Timestamp::now(),
            Self::Simulated { origin, started } => {
                let passed = SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::MAX);
                origin.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
        };
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Waits until this time; for ever where there is none.
    pub async fn reaches(&self, at: Option<Timestamp>) {
        match at {
            Some(at) => tokio::time::sleep_until(self.instant(at)).await,
            None => std::future::pending().await,
        }
    }

    /// The moment on the monotonic clock that a wall time stands for; now when it has passed.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let ahead = at.duration_since(self.now());
        // a millisecond more than needed: waking just before the moment would only mean waking twice
        let ahead = std::time::Duration::try_from(ahead)
            .map_or(std::time::Duration::ZERO, |d| d + std::time::Duration::from_millis(1));
        Instant::now() + ahead.min(std::time::Duration::from_secs(30 * 24 * 3600))
    }
}
