//! A namespace as the API server would hold it, in which decisions are carried out.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::Service,
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use medley::{
    api::{MedicalService, MedicalServiceSpec},
    core::{
        discovery::{
            decision::{OwnedKind, ServiceDecision, Wanted},
            guard::AddressGuard,
            lookup::Lookup,
            service::decide,
            target::Endpoint,
            view::ServiceView,
        },
        monitoring::{health::Health, measurements::Known},
    },
    render::endpoint_slice::{is_ours, ready_addresses},
};

/// A namespace as the API server would hold it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    pub(crate) service: MedicalService,
    pub(crate) deployment: Option<Deployment>,
    pub(crate) stateful_set: Option<StatefulSet>,
    pub(crate) instances: Option<Service>,
    pub(crate) autoscaler: Option<HorizontalPodAutoscaler>,
    pub(crate) core_service: Option<Service>,
    pub(crate) budget: Option<PodDisruptionBudget>,
    pub(crate) slices: Vec<EndpointSlice>,
    pub(crate) lookups: BTreeMap<String, Lookup>,
    pub(crate) health: BTreeMap<Endpoint, Health>,
}

/// A moment.
pub(crate) fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

impl World {
    pub(crate) fn new(spec: MedicalServiceSpec) -> Self {
        let mut service = MedicalService::new("pacs", spec);
        service.metadata.namespace = Some("radiology".to_owned());
        service.metadata.uid = Some("u1".to_owned());
        service.metadata.generation = Some(1);
        Self {
            service,
            deployment: None,
            stateful_set: None,
            instances: None,
            autoscaler: None,
            core_service: None,
            budget: None,
            slices: Vec::new(),
            lookups: BTreeMap::new(),
            health: BTreeMap::new(),
        }
    }

    pub(crate) fn decide(&self, now: i64) -> ServiceDecision {
        let view = ServiceView {
            service: &self.service,
            cluster_domain: "cluster.local",
            deployment: self.deployment.as_ref(),
            stateful_set: self.stateful_set.as_ref(),
            instances: self.instances.as_ref(),
            autoscaler: self.autoscaler.as_ref(),
            core_service: self.core_service.as_ref(),
            budget: self.budget.as_ref(),
            slices: self.slices.iter().collect(),
            pods: Vec::new(),
            lookups: &self.lookups,
            health: &self.health,
            facts: &BTreeMap::new(),
            certificates: &BTreeMap::new(),
            measured: &Known::default(),
            refused: None,
            decided_by: &BTreeMap::new(),
            guard: &AddressGuard::default(),
            epoch: 1,
        };
        decide(&view, at(now))
    }

    /// Does what was decided.
    fn perform(&mut self, decision: ServiceDecision) {
        for wanted in decision.wanted {
            match wanted {
                Wanted::Deployment(o) => {
                    let status = self.deployment.take().and_then(|d| d.status);
                    self.deployment = Some(Deployment { status, ..*o });
                }
                Wanted::HorizontalPodAutoscaler(o) => self.autoscaler = Some(*o),
                Wanted::StatefulSet(o) => {
                    let status = self.stateful_set.take().and_then(|d| d.status);
                    self.stateful_set = Some(StatefulSet { status, ..*o });
                }
                Wanted::Service(o) if o.metadata.name.as_deref() == Some("pacs-instances") => self.instances = Some(*o),
                Wanted::Service(o) => self.core_service = Some(*o),
                Wanted::PodDisruptionBudget(o) => self.budget = Some(*o),
                Wanted::EndpointSlice(o) => {
                    self.slices.retain(|s| s.metadata.name != o.metadata.name);
                    self.slices.push(*o);
                    self.slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
                }
            }
        }
        for (kind, name) in decision.unwanted {
            match kind {
                OwnedKind::Deployment => self.deployment = None,
                OwnedKind::HorizontalPodAutoscaler => self.autoscaler = None,
                OwnedKind::StatefulSet => self.stateful_set = None,
                OwnedKind::Service if name == "pacs-instances" => self.instances = None,
                OwnedKind::Service => self.core_service = None,
                OwnedKind::PodDisruptionBudget => self.budget = None,
                OwnedKind::EndpointSlice => self.slices.retain(|s| s.metadata.name.as_deref() != Some(&name)),
            }
        }
        if let Some(status) = decision.status {
            self.service.status = Some(status);
        }
    }

    /// Decides and performs until nothing changes; fails when that never happens.
    pub(crate) fn settle(&mut self, now: i64) -> ServiceDecision {
        for _ in 0..8 {
            let decision = self.decide(now);
            let before = self.clone();
            self.perform(decision.clone());
            if *self == before {
                return decision;
            }
        }
        panic!("it does not settle: {:?}", self.decide(now));
    }

    /// What gets traffic: address and interface.
    pub(crate) fn published(&self) -> Vec<(IpAddr, String)> {
        let mut list: Vec<_> = self
            .slices
            .iter()
            .filter(|s| is_ours(s))
            .flat_map(|s| {
                let port = s.ports.as_ref().unwrap()[0].name.clone().unwrap();
                ready_addresses(s).map(move |(a, _)| (a, port.clone()))
            })
            .collect();
        list.sort();
        list
    }
}
