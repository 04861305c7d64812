//! How far a Deployment is.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

use crate::{
    api::{MedicalService, status::READY},
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

/// Reads `present` against the Deployment that is wanted.
///
/// A rollout that is done stays done until the spec changes: a pod that fails later is a matter of `Reachable`, not of `Ready`.
pub(super) fn rollout(service: &MedicalService, present: Option<&Deployment>, wanted: &Deployment) -> Rollout {
    let Some(present) = present else { return Rollout::Going("the Deployment is being made".to_owned()) };
    if applied(present) != applied(wanted) {
        return Rollout::Going("the Deployment is being changed".to_owned());
    }
    let status = present.status.clone().unwrap_or_default();
    if status.observed_generation < present.metadata.generation {
        return Rollout::Going("the Deployment has not been looked at by its controller yet".to_owned());
    }
    let replicas = wanted.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let count = |n: Option<i32>| n.unwrap_or(0);
    let updated = count(status.updated_replicas) >= replicas;
    let only_new = count(status.replicas) == count(status.updated_replicas);
    let available = count(status.available_replicas) >= replicas;
    if updated && ((only_new && available) || was_done(service)) {
        return Rollout::Done;
    }
    let mut message = format!(
        "{} of {replicas} pods are up to date, {} available",
        count(status.updated_replicas).min(replicas),
        count(status.available_replicas)
    );
    if let Some(trouble) = trouble(status.conditions.as_deref().unwrap_or_default()) {
        message.push_str(": ");
        message.push_str(trouble);
    }
    Rollout::Going(message)
}

fn applied(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.annotations.as_ref()?.get(APPLIED)
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
