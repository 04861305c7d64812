//! What holds for the calls to a service: what it says itself, and what the policies of its namespace say; of each field the most
//! restrictive value.

use std::{collections::BTreeMap, time::Duration};

use crate::api::call_limits::{CallLimits, CallRate};

/// Steps that may wait for a service where nobody says how many.
const QUEUE_MAX: u32 = 10_000;

/// What holds for the calls to each interface of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls that an endpoint is sent at a time.
    pub concurrency: Option<u32>,
    /// Further ones for steps of urgency `stat`.
    pub stat_reserve: u32,
    /// The least time between two calls.
    pub interval: Option<Duration>,
    /// Steps that may wait; those that come last are refused.
    pub queue_max: Option<u32>,
    /// How long a step may wait.
    pub queue_timeout: Option<Duration>,
    /// After so many failures in a row an endpoint is left alone, and for how long.
    pub breaker: Option<(u32, Duration)>,
    /// The policy that decided each of these where it was not the service itself, by field.
    pub decided_by: BTreeMap<String, String>,
}

fn interval(rate: CallRate) -> Duration {
    rate.per.duration() / rate.calls.max(1)
}

impl Limits {
    /// What a service says of itself and what these policies say, each with its name.
    #[must_use]
    pub fn of<'a>(own: Option<&CallLimits>, policies: impl IntoIterator<Item = (&'a str, &'a CallLimits)>) -> Self {
        let mut policies: Vec<_> = policies.into_iter().map(|(name, l)| (Some(name), l)).collect();
        policies.sort_by_key(|(name, _)| *name);
        let own = own.cloned().map(|mut own| {
            // a service that bounds its calls and reserves none has none to spare: no policy may add any
            own.stat_reserve = own.stat_reserve.or(own.concurrency.map(|_| 0));
            own
        });
        let own = own.as_ref().map(|l| (None, l));
        let all: Vec<(Option<&str>, &CallLimits)> = own.into_iter().chain(policies).collect();
        let mut limits = Self::default();
        limits.concurrency = limits.decide("concurrency", &all, |l| l.concurrency, |a, b| a < b);
        limits.stat_reserve = limits.decide("statReserve", &all, |l| l.stat_reserve, |a, b| a < b).unwrap_or(0);
        limits.interval = limits.decide("rate", &all, |l| l.rate.map(interval), |a, b| a > b);
        limits.queue_max = limits.decide("queue.max", &all, |l| l.queue?.max, |a, b| a < b);
        let timeout = |l: &CallLimits| Some(l.queue?.timeout?.duration());
        limits.queue_timeout = limits.decide("queue.timeout", &all, timeout, |a, b| a < b);
        let failures = limits.decide("breaker.failures", &all, |l| Some(l.breaker?.failures), |a, b| a < b);
        let pause = limits.decide("breaker.pause", &all, |l| Some(l.breaker?.pause.duration()), |a, b| a > b);
        limits.breaker = failures.zip(pause);
        limits
    }

    fn decide<T: Copy>(
        &mut self,
        field: &str,
        all: &[(Option<&str>, &CallLimits)],
        value: impl Fn(&CallLimits) -> Option<T>,
        stricter: impl Fn(&T, &T) -> bool,
    ) -> Option<T> {
        let mut found: Option<(T, Option<&str>)> = None;
        for (name, limits) in all {
            if let Some(value) = value(limits)
                && found.as_ref().is_none_or(|(present, _)| stricter(&value, present))
            {
                found = Some((value, *name));
            }
        }
        let (value, by) = found?;
        if let Some(by) = by {
            self.decided_by.insert(field.to_owned(), by.to_owned());
        }
        Some(value)
    }

    /// Whether nothing ever makes a call wait.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.concurrency.is_none() && self.interval.is_none() && self.breaker.is_none()
    }

    /// Steps that may wait.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.queue_max.unwrap_or(QUEUE_MAX) as usize
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn limits(own: &Value, policies: &[(&str, Value)]) -> Limits {
        let read = |v: &Value| -> CallLimits { serde_json::from_value(v.clone()).unwrap() };
        let policies: Vec<(&str, CallLimits)> = policies.iter().map(|(name, v)| (*name, read(v))).collect();
        Limits::of(Some(&read(own)), policies.iter().map(|(name, l)| (*name, l)))
    }

    #[test]
    fn of_each_field_the_most_restrictive_value_holds_whatever_the_order() {
        let own = json!({"concurrency": 4, "statReserve": 2, "rate": {"calls": 10, "per": "1s"}, "queue": {"max": 50}});
        let a = ("a", json!({"concurrency": 8, "queue": {"max": 20, "timeout": "1m"}, "statReserve": 1}));
        let b = ("b", json!({"rate": {"calls": 60, "per": "1m"}, "breaker": {"failures": 3, "pause": "10s"}}));
        let c = ("c", json!({"breaker": {"failures": 5, "pause": "30s"}, "queue": {"timeout": "2m"}}));
        let found = limits(&own, &[a.clone(), b.clone(), c.clone()]);
        assert_eq!(found, limits(&own, &[c, b, a]));
        assert_eq!((found.concurrency, found.stat_reserve, found.queue_max), (Some(4), 1, Some(20)));
        assert_eq!(found.interval, Some(Duration::from_secs(1)), "60 a minute are fewer than 10 a second");
        assert_eq!(found.queue_timeout, Some(Duration::from_secs(60)));
        assert_eq!(found.breaker, Some((3, Duration::from_secs(30))));
        let decided: Vec<(&str, &str)> = found.decided_by.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let expected = [
            ("breaker.failures", "b"),
            ("breaker.pause", "c"),
            ("queue.max", "a"),
            ("queue.timeout", "a"),
            ("rate", "b"),
            ("statReserve", "a"),
        ];
        assert_eq!(decided, expected, "concurrency is the service's own");
        assert!(!found.is_open() && Limits::default().is_open());
        let reserve = limits(&json!({"concurrency": 4}), &[("p", json!({"statReserve": 2}))]);
        assert_eq!((reserve.stat_reserve, reserve.decided_by.len()), (0, 0), "a service takes no more than it says");
        assert_eq!(limits(&json!({}), &[("p", json!({"concurrency": 4, "statReserve": 2}))]).stat_reserve, 2);
        assert!(limits(&json!({}), &[("q", json!({"queue": {"max": 1}}))]).is_open(), "a queue alone bounds nothing");
    }
}
