//! Where one step of a run is: part of the run's status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    admission::{Admission, Capacity},
    fan_out::ItemsStatus,
    schema,
    vocabulary::ErrorClass,
};

/// Where one step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Where it is; Succeeded, Skipped, Failed and Canceled are final.
    pub phase: StepPhase,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When this attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub started_at: Option<Timestamp>,
    /// When the step came to its final phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub finished_at: Option<Timestamp>,
    /// When the next attempt begins, or a wait ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub wake_at: Option<Timestamp>,
    /// Capacity that the attempt has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Where it stands while it waits for capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// Name of the attempt's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Name of the attempt's child run; of a step with `forEach` what the names of its child runs follow from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub run: Option<String>,
    /// Name of the Job that runs the items of a container step with `forEach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    /// The items of a step with `forEach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemsStatus>,
    /// Where the attempt's call goes. While it waits for a place another endpoint may come to have one first: the end of the attempt
    /// tells where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<CallTarget>,
    /// Counts the attempts that are known to have failed: part of the idempotency key, which stays the same while it is
    /// not known whether an attempt took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_failures: Option<u32>,
    /// The attempt's request was sent before, by a leader that was interrupted: it may have taken effect, whatever comes of its
    /// repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resent: Option<bool>,
    /// Counts the attempts whose pod was taken away from an `interruptible` step: they cost no retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruptions: Option<u32>,
    /// Values that other steps may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub outputs: BTreeMap<String, Value>,
    /// Kind of the latest failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ErrorClass>,
    /// What happened, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// The endpoint that a call goes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallTarget {
    /// `address:port`.
    #[schemars(length(max = 64))]
    pub endpoint: String,
    /// With what probability it was chosen among those of its service, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub probability: u8,
    /// The service that was chosen from the answer of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ChosenService>,
}

/// A service that was chosen from the answer of a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChosenService {
    /// Name of the `MedicalService`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// With what probability it was chosen, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub probability: u8,
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// What it needs is not there: the service does not exist, none of its endpoints is ready, or there is no capacity for it.
    Waiting,
    /// The attempt's intent is written; its pod or call has not been seen at work.
    Starting,
    /// It is at work.
    Running,
    /// It waits for its next attempt.
    Retrying,
    /// It was told to stop and has not ended: a pod in its grace period, a child run that compensates.
    Stopping,
    /// Done.
    Succeeded,
    /// `when` gave false.
    Skipped,
    /// It failed for good.
    Failed,
    /// `AtMostOnce`, and nobody knows whether it took effect: it waits for `spec.resolutions`.
    Unknown,
    /// The run ended first.
    Canceled,
}

impl StepStatus {
    /// A step in this phase of which nothing else is to be said.
    #[must_use]
    pub const fn new(phase: StepPhase) -> Self {
        Self {
            phase,
            attempt: None,
            started_at: None,
            finished_at: None,
            wake_at: None,
            capacity: None,
            admission: None,
            pod: None,
            run: None,
            job: None,
            items: None,
            target: None,
            known_failures: None,
            resent: None,
            disruptions: None,
            outputs: BTreeMap::new(),
            reason: None,
            message: None,
        }
    }
}

impl StepPhase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::Failed | Self::Canceled)
    }

    /// Whether it has ended well: what comes after it may start, and nothing of it is done anew.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }

    /// Whether a pod, a call or a child run may be at work for it.
    #[must_use]
    pub const fn is_at_work(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}
