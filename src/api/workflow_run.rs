//! `WorkflowRun`: one execution of a workflow.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    rules, schema,
    vocabulary::{ErrorClass, Urgency},
};

/// Shown by `kubectl explain mrun`.
pub const DESCRIPTION: &str =
    "One execution of a Workflow. It pins the Workflow's revision, so that a later change does not touch it.";

/// What to run.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "WorkflowRun",
    namespaced,
    status = "WorkflowRunStatus",
    derive = "PartialEq",
    shortname = "mrun",
    category = "medley",
    printcolumn(name = "Workflow", type_ = "string", json_path = ".spec.workflow"),
    printcolumn(name = "Urgency", type_ = "string", json_path = ".status.urgency"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Steps", type_ = "string", json_path = ".status.stepSummary"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedAt", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::workflow_run_spec()))]
pub struct WorkflowRunSpec {
    /// Name of the `Workflow`, in the same namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub workflow: String,
    /// Values of the workflow's parameters, each of up to 4 KiB: opaque references, never patient data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub parameters: BTreeMap<String, Value>,
    /// How soon the result is needed; the workflow's own when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// Stops the run: no step starts any more, pods are removed, calls are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
}

/// Where the run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::workflow_run_status()))]
pub struct WorkflowRunStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Succeeded`: how it ended, Unknown while it runs; `Ready`: it has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where the run is; Succeeded, Failed and Canceled are final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::run_phase()))]
    pub phase: Option<RunPhase>,
    /// Lease transitions of the leader that wrote this: a former leader's write is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::leader_epoch()))]
    pub leader_epoch: Option<i64>,
    /// Name of the `ControllerRevision` that the run follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// The urgency that holds for this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// When the first step could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub finished_at: Option<Timestamp>,
    /// `<done>/<all>` steps, for the eye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub step_summary: Option<String>,
    /// Each step that has begun to matter, by name. A step that is not here waits for others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub steps: BTreeMap<String, StepStatus>,
    /// The run's outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub outputs: BTreeMap<String, Value>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum RunPhase {
    /// It waits for its workflow to be there and valid.
    Pending,
    /// Steps run or wait for each other.
    Running,
    /// All steps are done.
    Succeeded,
    /// A step failed for good, or the run could not start.
    Failed,
    /// Somebody set `spec.cancel`.
    Canceled,
}

impl RunPhase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// Where one step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Where it is; Succeeded, Skipped, Failed, Unknown and Canceled are final.
    #[schemars(extend("x-kubernetes-validations" = rules::step_phase()))]
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
    /// Name of the attempt's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Where the attempt's call goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<CallTarget>,
    /// Counts the attempts that are known to have failed: part of the idempotency key, which stays the same while it is
    /// not known whether an attempt took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_failures: Option<u32>,
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
    /// With what probability it was chosen, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub probability: u8,
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// What it needs is not there: the service does not exist, or none of its endpoints is ready.
    Waiting,
    /// The attempt's intent is written; its pod or call has not been seen at work.
    Starting,
    /// It is at work.
    Running,
    /// It waits for its next attempt.
    Retrying,
    /// Done.
    Succeeded,
    /// `when` gave false.
    Skipped,
    /// It failed for good.
    Failed,
    /// `AtMostOnce`, and nobody knows whether it took effect.
    Unknown,
    /// The run ended first.
    Canceled,
}

impl StepPhase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::Failed | Self::Unknown | Self::Canceled)
    }
}
