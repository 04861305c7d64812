//! PURE: from a wish in the words of the domain to the Kubernetes object that fulfils it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::API_VERSION;

pub mod autoscaler;
pub mod child_run;
pub mod claim;
pub mod deployment;
pub mod disruption_budget;
pub mod endpoint_slice;
pub mod gate;
pub mod job;
pub mod pod;
pub mod pod_template;
pub mod revision;
pub mod service;
pub mod stateful_set;

/// Field manager of everything that medley applies.
pub const MANAGER: &str = "medley";
/// Label: name of the `MedicalService` that an object belongs to.
pub const SERVICE_LABEL: &str = "medley.health/service";
/// Label: name of the `ServiceQuery` that an object belongs to.
pub const QUERY_LABEL: &str = "medley.health/query";
/// Label: name of the `Workflow` that an object belongs to.
pub const WORKFLOW_LABEL: &str = "medley.health/workflow";
/// Label: name of the `WorkflowRun` that a pod or child run belongs to.
pub const RUN_LABEL: &str = "medley.health/run";
/// Label: name of the step that a pod or child run belongs to.
pub const STEP_LABEL: &str = "medley.health/step";

/// Label: name of the `WorkflowRun` on the pods of a step that is done for many items: instead of the one above, since their
/// Job speaks for them.
pub const ITEM_OF_LABEL: &str = "medley.health/item-of";
/// Label: `compensation` on the pod that undoes a step.
pub const ROLE_LABEL: &str = "medley.health/role";

/// Who owns an object: it is removed with its owner, by Kubernetes' own garbage collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind of the owner, of medley's own group.
    pub kind: &'static str,
    /// Namespace of the owner and of what it owns.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The reference that an owned object carries.
    #[must_use]
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: self.kind.to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// Metadata of an owned object.
    #[must_use]
    pub fn metadata(&self, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
        let mut all: BTreeMap<String, String> =
            labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(all),
            owner_references: Some(vec![self.reference()]),
            ..ObjectMeta::default()
        }
    }

    /// Whether an object's metadata says that this owner controls it.
    #[must_use]
    pub fn controls(&self, object: &ObjectMeta) -> bool {
        object.owner_references.iter().flatten().any(|r| r.controller == Some(true) && r.uid == self.uid)
    }
}
