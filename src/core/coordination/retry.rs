//! Whether and when a failed attempt is followed by another.

use std::time::Duration;

use crate::{
    api::{
        step::Retry,
        vocabulary::{ErrorClass, Safety},
    },
    core::name::chance,
};

/// A step's retry with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub limit: u32,
    initial: Duration,
    factor: u32,
    max: Duration,
    jitter: f64,
    on: Vec<ErrorClass>,
}

impl RetryPolicy {
    /// From the spec. A step that may take effect once at most retries by default only what surely had no effect.
    #[must_use]
    pub fn new(retry: Option<&Retry>, safety: Safety) -> Self {
        let backoff = retry.and_then(|r| r.backoff.as_ref());
        let on = match (retry.map(|r| r.errors.as_slice()), safety) {
            (Some(on), _) if !on.is_empty() => on.to_vec(),
            (_, Safety::Idempotent) => ErrorClass::RETRIED_BY_DEFAULT.to_vec(),
            (_, Safety::AtMostOnce) => vec![ErrorClass::Connection, ErrorClass::Overloaded],
        };
        Self {
            limit: retry.map_or(0, |r| u32::from(r.limit)),
            initial: backoff.and_then(|b| b.initial).map_or(Duration::from_secs(1), crate::api::Span::duration),
            factor: backoff.and_then(|b| b.factor).map_or(2, u32::from),
            max: backoff.and_then(|b| b.max).map_or(Duration::from_secs(300), crate::api::Span::duration),
            jitter: f64::from(backoff.and_then(|b| b.jitter).unwrap_or(20)) / 100.0,
            on,
        }
    }

    /// Whether a failure of this class is followed by another attempt, while there are some left.
    #[must_use]
    pub fn retries(&self, class: ErrorClass) -> bool {
        self.on.contains(&class)
    }

    /// How long to wait before the attempt after `attempt` (from 1) when that failed with `class`; `None` when there is
    /// no further attempt. The wait is `min(max, initial × factor^(attempt-1)) × (1 - jitter × u)` with u in [0, 1)
    /// following from `seed`, so that it is the same after a restart ("equal jitter" family; see AWS Architecture Blog,
    /// "Exponential Backoff and Jitter"). It is no shorter than what the service has `asked` for, up to `max`, and then longer by
    /// up to `jitter`, so that not all who were sent away come back together.
    #[must_use]
    pub fn wait(&self, attempt: u32, class: ErrorClass, asked: Option<Duration>, seed: &str) -> Option<Duration> {
        let wait = || {
            let pause = self.pause(attempt, seed);
            let spread = 1.0 + self.jitter * chance(&[seed, &attempt.to_string()]);
            asked.map_or(pause, |asked| pause.max(asked.min(self.max).mul_f64(spread)))
        };
        (attempt <= self.limit && self.retries(class)).then(wait)
    }

    /// The wait after the `attempt`th failure in a row (from 1), whether or not another attempt is allowed.
    #[must_use]
    pub fn pause(&self, attempt: u32, seed: &str) -> Duration {
        let mut wait = self.initial;
        for _ in 1..attempt {
            wait = wait.saturating_mul(self.factor);
            if wait >= self.max {
                break;
            }
        }
        let full = wait.min(self.max);
        let part = 1.0 - self.jitter * chance(&[seed, &attempt.to_string()]);
        full.mul_f64(part.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(value: serde_json::Value) -> RetryPolicy {
        RetryPolicy::new(Some(&serde_json::from_value(value).unwrap()), Safety::Idempotent)
    }

    #[test]
    fn waits_grow_to_the_maximum() {
        let p = policy(json!({"limit": 5, "backoff": {"initial": "1s", "factor": 3, "max": "10s", "jitter": 0}}));
        let waits: Vec<_> = (1..=6).map(|a| p.wait(a, ErrorClass::Timeout, None, "s").map(|d| d.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(3), Some(9), Some(10), Some(10), None]);
    }

    #[test]
    fn jitter_only_shortens_and_repeats() {
        let p = policy(json!({"limit": 100, "backoff": {"initial": "10s", "factor": 1, "jitter": 50}}));
        for a in 1..=100 {
            let w = p.wait(a, ErrorClass::Connection, None, "seed").unwrap();
            assert!(w > Duration::from_secs(5) && w <= Duration::from_secs(10));
            assert_eq!(Some(w), p.wait(a, ErrorClass::Connection, None, "seed"));
        }
    }

    #[test]
    fn what_a_service_asks_for_is_waited_for_up_to_the_maximum() {
        let p = policy(json!({"limit": 9, "backoff": {"initial": "1s", "max": "1m", "jitter": 0}}));
        let wait = |attempt: u32, asked: u64| {
            p.wait(attempt, ErrorClass::Overloaded, Some(Duration::from_secs(asked)), "s").map(|d| d.as_secs())
        };
        assert_eq!(
            [wait(1, 30), wait(4, 3), wait(1, 3600), wait(1, u64::MAX)],
            [Some(30), Some(8), Some(60), Some(60)]
        );
        assert_eq!(wait(10, 30), None, "it buys no further attempt");
        let p = policy(json!({"limit": 100, "backoff": {"initial": "1s", "factor": 1, "jitter": 50}}));
        let waits: Vec<Duration> =
            (1..=100).filter_map(|a| p.wait(a, ErrorClass::Overloaded, Some(Duration::from_secs(10)), "s")).collect();
        assert!(waits.iter().all(|w| (10.0..15.0).contains(&w.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|w| w.as_secs() >= 13) && waits.iter().any(|w| w.as_secs() < 12), "{waits:?}");
    }

    #[test]
    fn only_named_classes_are_tried_again() {
        let p = policy(json!({"limit": 1, "errors": ["Rejected"]}));
        assert!(p.wait(1, ErrorClass::Rejected, None, "s").is_some());
        assert!(p.wait(1, ErrorClass::Timeout, None, "s").is_none());
        let careful = RetryPolicy::new(Some(&serde_json::from_value(json!({"limit": 1})).unwrap()), Safety::AtMostOnce);
        assert!(careful.wait(1, ErrorClass::ServerError, None, "s").is_none());
    }
}
