//! What a decision about one `MedicalService` sees.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{capability::Facts, guard::AddressGuard, lookup::Lookup, target::Endpoint};
use crate::{
    api::MedicalService,
    core::{
        monitoring::{health::Health, measurements::Known},
        refusal::Refusal,
    },
    render::{Owner, endpoint_slice},
};

/// Kind of the owner of everything that is decided here.
pub const KIND: &str = "MedicalService";

/// A snapshot of what one service depends on.
#[derive(Clone, Debug)]
pub struct ServiceView<'a> {
    /// The service itself.
    pub service: &'a MedicalService,
    /// Domain of cluster DNS, such as `cluster.local`.
    pub cluster_domain: &'a str,
    /// The Deployment of the service's name, whoever made it.
    pub deployment: Option<&'a Deployment>,
    /// The `StatefulSet` of the service's name, whoever made it.
    pub stateful_set: Option<&'a StatefulSet>,
    /// The Service with the name of that of the service's instances, whoever made it.
    pub instances: Option<&'a Service>,
    /// The Service of the service's name, whoever made it.
    pub core_service: Option<&'a Service>,
    /// The `HorizontalPodAutoscaler` of the service's name, whoever made it.
    pub autoscaler: Option<&'a HorizontalPodAutoscaler>,
    /// The `PodDisruptionBudget` of the service's name, whoever made it.
    pub budget: Option<&'a PodDisruptionBudget>,
    /// The `EndpointSlice`s in the namespace that carry the label `medley.health/service` with the service's name, whoever
    /// made them.
    pub slices: Vec<&'a EndpointSlice>,
    /// The pods with a readiness gate that carry the labels of the service, whoever made them.
    pub pods: Vec<&'a Pod>,
    /// What is known of the host names.
    pub lookups: &'a BTreeMap<String, Lookup>,
    /// What is known of the probed endpoints.
    pub health: &'a BTreeMap<Endpoint, Health>,
    /// What the probed endpoints can do, as far as they told.
    pub facts: &'a BTreeMap<Endpoint, Arc<Facts>>,
    /// Until when the certificates of probed endpoints are valid, as far as they showed one.
    pub certificates: &'a BTreeMap<Endpoint, Timestamp>,
    /// What its measurements have shown.
    pub measured: &'a Known,
    /// What the API server refused to write for it.
    pub refused: Option<&'a Refusal>,
    /// Which addresses may be probed and published.
    pub guard: &'a AddressGuard,
    /// The policy that decided each bound of its calls, by field.
    pub decided_by: &'a BTreeMap<String, String>,
    /// Lease transitions of this leader.
    pub epoch: i64,
}

impl ServiceView<'_> {
    /// The service as the owner of its objects.
    pub(super) fn owner(&self) -> Owner {
        let metadata = &self.service.metadata;
        Owner {
            kind: KIND,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The slices that medley keeps for this very service.
    pub(super) fn own_slices<'s>(&'s self, owner: &'s Owner) -> impl Iterator<Item = &'s EndpointSlice> {
        self.slices.iter().copied().filter(|s| endpoint_slice::is_ours(s) && owner.controls(&s.metadata))
    }

    /// The slices that Kubernetes keeps for the pods of this service.
    pub(super) fn pod_slices<'s>(&'s self, owner: &'s Owner) -> impl Iterator<Item = &'s EndpointSlice> {
        self.slices
            .iter()
            .copied()
            .filter(|s| !endpoint_slice::is_ours(s) && endpoint_slice::service_of(s) == Some(owner.name.as_str()))
    }
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This service's.
    Ours,
    /// That of a deleted `MedicalService` with the same name: the garbage collector will remove it.
    Former,
    /// Somebody else's.
    Foreign,
}

impl Ownership {
    /// Whose the object with this metadata is.
    #[must_use]
    pub fn of(owner: &Owner, object: &ObjectMeta) -> Self {
        if owner.controls(object) {
            return Self::Ours;
        }
        let former = object.owner_references.iter().flatten().any(|r| {
            r.controller == Some(true)
                && r.kind == owner.kind
                && r.name == owner.name
                && r.api_version == crate::api::API_VERSION
        });
        if former { Self::Former } else { Self::Foreign }
    }
}
