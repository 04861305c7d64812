//! Rules of how many calls a service is sent.

use serde_json::Value;

use super::{Rule, SPAN, extension, rule};

const LONGER_THAN_ZERO: &str = "self.matches('[1-9]')";

fn span(message: &'static str) -> Value {
    extension(&[SPAN, rule("", LONGER_THAN_ZERO, message)])
}

/// In how long a rate's calls may be sent.
pub fn rate_per() -> Value {
    span("must be longer than zero: write 1s or 1m, or remove rate")
}

/// How long a step may wait for its turn.
pub fn queue_timeout() -> Value {
    span("must be longer than zero, or nothing could ever wait: remove timeout")
}

/// For how long an endpoint is left alone.
pub fn breaker_pause() -> Value {
    span("must be longer than zero, or nothing would be left alone: remove breaker")
}

/// Bounds of a queue.
pub fn call_queue() -> Value {
    extension(&[rule("", "has(self.max) || has(self.timeout)", "says nothing: set max, timeout or both")])
}

/// What a service says of itself.
pub fn service_capacity() -> Value {
    extension(&[
        rule(
            "",
            "has(self.concurrency) || has(self.rate) || has(self.breaker)",
            "nothing would ever wait: set at least one of concurrency, rate and breaker",
        ),
        stat_reserve(),
    ])
}

/// What a policy says of the services that it is for.
pub fn policy_calls() -> Value {
    extension(&[rule(
        "",
        "has(self.concurrency) || has(self.statReserve) || has(self.rate) || has(self.queue) || has(self.breaker)",
        "says nothing: set at least one of concurrency, statReserve, rate, queue and breaker",
    )])
}

const fn stat_reserve() -> Rule {
    rule(
        ".statReserve",
        "!has(self.statReserve) || has(self.concurrency)",
        "is beside concurrency: set that, or remove statReserve",
    )
}
