//! What a workflow has learned from its finished runs: part of its status.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;

/// What finished runs have shown. Predictions of running ones are made from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowSummary {
    /// The revision that these runs followed. With a new revision only steps that stay as they were keep what they have.
    #[schemars(length(max = 253))]
    pub revision: String,
    /// How many runs this stands for: each counts half as much as one that ended 16 runs later.
    #[schemars(range(min = 0), extend("format" = "double"))]
    pub runs: f64,
    /// The last run that was counted, so that none is counted twice.
    pub last: Counted,
    /// The workflow's steps, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub steps: BTreeMap<String, StepSummary>,
}

/// Which run was counted last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Lease transitions of the leader that saw it end.
    pub epoch: i64,
    /// Its number among those that this leader saw end.
    pub number: i64,
}

/// What finished runs have shown of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSummary {
    /// Half of the runs that did it took less, from the end of the steps before it to its own, further attempts and waits
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<Span>,
    /// Percent of the runs that came to it in which `when` gave false; not set for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub skipped: Option<u8>,
    /// Percent of the runs that did it in which it failed for good; not set for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub failed: Option<u8>,
    /// Attempts in the mean, where it succeeded; not set for 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0), extend("format" = "double"))]
    pub attempts: Option<f64>,
    /// The runs one by one, the newest last, two characters each: what became of the step, and its duration to 2 %.
    #[schemars(length(max = 128), regex(pattern = "^[-_A-Za-z0-9]*$"))]
    pub record: String,
}
