//! What tests and benches of the shipped program share: a control plane that is set up, and operators as child processes.

#![allow(dead_code, reason = "tests and benches each use their part")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

pub(crate) mod operator;
pub(crate) mod requests;
pub(crate) mod stage;

use std::time::Duration;

use tokio::time::Instant;

/// Looks until there is an answer; ends the test with `what` after `limit`.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "after {limit:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
