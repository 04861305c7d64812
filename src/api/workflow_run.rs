//! `WorkflowRun`: one execution of a workflow.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{admission::Admission, rules, schema, span::Span, vocabulary::Urgency};

pub use super::step_status::{CallTarget, ChosenService, StepPhase, StepStatus};

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
    selectable = ".status.phase",
    printcolumn(name = "Workflow", type_ = "string", json_path = ".spec.workflow"),
    printcolumn(name = "Urgency", type_ = "string", json_path = ".status.urgency"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Steps", type_ = "string", json_path = ".status.stepSummary"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Waits", type_ = "string", json_path = ".status.admission.reason", priority = "1"),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedAt", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::workflow_run_spec()))]
pub struct WorkflowRunSpec {
    /// Name of the `Workflow`, in the same namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub workflow: String,
    /// Values of the workflow's parameters, each of up to 4 KiB: opaque references, never patient data. A `sensitive` one is
    /// given as `{secret: <name>, key: <key>}`, a key of a Secret of this namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub parameters: BTreeMap<String, Value>,
    /// How soon the result is needed; the workflow's own when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// How soon after its creation the run must have ended; the workflow's own when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::deadline()))]
    pub deadline: Option<Span>,
    /// Stops the run: no step starts any more, pods are removed, calls are dropped, child runs are cancelled; then what was
    /// done is compensated, and the steps of `finally` run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<bool>,
    /// Holds the run: no attempt of any step starts while it is true; what is at work goes on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Takes over what another run of the same workflow has done, and does the rest anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_from: Option<RetryFrom>,
    /// Decisions about steps whose phase is `Unknown`: nobody but a person can tell whether they took effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["step"]))]
    pub resolutions: Vec<Resolution>,
}

/// Where a run takes up another one. Its parameters are its own: give those that the other run had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryFrom {
    /// Name of a run of the same workflow that has ended. Its revision is followed.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub run: String,
    /// The step that is done anew, with all that come after it, and with those that did not succeed or were compensated.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
}

/// What a person has found out about a step whose phase is `Unknown`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::resolution()))]
pub struct Resolution {
    /// Name of the step.
    #[schemars(length(min = 1, max = 63))]
    pub step: String,
    /// The attempt that was looked into: the step's `status.attempt`. It holds for no other.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub attempt: u32,
    /// What is to follow.
    pub outcome: ResolvedAs,
    /// The step's outputs, where it took effect and declares some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub outputs: BTreeMap<String, Value>,
}

/// What follows from a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum ResolvedAs {
    /// It took effect: the run goes on.
    Succeeded,
    /// It did not, and is not to be done: the step fails for good.
    Failed,
    /// It did not: another attempt starts at once, whatever `retry` says.
    Retry,
}

/// Where the run is.
// One writer owns it as a whole (`atomic`): with an owner kept for every field, the API server would pay for all on each write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::workflow_run_status(), "x-kubernetes-map-type" = "atomic"))]
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
    /// The `ServicePolicy` that decided, by the field of its `scheduling`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::deciders")]
    pub decided_by: BTreeMap<String, String>,
    /// Where that of its steps stands that waits for capacity, or for its turn to call, and comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// When the first step could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub finished_at: Option<Timestamp>,
    /// When it must have ended, and whether it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// When it will end, as likely before as after; of a run with a deadline, while enough earlier runs are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub eta: Option<Timestamp>,
    /// Steps that have not ended and decide, more often than not, when the run does; the next 32 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub critical_path: Vec<String>,
    /// `<done>/<all>` steps, for the eye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub step_summary: Option<String>,
    /// Each step that has begun to matter, by name. A step that is not here waits for others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub steps: BTreeMap<String, StepStatus>,
    /// Steps that have ended, in the form of `steps` as JSON text, while the run is under way and has more than 64 of them: the API
    /// server looks into each field of `steps` on every write. When the run has ended, all are in `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_000_000))]
    pub ended_steps: Option<String>,
    /// Each compensation that has begun, by the name of the step that it undoes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 500))]
    pub compensations: BTreeMap<String, StepStatus>,
    /// How the run will end when compensations and the steps of `finally` are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Name of the `PersistentVolumeClaim` that the run's pods share; it is there, or about to be made or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub workspace: Option<String>,
    /// Evaluated `concurrency.key`: of the runs of the workflow with the same key only so many are under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub concurrency_key: Option<String>,
    /// The run's outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::value_map")]
    pub outputs: BTreeMap<String, Value>,
}

/// A run's deadline. What is predicted holds if no step fails for good; it is brought up to date when a step begins or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// When the run's steps must have ended.
    #[schemars(schema_with = "schema::moment")]
    pub at: Timestamp,
    /// When they will end, as likely before as after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub predicted: Option<Timestamp>,
    /// They will end before this with a chance of 5 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub earliest: Option<Timestamp>,
    /// They will end after this with a chance of 5 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub latest: Option<Timestamp>,
    /// Whether it will likely miss the deadline: from a chance of 30 % on, until the chance is below 15 %. Not set while
    /// there are too few earlier runs to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<bool>,
}

/// How a run will end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ending {
    /// The phase that it will have.
    pub phase: RunPhase,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, for people.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum RunPhase {
    /// It waits for its workflow to be there and valid, for its turn (`concurrency`), or for capacity for its first steps.
    Pending,
    /// Steps run or wait for each other.
    Running,
    /// `spec.suspend` is true: no attempt starts.
    Suspended,
    /// It will not succeed: what was done is being undone.
    Compensating,
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
