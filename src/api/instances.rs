//! A workload whose pods are told apart: each has a name of its own, and may have volumes of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rules, schema};

/// Whether the pods of a workload are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Identity {
    /// Any pod does: a Deployment.
    Interchangeable,
    /// Each has a number, and keeps its name in cluster DNS and its volumes when it is made anew: a `StatefulSet`.
    Stable,
}

/// A volume that each instance has for itself: a `PersistentVolumeClaim` that stays when the instance goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceVolume {
    /// Its name (a DNS label): the claim of instance 0 is `<name>-<service>-0`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"), extend("x-kubernetes-validations" = rules::dns_label()))]
    pub name: String,
    /// Where the container finds it.
    #[schemars(length(min = 2, max = 255), extend("x-kubernetes-validations" = rules::mount_path()))]
    pub mount_path: String,
    /// How large it is, such as `100Gi`.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = rules::volume_size()))]
    pub size: String,
    /// Name of the `StorageClass`; the cluster's default when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub storage_class_name: Option<String>,
}

/// How many pods a workload has, by what they have to do: Kubernetes' own `HorizontalPodAutoscaler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::autoscaling()))]
pub struct Autoscaling {
    /// Fewest pods; 1 when not set. From 2 on a `PodDisruptionBudget` keeps all but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<i32>,
    /// Most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,
    /// What is kept to.
    pub target: AutoscalingTarget,
}

/// What an autoscaler keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutoscalingTarget {
    /// Use of CPU by the pods on average, in percent of what each requests. The cluster must measure it (metrics-server).
    #[schemars(range(min = 1, max = 400))]
    pub cpu: i32,
}
