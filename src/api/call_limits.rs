//! How many calls a service is sent, and what becomes of those that are too many.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, span::Span};

/// Bounds of the calls that medley sends, for each interface of a service by itself. What is too much for it waits in the order of
/// urgency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallLimits {
    /// Calls that each endpoint is sent at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: Option<u32>,
    /// Further calls that each endpoint may be sent at a time, for steps of urgency `stat` alone; none when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub stat_reserve: Option<u32>,
    /// Calls that all endpoints together are sent in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<CallRate>,
    /// Bounds of the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<CallQueue>,
    /// When an endpoint that fails is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}

/// So many calls in so long, evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallRate {
    /// How many calls.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: u32,
    /// In how long.
    #[schemars(extend("x-kubernetes-validations" = rules::rate_per()))]
    pub per: Span,
}

/// Bounds of a queue. Who is refused fails with the reason `Overloaded`, and is tried again as the step's `retry` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::call_queue()))]
pub struct CallQueue {
    /// How many steps may wait, 10000 when not set; those that come last are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max: Option<u32>,
    /// A step that has stood in the queue so long is refused; it waits as long as its run may when not set. A step with `forEach`
    /// stands there anew with each turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::queue_timeout()))]
    pub timeout: Option<Span>,
}

/// When an endpoint that fails is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// After so many failed calls in a row: no connection, no answer in time, or HTTP 429 or 5xx.
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
    /// For so long; then one call tries it.
    #[schemars(extend("x-kubernetes-validations" = rules::breaker_pause()))]
    pub pause: Span,
}
