//! A plan: what is run, and what goes wrong meanwhile.

use serde::{Deserialize, Serialize};

use super::{scenario::Scenario, troubles::Trouble};

/// One line of JSON is a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    #[serde(default)]
    pub(crate) troubles: Vec<Trouble>,
}

impl Plan {
    /// As [`Plan::to_line`] wrote it.
    pub(crate) fn from_line(line: &str) -> Self {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("this is no plan: {e}: {line}"))
    }

    pub(crate) fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap()
    }

    /// The same without its troubles.
    pub(crate) fn undisturbed(&self) -> Self {
        Self { scenario: self.scenario.clone(), troubles: Vec::new() }
    }
}
