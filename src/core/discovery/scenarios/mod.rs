//! Stories of services, from the first sight to the last write. Here is what they are told with.

mod gates;
mod hosts;
mod instances;
mod refusals;
mod rollout;
mod scaling;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, StatefulSet, StatefulSetStatus},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Pod, Service},
        discovery::v1::{Endpoint as SliceEndpoint, EndpointConditions, EndpointSlice},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use serde_json::json;

use super::{
    decision::{OwnedKind, ServiceDecision, Wanted},
    guard::AddressGuard,
    lookup::{Lookup, LookupFailure},
    service::decide,
    target::{Endpoint, ProbeKind},
    view::ServiceView,
};
use crate::{
    api::{MedicalService, MedicalServiceStatus, medical_service::EndpointReason},
    core::{
        condition,
        monitoring::{
            health::{Health, ProbeOutcome},
            measurements::Known,
        },
    },
    render::{SERVICE_LABEL, endpoint_slice},
};

/// A namespace with one service, and what the loops know.
struct Story {
    service: MedicalService,
    deployment: Option<Deployment>,
    stateful_set: Option<StatefulSet>,
    instances: Option<Service>,
    autoscaler: Option<HorizontalPodAutoscaler>,
    core_service: Option<Service>,
    budget: Option<PodDisruptionBudget>,
    slices: Vec<EndpointSlice>,
    pods: Vec<Pod>,
    lookups: BTreeMap<String, Lookup>,
    health: BTreeMap<Endpoint, Health>,
    guard: AddressGuard,
    epoch: i64,
    now: i64,
}

/// A story about the service `pacs` with this spec.
fn story(spec: serde_json::Value) -> Story {
    let service = json!({
        "apiVersion": "medley.health/v1alpha1",
        "kind": "MedicalService",
        "metadata": { "name": "pacs", "namespace": "radiology", "uid": "u1", "generation": 1 },
        "spec": spec,
    });
    Story {
        service: serde_json::from_value(service).unwrap(),
        deployment: None,
        stateful_set: None,
        instances: None,
        autoscaler: None,
        core_service: None,
        budget: None,
        slices: Vec::new(),
        pods: Vec::new(),
        lookups: BTreeMap::new(),
        health: BTreeMap::new(),
        guard: AddressGuard::default(),
        epoch: 1,
        now: 0,
    }
}

fn workload(replicas: i32) -> serde_json::Value {
    json!({ "workload": { "image": "reader:1", "replicas": replicas }, "interfaces": [web()] })
}

fn external(hosts: &[&str]) -> serde_json::Value {
    let endpoints: Vec<_> = hosts.iter().map(|h| json!({ "host": h })).collect();
    json!({ "external": { "endpoints": endpoints }, "interfaces": [{ "name": "dicom", "port": 104, "protocol": "DICOM" }] })
}

fn web() -> serde_json::Value {
    json!({ "name": "web", "port": 80, "protocol": "HTTP" })
}

impl Story {
    fn decide(&self) -> ServiceDecision {
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
            pods: self.pods.iter().collect(),
            lookups: &self.lookups,
            health: &self.health,
            facts: &BTreeMap::new(),
            certificates: &BTreeMap::new(),
            measured: &Known::default(),
            refused: None,
            decided_by: &BTreeMap::new(),
            guard: &self.guard,
            epoch: self.epoch,
        };
        decide(&view, Timestamp::from_second(self.now).unwrap())
    }

    /// One pass: what was decided is done.
    fn pass(&mut self) -> ServiceDecision {
        self.now += 10;
        let decision = self.decide();
        for wanted in decision.wanted.clone() {
            match wanted {
                Wanted::Deployment(o) => {
                    let old = self.deployment.take();
                    let changed = old.as_ref().is_none_or(|old| old.spec != o.spec);
                    let generation = old.as_ref().and_then(|d| d.metadata.generation).unwrap_or(0) + i64::from(changed);
                    let mut new = *o;
                    new.metadata.generation = Some(generation);
                    new.status = old.and_then(|d| d.status);
                    self.deployment = Some(new);
                }
                Wanted::HorizontalPodAutoscaler(o) => self.autoscaler = Some(*o),
                Wanted::StatefulSet(o) => {
                    let status = self.stateful_set.take().and_then(|set| set.status);
                    self.stateful_set = Some(StatefulSet { status, ..*o });
                }
                Wanted::Service(o) if o.metadata.name.as_deref() == Some("pacs-instances") => self.instances = Some(*o),
                Wanted::Service(o) => self.core_service = Some(*o),
                Wanted::PodDisruptionBudget(o) => self.budget = Some(*o),
                Wanted::EndpointSlice(o) => {
                    self.slices.retain(|s| s.metadata.name != o.metadata.name);
                    self.slices.push(*o);
                }
            }
        }
        for (kind, name) in &decision.unwanted {
            match kind {
                OwnedKind::Deployment => self.deployment = None,
                OwnedKind::HorizontalPodAutoscaler => self.autoscaler = None,
                OwnedKind::StatefulSet => self.stateful_set = None,
                OwnedKind::Service if name == "pacs-instances" => self.instances = None,
                OwnedKind::Service => self.core_service = None,
                OwnedKind::PodDisruptionBudget => self.budget = None,
                OwnedKind::EndpointSlice => self.slices.retain(|s| s.metadata.name.as_ref() != Some(name)),
            }
        }
        if let Some(status) = &decision.status {
            self.service.status = Some(status.clone());
        }
        decision
    }

    /// The user applies another spec.
    fn apply(&mut self, spec: serde_json::Value) {
        self.service.spec = serde_json::from_value(spec).unwrap();
        *self.service.metadata.generation.as_mut().unwrap() += 1;
    }

    /// The Deployment's controller reports.
    fn pods(&mut self, updated: i32, available: i32) {
        let deployment = self.deployment.as_mut().unwrap();
        deployment.status = Some(DeploymentStatus {
            observed_generation: deployment.metadata.generation,
            replicas: Some(updated),
            updated_replicas: Some(updated),
            available_replicas: Some(available),
            ..DeploymentStatus::default()
        });
    }

    /// Kubernetes keeps a slice of the service's pods.
    fn pod_slice(&mut self, pods: &[(&str, Option<bool>, Option<bool>)]) {
        let mut slice = EndpointSlice::default();
        slice.metadata.name = Some("pacs-x7f2q".to_owned());
        slice.metadata.labels = Some(
            [
                (SERVICE_LABEL, "pacs"),
                (endpoint_slice::SERVICE_NAME, "pacs"),
                (endpoint_slice::MANAGED_BY, "endpointslice-controller.k8s.io"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        );
        slice.endpoints = Some(
            pods.iter()
                .map(|(address, ready, terminating)| SliceEndpoint {
                    addresses: vec![(*address).to_owned()],
                    conditions: Some(EndpointConditions { ready: *ready, terminating: *terminating, serving: None }),
                    ..SliceEndpoint::default()
                })
                .collect(),
        );
        self.slices.retain(|s| s.metadata.name != slice.metadata.name);
        self.slices.push(slice);
    }

    /// The prober has new outcomes of one endpoint.
    fn probed(&mut self, address: &str, outcome: ProbeOutcome, times: usize) {
        let now = Timestamp::from_second(self.now).unwrap();
        for probing in self.decide().probes {
            let endpoint = probing.target.endpoint;
            if endpoint.address.to_string() == address {
                let health = self.health.entry(endpoint).or_insert(probing.seed);
                for _ in 0..times {
                    health.observe(outcome, now, probing.target.thresholds);
                }
            }
        }
    }

    fn resolved(&mut self, host: &str, addresses: &[&str], failed: Option<LookupFailure>) {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.lookups.insert(host.to_owned(), Lookup { addresses, failed });
    }

    fn status(&self) -> &MedicalServiceStatus {
        self.service.status.as_ref().unwrap()
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        condition::find(&self.status().conditions, type_)
    }

    /// `True Programmed`
    fn says(&self, type_: &str) -> String {
        self.condition(type_).map_or_else(|| "absent".to_owned(), |c| format!("{} {}", c.status, c.reason))
    }

    fn published(&self) -> Vec<String> {
        let own = self.slices.iter().filter(|s| endpoint_slice::is_ours(s));
        own.flat_map(endpoint_slice::ready_addresses).map(|(a, _)| a.to_string()).collect()
    }
}

fn kinds(decision: &ServiceDecision) -> Vec<OwnedKind> {
    decision.wanted.iter().map(Wanted::kind).collect()
}
