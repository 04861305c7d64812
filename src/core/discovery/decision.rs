//! What is decided about one `MedicalService`.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::Service,
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{gate::Gate, target::Probing};
use crate::{api::MedicalServiceStatus, core::note::Note};

/// Everything that should be. Objects come first, then the status: it only reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceDecision {
    /// The whole next status; `None` when the present one is right.
    pub status: Option<MedicalServiceStatus>,
    /// Objects that should be as they are here. Only fields that medley owns are set.
    pub wanted: Vec<Wanted>,
    /// Objects of this service that should not be.
    pub unwanted: Vec<(OwnedKind, String)>,
    /// What pods are to be told of their readiness, in order.
    pub gates: Vec<Gate>,
    /// Endpoints to be probed, in order.
    pub probes: Vec<Probing>,
    /// Names to be looked up.
    pub hosts: BTreeSet<String>,
    /// What people should know. Empty when nothing changed.
    pub notes: Vec<Note>,
}

/// An object that should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Runs the pods of a workload.
    Deployment(Box<Deployment>),
    /// Says how many pods a workload has.
    HorizontalPodAutoscaler(Box<HorizontalPodAutoscaler>),
    /// Runs the instances of a workload.
    StatefulSet(Box<StatefulSet>),
    /// Gives the service, or its instances, names in cluster DNS.
    Service(Box<Service>),
    /// Publishes healthy external addresses.
    EndpointSlice(Box<EndpointSlice>),
    /// Keeps all pods but one during drains.
    PodDisruptionBudget(Box<PodDisruptionBudget>),
}

/// Kind of an owned object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` `EndpointSlice`.
    EndpointSlice,
    /// `policy/v1` `PodDisruptionBudget`.
    PodDisruptionBudget,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `autoscaling/v2` `HorizontalPodAutoscaler`.
    HorizontalPodAutoscaler,
}

impl fmt::Display for OwnedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
        })
    }
}

impl Wanted {
    /// Kind of the object.
    #[must_use]
    pub const fn kind(&self) -> OwnedKind {
        match self {
            Self::Deployment(_) => OwnedKind::Deployment,
            Self::Service(_) => OwnedKind::Service,
            Self::EndpointSlice(_) => OwnedKind::EndpointSlice,
            Self::PodDisruptionBudget(_) => OwnedKind::PodDisruptionBudget,
            Self::StatefulSet(_) => OwnedKind::StatefulSet,
            Self::HorizontalPodAutoscaler(_) => OwnedKind::HorizontalPodAutoscaler,
        }
    }

    /// Its metadata.
    #[must_use]
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Deployment(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::EndpointSlice(o) => &o.metadata,
            Self::PodDisruptionBudget(o) => &o.metadata,
            Self::StatefulSet(o) => &o.metadata,
            Self::HorizontalPodAutoscaler(o) => &o.metadata,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }
}
