//! What measurements of a service have shown: part of its status.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{schema, span::Span};

/// How a service does, by where it is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurements {
    /// Probes of all its endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Measured>,
    /// Calls of workflow steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Measured>,
}

impl Measurements {
    /// Both, with their names.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &Measured)> {
        [("probes", &self.probes), ("calls", &self.calls)].into_iter().filter_map(|(name, m)| Some((name, m.as_ref()?)))
    }
}

/// What was seen so far, as it was when the status was last written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Half of the answers took less. To 10 %; 1ms stands for all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<Span>,
    /// 99 of 100 answers took less. To 10 %; 1ms stands for all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<Span>,
    /// Percent that failed; not set for 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("format" = "double"))]
    pub failed: Option<f64>,
    /// Of the last window of measurements: 3 means that one in a thousand would be as slow, or fail as often, were the service
    /// as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("format" = "double"))]
    pub surprise: Option<f64>,
    /// What is unusual; not set while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<Anomaly>,
    /// The distribution itself, two characters a number.
    #[schemars(length(max = 256), regex(pattern = "^[-_A-Za-z0-9]*$"))]
    pub record: String,
    /// The distribution since the anomaly began: it counts when that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = "^[-_A-Za-z0-9]*$"))]
    pub aside: Option<String>,
}

/// Something unusual that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anomaly {
    /// What is unusual.
    pub cause: Cause,
    /// Since when.
    #[schemars(schema_with = "schema::moment")]
    pub since: Timestamp,
    /// Of the window with which it began.
    #[schemars(range(min = 0, max = 100), extend("format" = "double"))]
    pub surprise: f64,
}

/// What is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// Answers take longer.
    Slower,
    /// More measurements fail.
    Failing,
}
