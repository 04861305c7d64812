//! How long does an object rest that somebody else changes back each time it is applied? Two controllers that each take the same
//! field for theirs would otherwise write it in turn, as fast as they can.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::waits::doubled;

/// So many times in a row it is set right at once: somebody's hand, not a controller.
const AT_ONCE: u32 = 3;
/// The first rest; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(10);
/// After so long without a change by others, all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Objects that others have changed back, by key: how many times in a row, and when they were last set right.
#[derive(Debug, Default)]
pub(super) struct Contests(Mutex<HashMap<String, (u32, Instant)>>);

impl Contests {
    /// Whether an object that somebody has changed back may be set right now; it is taken to be, if so.
    pub(super) fn may_set_right(&self, key: &str) -> bool {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, last)| now < *last + FORGOTTEN);
        let (times, last) = all.entry(key.to_owned()).or_insert((0, now));
        let rest = match times.checked_sub(AT_ONCE) {
            None => Duration::ZERO,
            Some(further) => doubled(FIRST, further, LONGEST),
        };
        if now < *last + rest {
            return false;
        }
        (*times, *last) = (*times + 1, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_changed_back_again_and_again_is_set_right_more_and_more_seldom() {
        let (contests, began) = (Contests::default(), Instant::now());
        let mut moments = Vec::new();
        while began.elapsed() < Duration::from_secs(45) {
            if contests.may_set_right("slice") {
                moments.push(began.elapsed().as_millis());
            } else {
                sleep(Duration::from_millis(50)).await;
            }
        }
        assert_eq!(moments, [0, 0, 0, 100, 300, 700, 1500, 3100, 6300, 12_700, 22_700, 32_700, 42_700]);
        assert!(contests.may_set_right("another"), "each object for itself");
        advance(FORGOTTEN).await;
        assert!(contests.may_set_right("slice"));
        assert!(contests.may_set_right("slice"), "all is forgotten");
    }
}
