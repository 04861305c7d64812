//! Stories of services, from the first sight to the last write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
        core::v1::Service,
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
        monitoring::health::{Health, ProbeOutcome},
    },
    render::{SERVICE_LABEL, endpoint_slice},
};

/// A namespace with one service, and what the loops know.
struct Story {
    service: MedicalService,
    deployment: Option<Deployment>,
    core_service: Option<Service>,
    budget: Option<PodDisruptionBudget>,
    slices: Vec<EndpointSlice>,
    lookups: BTreeMap<String, Lookup>,
    health: BTreeMap<Endpoint, Health>,
    guard: AddressGuard,
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
        core_service: None,
        budget: None,
        slices: Vec::new(),
        lookups: BTreeMap::new(),
        health: BTreeMap::new(),
        guard: AddressGuard::default(),
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
            core_service: self.core_service.as_ref(),
            budget: self.budget.as_ref(),
            slices: self.slices.iter().collect(),
            lookups: &self.lookups,
            health: &self.health,
            refused: None,
            guard: &self.guard,
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

#[test]
fn a_workload_is_ready_when_it_is_rolled_out_and_stays_so_when_a_pod_fails() {
    let mut story = story(workload(2));
    let first = story.pass();
    assert_eq!(kinds(&first), [OwnedKind::Service, OwnedKind::Deployment, OwnedKind::PodDisruptionBudget]);
    assert_eq!(
        (story.says("Ready"), story.says("Reconciling")),
        ("False Programming".into(), "True Programming".into())
    );
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut");
    story.pods(2, 1);
    story.pass();
    assert!(story.condition("Ready").unwrap().message.contains("2 of 2 pods are up to date, 1 available"));
    story.pods(2, 2);
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(true), None)]);
    let done = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reconciling")), ("True Programmed".into(), "absent".into()));
    assert_eq!(story.says("Reachable"), "True EndpointsReady");
    assert_eq!(story.status().dns_name.as_deref(), Some("pacs.radiology.svc.cluster.local"));
    assert_eq!(story.status().endpoint_summary.as_deref(), Some("2/2"));
    assert_eq!(done.notes.iter().map(|n| n.reason).collect::<Vec<_>>(), ["Ready", "Reachable"]);
    assert_eq!(story.pass().status, None, "nothing more to say");

    story.pods(2, 0);
    story.pod_slice(&[("10.0.0.1", Some(false), None), ("10.0.0.2", Some(false), None)]);
    let down = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False PodNotReady".into()));
    assert_eq!(down.notes.iter().map(|n| (n.warning, n.reason)).collect::<Vec<_>>(), [(true, "Unreachable")]);
}

#[test]
fn a_new_spec_is_not_ready_before_the_deployment_has_it() {
    let mut story = story(workload(1));
    story.pass();
    story.pods(1, 1);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    story.apply(json!({ "workload": { "image": "reader:2" }, "interfaces": [web()] }));
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut", "the cached Deployment is still that of the old spec");
    assert_eq!(story.status().observed_generation, Some(2));
    story.pass();
    assert_eq!(story.says("Ready"), "False RollingOut", "its controller has not looked yet");
    story.pods(1, 1);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
}

#[test]
fn a_rollout_that_hangs_says_what_the_controller_says_and_is_not_stalled() {
    let mut story = story(workload(1));
    story.pass();
    story.pods(0, 0);
    story.deployment.as_mut().unwrap().status.as_mut().unwrap().conditions = Some(vec![DeploymentCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        message: Some("exceeded quota: team".to_owned()),
        ..DeploymentCondition::default()
    }]);
    story.pass();
    let ready = story.condition("Ready").unwrap();
    assert!(ready.message.ends_with("0 available: exceeded quota: team"), "{}", ready.message);
    assert_eq!((story.says("Stalled"), story.says("Reconciling")), ("absent".into(), "True RollingOut".into()));
}

#[test]
fn one_pod_needs_no_budget_and_none_is_rolled_out_at_once() {
    let mut story = story(workload(2));
    story.pass();
    story.apply(workload(1));
    assert_eq!(story.pass().unwanted, [(OwnedKind::PodDisruptionBudget, "pacs".to_owned())]);
    story.apply(workload(0));
    story.pass();
    story.pods(0, 0);
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False NoEndpoints".into()));
}

#[test]
fn pods_that_somebody_else_deploys_are_read_from_their_slices() {
    let mut story = story(json!({ "select": { "matchLabels": { "app": "orthanc" } }, "interfaces": [web()] }));
    let first = story.pass();
    let Wanted::Service(service) = &first.wanted[0] else { panic!("a Service comes first") };
    assert_eq!(service.spec.as_ref().unwrap().selector.as_ref().unwrap()["app"], "orthanc");
    story.pod_slice(&[
        ("10.0.0.3", Some(false), Some(true)),
        ("10.0.0.1", None, None),
        ("10.0.0.2", Some(false), None),
    ]);
    story.pass();
    let seen: Vec<_> = story.status().endpoints.iter().map(|e| (e.address.as_str(), e.ready, e.reason)).collect();
    assert_eq!(
        seen,
        [
            ("10.0.0.1", true, EndpointReason::Healthy),
            ("10.0.0.2", false, EndpointReason::PodNotReady),
            ("10.0.0.3", false, EndpointReason::Terminating)
        ]
    );
    let since = story.status().endpoints[0].since;
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("10.0.0.2", Some(true), None)]);
    story.pass();
    let endpoints = &story.status().endpoints;
    assert_eq!(endpoints[0].since, since, "it was ready all the time");
    assert_ne!(endpoints[1].since, since, "it became ready now");
}

#[test]
fn an_external_host_is_published_when_its_probe_answers_and_taken_out_when_it_fails() {
    let mut story = story(external(&["192.0.2.1"]));
    let first = story.pass();
    assert_eq!(kinds(&first), [OwnedKind::Service, OwnedKind::EndpointSlice]);
    assert_eq!((first.probes.len(), &first.probes[0].target.kind), (1, &ProbeKind::Tcp));
    assert_eq!((story.says("Reachable"), story.published().len()), ("Unknown NotProbed".into(), 0));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(
        (story.says("Ready"), story.says("Reachable")),
        ("True Programmed".into(), "True EndpointsReady".into())
    );
    assert_eq!(story.published(), ["192.0.2.1"]);
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::TcpRefused), 2);
    assert_eq!(story.pass().status, None, "two of three failures change nothing");
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::TcpRefused), 1);
    let out = story.pass();
    assert_eq!((story.says("Ready"), story.says("Reachable")), ("True Programmed".into(), "False TcpRefused".into()));
    assert!(story.published().is_empty());
    let notes: Vec<_> = out.notes.iter().map(|n| n.reason).collect();
    assert_eq!(notes, ["Unreachable", "EndpointUnhealthy"]);
    assert!(out.notes[1].message.contains("dicom at 192.0.2.1 was taken out: TcpRefused"), "{:?}", out.notes);
}

#[test]
fn a_name_is_looked_up_and_its_addresses_stay_while_lookups_fail() {
    let mut story = story(external(&["pacs.example"]));
    assert_eq!(story.pass().hosts.into_iter().collect::<Vec<_>>(), ["pacs.example"]);
    let waiting = &story.status().endpoints[0];
    assert_eq!((waiting.address.as_str(), waiting.reason), ("pacs.example", EndpointReason::NotProbed));
    story.resolved("pacs.example", &[], Some(LookupFailure::NotFound));
    story.pass();
    assert_eq!(story.says("Reachable"), "False DnsFailed");
    assert!(
        story
            .condition("Reachable")
            .unwrap()
            .message
            .contains("the lookup of pacs.example fails: the name does not exist")
    );
    story.resolved("pacs.example", &["198.51.100.2", "198.51.100.1"], None);
    story.probed("198.51.100.1", ProbeOutcome::Answered, 1);
    story.probed("198.51.100.2", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(story.status().endpoints[0].host.as_deref(), Some("pacs.example"));
    // a new leader knows nothing, then only that lookups fail
    story.lookups.clear();
    story.health.clear();
    assert_eq!(story.pass().status, None);
    story.resolved("pacs.example", &[], Some(LookupFailure::Timeout));
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1", "198.51.100.2"]);
    assert!(story.condition("Reachable").unwrap().message.contains("its last known addresses are kept"));
    // the name moved
    story.resolved("pacs.example", &["198.51.100.2", "198.51.100.3"], None);
    story.pass();
    assert_eq!(story.published(), ["198.51.100.2"]);
    assert_eq!(story.status().endpoint_summary.as_deref(), Some("1/2"));
}

#[test]
fn another_port_is_another_endpoint() {
    let mut story = story(external(&["192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
    story.apply(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1" }] },
        "interfaces": [{ "name": "dicom", "port": 11112, "protocol": "DICOM" }]
    }));
    story.pass();
    assert!(story.published().is_empty(), "nobody has seen the new port answer");
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn each_interface_and_family_has_a_slice_and_http_probes_name_the_host() {
    let mut story = story(json!({
        "external": { "endpoints": [{ "host": "192.0.2.1", "zone": "north" }, { "host": "2001:db8::1" }, { "host": "ehr.example" }] },
        "interfaces": [
            { "name": "fhir", "port": 8080, "protocol": "FHIR", "fhir": { "basePath": "/r4" } },
            { "name": "web", "port": 80, "protocol": "HTTP", "http": { "healthPath": "/ok" } }
        ]
    }));
    story.resolved("ehr.example", &["198.51.100.1"], None);
    for address in ["192.0.2.1", "2001:db8::1", "198.51.100.1"] {
        story.probed(address, ProbeOutcome::Answered, 1);
    }
    let decision = story.pass();
    let slices: Vec<_> =
        decision.wanted.iter().filter(|w| w.kind() == OwnedKind::EndpointSlice).map(Wanted::name).collect();
    assert_eq!(slices, ["pacs-fhir-v4", "pacs-fhir-v6", "pacs-web-v4", "pacs-web-v6"]);
    let Wanted::EndpointSlice(v4) = &decision.wanted[1] else { panic!("slices follow the Service") };
    let zones: Vec<_> = endpoint_slice::ready_addresses(v4).map(|(a, z)| (a.to_string(), z)).collect();
    assert_eq!(zones, [("192.0.2.1".to_owned(), Some("north")), ("198.51.100.1".to_owned(), None)]);
    let asked: Vec<_> = decision
        .probes
        .iter()
        .map(|p| match &p.target.kind {
            ProbeKind::Http { path, host } => format!("{host} {path}"),
            ProbeKind::Tcp => "TCP".to_owned(),
        })
        .collect();
    assert_eq!(
        asked,
        [
            "192.0.2.1:8080 /r4/metadata",
            "192.0.2.1 /ok",
            "ehr.example:8080 /r4/metadata",
            "ehr.example /ok",
            "[2001:db8::1]:8080 /r4/metadata",
            "[2001:db8::1] /ok"
        ]
    );
}

#[test]
fn a_service_that_is_somebody_elses_gets_none_of_our_endpoints() {
    let mut story = story(external(&["192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!(story.published(), ["192.0.2.1"]);
    let ours = story.core_service.take();
    let mut theirs = ours.clone().unwrap();
    theirs.metadata.owner_references = None;
    story.core_service = Some(theirs);
    let decision = story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("False NameTaken".into(), "True NameTaken".into()));
    assert!(decision.wanted.is_empty());
    assert_eq!(decision.unwanted, [(OwnedKind::EndpointSlice, "pacs-dicom-v4".to_owned())]);
    assert_eq!(decision.notes[0].reason, "NameTaken");
    assert!(story.pass().notes.is_empty(), "said once");
    story.core_service = None;
    story.pass();
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("True Programmed".into(), "absent".into()));
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn a_service_that_turns_external_is_made_anew_so_that_no_pod_keeps_its_traffic() {
    let mut story = story(workload(2));
    story.pass();
    let old = story.core_service.clone();
    story.apply(external(&["192.0.2.1"]));
    let mut gone = story.pass().unwanted;
    gone.sort();
    let pacs = || "pacs".to_owned();
    assert_eq!(
        gone,
        [(OwnedKind::Deployment, pacs()), (OwnedKind::Service, pacs()), (OwnedKind::PodDisruptionBudget, pacs())]
    );
    story.pass();
    assert_ne!(story.core_service, old);
    assert_eq!(story.core_service.as_ref().unwrap().spec.as_ref().unwrap().selector, None);
    story.pass();
    assert_eq!(story.says("Ready"), "True Programmed");
    // and back: the selector is added, our slices go
    story.apply(workload(1));
    assert_eq!(story.pass().unwanted, [(OwnedKind::EndpointSlice, "pacs-dicom-v4".to_owned())]);
}

#[test]
fn a_host_that_no_endpoint_can_have_is_named_and_the_others_go_on() {
    let mut story = story(external(&["127.0.0.1", "192.0.2.1"]));
    story.probed("192.0.2.1", ProbeOutcome::Answered, 1);
    story.pass();
    assert_eq!((story.says("Ready"), story.says("Stalled")), ("False InvalidSpec".into(), "True InvalidSpec".into()));
    assert!(story.condition("Ready").unwrap().message.contains("host 127.0.0.1 must not be"));
    assert_eq!(story.published(), ["192.0.2.1"]);
}

#[test]
fn an_address_that_medley_must_not_reach_is_told_of_and_neither_probed_nor_published() {
    let mut story = story(external(&["fd00:ec2::254", "metadata.example", "192.0.2.1"]));
    story.resolved("metadata.example", &["10.96.0.1", "198.51.100.1"], None);
    story.guard = AddressGuard::new(Vec::new(), Vec::new(), vec!["10.96.0.1".parse().unwrap()]);
    for address in ["192.0.2.1", "198.51.100.1"] {
        story.probed(address, ProbeOutcome::Answered, 1);
    }
    let decision = story.pass();
    let probed: Vec<_> = decision.probes.iter().map(|p| p.target.endpoint.address.to_string()).collect();
    assert_eq!(probed, ["192.0.2.1", "198.51.100.1"]);
    assert_eq!(story.published(), probed);
    let refused = story.status().endpoints.iter().filter(|e| e.reason == EndpointReason::AddressRefused);
    assert_eq!(refused.map(|e| e.address.as_str()).collect::<Vec<_>>(), ["10.96.0.1", "fd00:ec2::254"]);
    assert!(story.condition("Reachable").unwrap().message.contains("2 AddressRefused"));
    story.pass();
    assert!(story.pass().status.is_none(), "it is told once");
    // an administrator denies what was published
    story.guard = AddressGuard::new(Vec::new(), vec!["192.0.2.0/24".parse().unwrap()], Vec::new());
    story.pass();
    assert_eq!(story.published(), ["198.51.100.1"]);
    // and a name that leads nowhere else is no failure of DNS
    story.apply(external(&["local.example"]));
    story.resolved("local.example", &[], Some(LookupFailure::UnusableAddress));
    story.pass();
    assert_eq!(story.says("Reachable"), "False AddressRefused");
}

#[test]
fn a_slice_that_names_what_medley_must_not_reach_is_seen_through() {
    let mut story = story(json!({ "select": { "matchLabels": { "app": "orthanc" } }, "interfaces": [web()] }));
    story.pod_slice(&[("10.0.0.1", Some(true), None), ("169.254.169.254", Some(true), None)]);
    story.pass();
    let seen: Vec<_> = story.status().endpoints.iter().map(|e| (e.address.as_str(), e.ready, e.reason)).collect();
    assert_eq!(
        seen,
        [("10.0.0.1", true, EndpointReason::Healthy), ("169.254.169.254", false, EndpointReason::AddressRefused)]
    );
}

#[test]
fn a_spec_without_a_backend_touches_nothing() {
    let mut story = story(workload(2));
    story.pass();
    story.apply(json!({ "interfaces": [web()] }));
    let decision = story.pass();
    assert!(decision.wanted.is_empty() && decision.unwanted.is_empty());
    assert_eq!(story.says("Stalled"), "True InvalidSpec");
}

#[test]
fn a_service_that_is_being_deleted_asks_for_nothing() {
    let mut story = story(external(&["pacs.example"]));
    story.pass();
    story.service.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(story.decide(), ServiceDecision::default());
}

#[test]
fn more_addresses_than_a_slice_holds_are_left_out_aloud() {
    let mut story = story(external(&["big.example"]));
    let all: Vec<String> = (0..120).map(|n| format!("198.51.100.{n}")).collect();
    story.resolved("big.example", &all.iter().map(String::as_str).collect::<Vec<_>>(), None);
    let decision = story.pass();
    assert_eq!(decision.probes.len(), 100);
    assert!(story.condition("Reachable").unwrap().message.contains("20 addresses beyond the first 100 are left out"));
}

#[test]
fn the_most_common_failure_is_the_reason_and_of_equals_the_lowest_layer() {
    let mut story = story(external(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    story.probed("192.0.2.1", ProbeOutcome::Failed(EndpointReason::HttpStatus), 1);
    story.probed("192.0.2.2", ProbeOutcome::Failed(EndpointReason::TcpTimeout), 1);
    story.pass();
    assert_eq!(story.says("Reachable"), "False NotProbed", "one each: nobody knows enough");
    story.probed("192.0.2.3", ProbeOutcome::Failed(EndpointReason::HttpStatus), 1);
    story.pass();
    assert_eq!(story.says("Reachable"), "False HttpStatus");
    assert!(story.condition("Reachable").unwrap().message.contains("1 TcpTimeout, 2 HttpStatus"));
}
