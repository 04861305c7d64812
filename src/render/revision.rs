//! The stored form of a workflow's definition.

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde_json::{Value, json};

use super::{Owner, WORKFLOW_LABEL};

/// A `ControllerRevision` that holds the spec under `spec`. Kubernetes never lets its data change.
#[must_use]
pub fn revision(owner: &Owner, name: &str, generation: i64, spec: &Value) -> ControllerRevision {
    ControllerRevision {
        metadata: owner.metadata(name, &[(WORKFLOW_LABEL, &owner.name)]),
        data: Some(RawExtension(json!({ "spec": spec }))),
        revision: generation,
    }
}
