//! `Workflow`: the definition of a clinical workflow. Applying it twice changes nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{flow::FlowSummary, rules, schema, span::Span, step::Step, vocabulary::Urgency, workflow_run::RunPhase};

/// Shown by `kubectl explain mwf`.
pub const DESCRIPTION: &str = "Defines a workflow over services and pods. It runs when a WorkflowRun names it, or once for each new generation with start: OnApply.";

/// The definition.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "Workflow",
    namespaced,
    status = "WorkflowStatus",
    derive = "PartialEq",
    shortname = "mwf",
    category = "medley",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Last run", type_ = "string", json_path = ".status.lastRun.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.lastRun.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::workflow_spec()))]
pub struct WorkflowSpec {
    /// What a run may or must give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Parameter>,
    /// Urgency of runs that name none; routine when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// How soon after its creation a run must have ended; a run's own wins. A run that has not ended by then fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::deadline()))]
    pub deadline: Option<Span>,
    /// `OnApply`: one run for each new generation of this object. When not set, runs are made by whoever needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// What is done. A step starts when all steps that it names in `after` are done.
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub steps: Vec<Step>,
    /// What is done when the steps are over, however they ended, and after compensation: release, notify, record. These
    /// steps may use `run.outcome` (`Succeeded`, `Failed` or `Canceled`) and the outputs of all steps. One that fails makes a
    /// run that would have succeeded fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub finally: Vec<Step>,
    /// A volume that all pods of a run's steps share; empty when the run begins. It goes, with the pods, when the run succeeds,
    /// and otherwise when the run is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// How many runs may be under way together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Which finished runs are kept; all when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// What a run gives when it has succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub outputs: Vec<RunOutput>,
}

/// A volume for the files that the pods of one run hand to each other: a `PersistentVolumeClaim` of its own for each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// How large it is, such as `10Gi`.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = rules::volume_size()))]
    pub size: String,
    /// Name of the `StorageClass`; the cluster's default when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub storage_class_name: Option<String>,
    /// Where the containers find it; `/workspace` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 255), extend("x-kubernetes-validations" = rules::mount_path()))]
    pub mount_path: Option<String>,
    /// From how many nodes it can be used at the same time; `ReadWriteOnce` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
}

/// From how many nodes a volume can be used at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum AccessMode {
    /// One: steps at the same time on different nodes wait for each other.
    ReadWriteOnce,
    /// Several.
    ReadWriteMany,
}

impl AccessMode {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteMany => "ReadWriteMany",
        }
    }
}

/// Bounds the runs of a workflow that are under way together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// Expression over `params` and `run`: only runs for which it gives the same text (at most 256 characters) count together;
    /// all runs of the workflow when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub key: Option<String>,
    /// How many may be under way.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// What becomes of a run that would be one too many; `Queue` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ConcurrencyPolicy>,
}

/// What becomes of a run that would be one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum ConcurrencyPolicy {
    /// It waits; runs start by urgency, then in the order in which they were made.
    Queue,
    /// The oldest that is under way is cancelled, and it starts when that has ended.
    Replace,
    /// It fails with the reason `ConcurrencyLimit`.
    Reject,
}

/// Which finished runs are kept. A run goes when any of these says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::retention()))]
pub struct Retention {
    /// How many runs that succeeded: the newest by their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub succeeded: Option<u32>,
    /// How many runs that failed or were cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub failed: Option<u32>,
    /// How long after its end a run is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
}

/// When runs are made without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Start {
    /// One run for each new generation.
    OnApply,
}

/// One parameter. Values are opaque references and settings, never patient data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::parameter()))]
pub struct Parameter {
    /// Its name, used as `params.<name>` in expressions.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-zA-Z0-9]*$"), extend("x-kubernetes-validations" = rules::identifier()))]
    pub name: String,
    /// What kind of value.
    #[serde(rename = "type")]
    pub type_: ValueType,
    /// The value where a run gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_value")]
    pub default: Option<Value>,
    /// Whether a run must give it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The value is confidential: a run gives `{secret: <name>, key: <key>}`, a key of a Secret of its namespace, and the
    /// kubelet alone reads it. It may be used as the whole value of a variable in a container's `env`, and be handed on whole
    /// as a parameter of a child run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
    /// The values allowed; any when not set.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::value_list")]
    pub allowed: Vec<Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

/// The kind of a parameter's or output's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// A JSON object.
    Object,
}

/// One output of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunOutput {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-zA-Z0-9]*$"), extend("x-kubernetes-validations" = rules::identifier()))]
    pub name: String,
    /// Expression over `params` and `steps`.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// What medley found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::reporting_status()))]
pub struct WorkflowStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Lease transitions of the leader that wrote this: a former leader's write is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::leader_epoch()))]
    pub leader_epoch: Option<i64>,
    /// `Ready`: the definition is valid and stored. `LastRun`: how the latest run ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the `ControllerRevision` that holds the definition: new runs pin it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub revision: Option<String>,
    /// The newest generation for which `start: OnApply` has made its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_generation: Option<i64>,
    /// Runs that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u32>,
    /// The run that was made last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// What finished runs have shown; predictions are made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowSummary>,
}

/// One run, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastRun {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Where it is.
    pub phase: RunPhase,
    /// When it was made, or when it ended.
    #[schemars(schema_with = "schema::moment")]
    pub at: Timestamp,
}
