//! `CapacityPool`: what an administrator has to give, and to whom.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema, selector::Selector};

/// Shown by `kubectl explain mpool`.
pub const DESCRIPTION: &str = "Capacity that steps of workflows take while they are at work, divided into shares of namespaces. Of what waits for it the clinically most urgent comes first.";

/// What there is, and who may use it. Quantities are of any resource that steps name in `holds` or containers in
/// `resources.requests`, and `pods`, of which each container takes one.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "medley.health",
    version = "v1alpha1",
    kind = "CapacityPool",
    status = "CapacityPoolStatus",
    derive = "PartialEq",
    shortname = "mpool",
    category = "medley",
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Waiting", type_ = "integer", json_path = ".status.waitingTotal"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::capacity_pool_spec()))]
pub struct CapacityPoolSpec {
    /// Name of the pool that this one is part of: what one does not use the other may borrow. Pools may be nested 4 deep, and those
    /// of one tree may name 8 resources together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub parent: Option<String>,
    /// What it has, beside what the pools below it have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::capacity")]
    pub resources: BTreeMap<String, String>,
    /// Nodes of which it has resources beside those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeSupply>,
    /// What each urgency has for itself: lower ones may not take it, and higher ones may.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::reserved")]
    pub reserved: BTreeMap<String, BTreeMap<String, String>>,
    /// Hours of the week in which it has other amounts. Where several hold, the first of the list does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub windows: Vec<Window>,
    /// How much it may take from its parent beside its own; as much as is free when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::capacity")]
    pub borrow_limit: Option<BTreeMap<String, String>>,
    /// How much of its own others of its parent may take while it does not need it; all when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::capacity")]
    pub lend_limit: Option<BTreeMap<String, String>>,
    /// Who may use it. A namespace belongs to the first share that selects it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub shares: Vec<Share>,
}

/// What nodes bring along: the sum of what pods can have of them (`status.allocatable`), of those that are ready and take pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSupply {
    /// Nodes, by their labels; all when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Which of their resources.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub resources: Vec<String>,
}

/// Hours of the week, and what a pool has in them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::window()))]
pub struct Window {
    /// Its name, unique in the pool.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub name: String,
    /// Time zone of the IANA database, such as `Europe/Berlin`; `UTC` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][A-Za-z0-9_+/-]*$"))]
    pub time_zone: Option<String>,
    /// Days on which it begins; each when not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Day>,
    /// When it begins, by the clock of that time zone: `22:00`.
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// When it ends: `06:00`. On the next day where that is not later than `from`, so that a whole day is from `00:00` to `00:00`.
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// What it has of these resources then; of others it has as much as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::capacity")]
    pub resources: Option<BTreeMap<String, String>>,
    /// What each urgency has for itself then, instead of its `reserved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::reserved")]
    pub reserved: Option<BTreeMap<String, BTreeMap<String, String>>>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// One share of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Its name, unique in the pool.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub name: String,
    /// Namespaces that use it, by their labels; all when not set. Every namespace has the label `kubernetes.io/metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// What comes to it first: nothing when not set, so that it has what is left over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::capacity")]
    pub nominal: BTreeMap<String, String>,
    /// How much it may take beside that; as much as is free when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::capacity")]
    pub borrow_limit: Option<BTreeMap<String, String>>,
    /// How much of its own others may take while it does not need it; all when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::capacity")]
    pub lend_limit: Option<BTreeMap<String, String>>,
    /// Its part of what is left over, in relation to other shares; 1 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u16>,
}

/// What is in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::reporting_status()))]
pub struct CapacityPoolStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Lease transitions of the leader that wrote this: a former leader's write is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::leader_epoch()))]
    pub leader_epoch: Option<i64>,
    /// `Ready`: steps get capacity from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The window that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub window: Option<String>,
    /// What it has, with the pools below it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub supply: BTreeMap<String, String>,
    /// What steps have of it and of the pools below it. It follows the steps' own statuses with a delay of some seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub granted: BTreeMap<String, String>,
    /// What of that is more than its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub borrowed: BTreeMap<String, String>,
    /// Steps that wait for capacity of its own shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_total: Option<u32>,
    /// Those, by urgency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub waiting: BTreeMap<String, u32>,
    /// Its shares, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub shares: Vec<ShareStatus>,
}

/// What of a share is in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShareStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What its steps have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub granted: BTreeMap<String, String>,
    /// What of that is more than its nominal amount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::amounts")]
    pub borrowed: BTreeMap<String, String>,
    /// Its steps that wait, by urgency.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub waiting: BTreeMap<String, u32>,
}
