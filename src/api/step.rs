//! One step of a workflow: when it starts, what it does, what follows a failure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    call::Call,
    fan_out::ForEach,
    medical_service::{EnvVar, ImagePullPolicy, Resources},
    rules, schema,
    span::Span,
    vocabulary::{ErrorClass, Safety},
    workflow::ValueType,
};

/// One step: a name, when it starts, what to do when it fails, and exactly one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::step()))]
pub struct Step {
    /// Its name (a DNS label), unique in the workflow.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub name: String,
    /// Steps above that must be done first. A skipped step counts as done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub after: Vec<String>,
    /// Expression that gives true or false, read when the steps of `after` are done; false skips the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// Does the step once for each of many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// How long one attempt may take, from its start; `30s` for a call and `1h` for a container when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::positive_span()))]
    pub timeout: Option<Span>,
    /// `timeout` as percent of the run's deadline; needs the workflow's `deadline`.
    #[serde(default, rename = "deadlineShare", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub deadline_share: Option<u8>,
    /// Further attempts after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// May it be repeated when nobody knows whether it took effect? When not set: a call is Idempotent if its method
    /// is (RFC 9110 §9.2.2) and AtMostOnce otherwise; a container is Idempotent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,
    /// The pod of this step may be taken away (preempted, evicted, its node drained): another attempt follows that costs no
    /// retry. When it is not set, that is the failure `PodLost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruptible: Option<bool>,
    /// Capacity that it takes while it is at work, of the pool that a `ServicePolicy` names: any names, such as `ct-slots: "1"`. What
    /// its container requests counts too, and need not be said here. Without such a policy it is only a note.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::capacity")]
    pub holds: BTreeMap<String, String>,
    /// What later steps and the run's outputs may use, as `steps.<name>.outputs.<output>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub outputs: Vec<StepOutput>,
    /// Talks to a `MedicalService` from inside the operator; no pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// Runs a pod to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Computes a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// Lets time pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// Runs another workflow of the same namespace to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<ChildWorkflow>,
    /// Undoes the step when the run fails or is cancelled after the step has succeeded. Compensations run one at a time, the
    /// one of the step that ended last first; one that fails for good is shown and does not keep the others from running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Compensation>,
}

/// What undoes a step: exactly one action, which may use the outputs of the steps that are done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::compensation()))]
pub struct Compensation {
    /// How long one attempt may take; as for a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::positive_span()))]
    pub timeout: Option<Span>,
    /// Further attempts after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// As for a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,
    /// Talks to a `MedicalService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// Runs a pod to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Runs another workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<ChildWorkflow>,
}

/// Another workflow that is run as a step. Child runs may be nested 8 deep; cancelling the run cancels them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChildWorkflow {
    /// Name of the `Workflow`, in the same namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Its parameters. The outputs of the child run are the step's `result`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parameters: Vec<Argument>,
}

/// The value of one parameter of a child run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Argument {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-zA-Z0-9]*$"), extend("x-kubernetes-validations" = rules::identifier()))]
    pub name: String,
    /// Expression over `params`, `steps` and `run`.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// Further attempts after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// How many attempts after the first.
    #[schemars(range(min = 1, max = 100))]
    pub limit: u8,
    /// How long to wait before each. Where a service that answers 429 or 503 says how long it wants to be left alone
    /// (`Retry-After`), no shorter than that, up to `max` and to the run's deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Kinds of failure that are tried again; Connection, Timeout, Overloaded, ServerError and PodLost when not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 11), extend("x-kubernetes-list-type" = "set"))]
    pub errors: Vec<ErrorClass>,
}

/// Waiting time before attempt n+1: `min(max, initial × factor^(n-1))`, less a random part of up to `jitter` percent. Where a
/// service that answers 429 or 503 says how long to wait (`Retry-After`), it is no shorter than that, up to `max`, and longer by
/// a random part of up to `jitter` percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Backoff {
    /// Before the second attempt; `1s` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Span>,
    /// Each further wait is this many times longer; 2 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub factor: Option<u8>,
    /// The longest wait, also where a service asks for a longer one; `5m` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// Percent of each wait that is left to chance; 20 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub jitter: Option<u8>,
}

/// One output of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepOutput {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z][a-zA-Z0-9]*$"), extend("x-kubernetes-validations" = rules::identifier()))]
    pub name: String,
    /// What kind of value; a result of another kind fails the step with `InvalidResult`.
    #[serde(rename = "type")]
    pub type_: ValueType,
    /// Expression over `result`; `result.<name>` when not set. The result of a call is `{status, headers, body}` (the
    /// body is parsed when it is JSON), of a container the JSON object in its termination message, of a transform its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: Option<String>,
}

/// A container run to its end, under restricted pod security and without an API token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Container image. It must run as a user other than root.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^ \\t\\r\\n]+$"), extend("x-kubernetes-validations" = rules::image()))]
    pub image: String,
    /// When the image is pulled; `IfNotPresent` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Templates: replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
    /// Templates: replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// Environment variables; their values are templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// A value computed in the operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transform {
    /// Expression over `params` and `steps`; its value is the step's `result`.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// Time that passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// How long.
    #[serde(rename = "for")]
    pub for_: Span,
}
