//! `ServicePolicy`: a namespace's rules for its workflows and services.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{call_limits::CallLimits, rules, schema, selector::Selector, span::Span, vocabulary::Urgency};

/// Shown by `kubectl explain mpol`.
pub const DESCRIPTION: &str = "Rules of a namespace for the runs of its workflows and for its services. Where several hold, the most restrictive value of each field does.";

/// Which workflows and services, and what holds for them. Runs that are under way follow a change.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "ServicePolicy",
    namespaced,
    derive = "PartialEq",
    shortname = "mpol",
    category = "medley",
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.scheduling.pool"),
    printcolumn(name = "MaxUrgency", type_ = "string", json_path = ".spec.scheduling.maxUrgency"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-validations" = rules::service_policy_spec()))]
pub struct ServicePolicySpec {
    /// Workflows and services that it holds for, by their labels; all of the namespace when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Which runs of the workflows get capacity, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// How many calls the services are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::policy_calls()))]
    pub calls: Option<CallLimits>,
}

/// How the steps of runs get capacity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::scheduling()))]
pub struct Scheduling {
    /// Name of the `CapacityPool` of which steps take what they hold and what their containers request. Without one, by any policy,
    /// they ask nobody. Two policies that name different pools let nothing start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub pool: Option<String>,
    /// Name of Kueue's `LocalQueue` of the namespace to which containers are handed over, instead of a pool: it decides when they
    /// start. Two policies that name different queues, or one a queue and one a pool, let nothing start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub kueue_queue: Option<String>,
    /// The highest urgency that a run may have. The lowest of several policies holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_urgency: Option<Urgency>,
    /// What becomes of a run that asks for more; `Lower` when not set. `Refuse` of one policy holds for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_max_urgency: Option<AboveMaxUrgency>,
    /// A step that has waited so long for capacity rises one level, to `urgent` at most; after twice as long it comes first among its
    /// equals. Half of the run's deadline when not set; without a deadline it does not rise. The longest of several policies holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::aging()))]
    pub aging: Option<Span>,
    /// Whether a step may displace interruptible steps of lower urgency; `LowerUrgency` when not set. `Never` of one policy holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption: Option<Preemption>,
    /// What becomes of those behind a step for which there is not enough; `BestEffort` when not set. `Strict` of one policy holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queueing: Option<Queueing>,
    /// How much of the runs that this policy holds for may be at work at a time, all of them together. Of several policies each counts
    /// its own runs, and what starts must fit into all that hold for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::work_limits()))]
    pub limits: Option<WorkLimits>,
}

/// How much may be at work at a time. What is too much waits in the order of urgency; what undoes a step does not wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkLimits {
    /// Runs that are under way. A run that is part of another one counts with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub runs: Option<u32>,
    /// Pods of steps. A step with `forEach` begins with as many as there is room for, and keeps to that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub pods: Option<u32>,
    /// Calls of steps, whichever services they go to. A step with `forEach` begins with as many as there is room for, and keeps to that
    /// number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub calls: Option<u32>,
}

/// What becomes of a run that asks for more urgency than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum AboveMaxUrgency {
    /// It has the highest that it may have; an event and the run's status say so.
    Lower,
    /// It fails with the reason `UrgencyRefused`, unless it has started.
    Refuse,
}

/// Whether a step may displace others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Preemption {
    /// Interruptible steps of lower urgency: the fewest, of these the least urgent, of these the newest.
    LowerUrgency,
    /// None.
    Never,
}

/// In which order steps of a share are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Queueing {
    /// One that needs less may be admitted before one for which there is not enough yet.
    BestEffort,
    /// None of its share is admitted before it.
    Strict,
}
