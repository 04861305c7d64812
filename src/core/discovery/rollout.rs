//! How far a Deployment or a `StatefulSet` is.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::status;
use crate::{
    api::{MedicalService, medical_service::EndpointReason, status::READY},
    core::condition,
    render::deployment::APPLIED,
};

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    /// All pods are of the present spec and have been available.
    Done,
    /// It is on its way, or hangs; the text says where.
    Going(String),
}

/// What is to come about.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    kind: &'static str,
    applied: Option<String>,
    replicas: i32,
    /// An autoscaler changes the number of pods as it goes.
    scaled: bool,
}

impl Goal {
    /// The same, with an autoscaler that keeps at least so many pods.
    pub(super) fn scaled(self, fewest: Option<i32>) -> Self {
        match fewest {
            Some(replicas) => Self { replicas, scaled: true, ..self },
            None => self,
        }
    }
}

/// What its controller says of the one that is there.
#[derive(Clone, Debug)]
pub(super) struct Progress<'a> {
    applied: Option<&'a String>,
    /// Its controller has looked at what is there now.
    observed: bool,
    replicas: i32,
    updated: i32,
    available: i32,
    /// What the controller complains about.
    trouble: Option<&'a str>,
}

impl From<&Deployment> for Goal {
    fn from(wanted: &Deployment) -> Self {
        let replicas = wanted.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        Self { kind: "Deployment", applied: applied(&wanted.metadata).cloned(), replicas, scaled: false }
    }
}

impl From<&StatefulSet> for Goal {
    fn from(wanted: &StatefulSet) -> Self {
        let replicas = wanted.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        Self { kind: "StatefulSet", applied: applied(&wanted.metadata).cloned(), replicas, scaled: false }
    }
}

impl<'a> From<&'a Deployment> for Progress<'a> {
    fn from(present: &'a Deployment) -> Self {
        let status = present.status.as_ref();
        Self {
            applied: applied(&present.metadata),
            observed: status.and_then(|s| s.observed_generation) >= present.metadata.generation,
            replicas: status.and_then(|s| s.replicas).unwrap_or(0),
            updated: status.and_then(|s| s.updated_replicas).unwrap_or(0),
            available: status.and_then(|s| s.available_replicas).unwrap_or(0),
            trouble: trouble(status.and_then(|s| s.conditions.as_deref()).unwrap_or_default()),
        }
    }
}

impl<'a> From<&'a StatefulSet> for Progress<'a> {
    fn from(present: &'a StatefulSet) -> Self {
        let status = present.status.as_ref();
        Self {
            applied: applied(&present.metadata),
            observed: status.and_then(|s| s.observed_generation) >= present.metadata.generation,
            replicas: status.map_or(0, |s| s.replicas),
            updated: status.and_then(|s| s.updated_replicas).unwrap_or(0),
            available: status.and_then(|s| s.available_replicas).unwrap_or(0),
            // it tells of its troubles in events only
            trouble: None,
        }
    }
}

/// Reads what is there against what is wanted. `held`: how many pods each reason keeps out by their readiness gate.
///
/// A rollout that is done stays done until the spec changes: a pod that fails later is a matter of `Reachable`, not of `Ready`.
pub(super) fn rollout(
    service: &MedicalService,
    present: Option<&Progress<'_>>,
    wanted: &Goal,
    held: &BTreeMap<EndpointReason, usize>,
) -> Rollout {
    let kind = wanted.kind;
    let Some(present) = present else { return Rollout::Going(format!("the {kind} is being made")) };
    if present.applied != wanted.applied.as_ref() {
        return Rollout::Going(format!("the {kind} is being changed"));
    }
    if wanted.scaled && was_done(service) {
        // only the number of pods is another one
        return Rollout::Done;
    }
    if !present.observed {
        return Rollout::Going(format!("the {kind} has not been looked at by its controller yet"));
    }
    let replicas = wanted.replicas;
    let only_new = present.replicas == present.updated;
    let available = present.available >= replicas;
    if present.updated >= replicas && ((only_new && available) || was_done(service)) {
        return Rollout::Done;
    }
    let mut message =
        format!("{} of {replicas} pods are up to date, {} available", present.updated.min(replicas), present.available);
    let gates: Vec<String> = held.iter().map(|(reason, n)| format!("{n} {}", status::word(*reason))).collect();
    if !gates.is_empty() {
        message.push_str("; held by the readiness gate: ");
        message.push_str(&gates.join(", "));
    }
    if let Some(trouble) = present.trouble {
        message.push_str(": ");
        message.push_str(trouble);
    }
    Rollout::Going(message)
}

fn applied(metadata: &ObjectMeta) -> Option<&String> {
    metadata.annotations.as_ref()?.get(APPLIED)
}

/// Whether this generation of the service has been ready before.
fn was_done(service: &MedicalService) -> bool {
    let conditions = service.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, READY)
        .is_some_and(|c| c.status == "True" && c.observed_generation == service.metadata.generation)
}

/// What the Deployment's controller complains about.
fn trouble(conditions: &[DeploymentCondition]) -> Option<&str> {
    let find = |type_: &str, status: &str| conditions.iter().find(|c| c.type_ == type_ && c.status == status);
    find("ReplicaFailure", "True").or_else(|| find("Progressing", "False"))?.message.as_deref()
}
