//! `objectives`: how well a service is to do. Alerts tell when it does so much worse that too little of what is allowed would be left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema, span::Span};

/// What a service should achieve over 30 days. The alerts of the chart compare it with what is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::objectives()))]
pub struct Objectives {
    /// Percent of its known endpoints that should be ready; when not set, what the chart says for all services
    /// (`prometheusRule.availabilityObjective`, 99.5 there). From 95 to 99.999: below 95 the fastest burn rate would allow more than all endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 95), extend("format" = "double", "x-kubernetes-validations" = rules::objective_percent()))]
    pub availability: Option<f64>,
    /// How many answers should come in time; no alert looks at that when not set. What fails counts as an answer that did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyObjective>,
}

/// How many answers should come in time. A call that says nothing about the service, since it was given up before it was sent, does not
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyObjective {
    /// What is measured: `Calls` of workflow steps (when not set), each attempt without the time for which a step waits for its turn; or
    /// `Probes` of its endpoints by medley, not by the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<LatencySource>,
    /// Percent that should be answered in time, from 95 to 99.999: below 95 the fastest burn rate would allow more than all of them.
    #[schemars(range(min = 95), extend("format" = "double", "x-kubernetes-validations" = rules::objective_percent()))]
    pub percentile: f64,
    /// An answer is in time when it takes no longer.
    #[schemars(extend("x-kubernetes-validations" = rules::latency_within()))]
    pub within: Span,
}

/// What the latency of a service is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum LatencySource {
    /// Calls of workflow steps.
    #[default]
    Calls,
    /// Probes of its endpoints by medley.
    Probes,
}
