//! Laws of the decision about a `MedicalService`: for all services, hosts, lookups and probe results.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Service, discovery::v1::EndpointSlice, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use medley::{
    api::{
        MedicalService, MedicalServiceSpec, Protocol,
        medical_service::{EndpointReason, External, ExternalEndpoint, Interface, Probe, Select, Workload},
    },
    core::{
        discovery::{
            decision::{OwnedKind, ServiceDecision, Wanted},
            guard::AddressGuard,
            lookup::{Lookup, LookupFailure},
            service::decide,
            target::Endpoint,
            view::ServiceView,
        },
        monitoring::health::{Health, ProbeOutcome, State, Thresholds},
    },
    render::endpoint_slice::{is_ours, ready_addresses},
};
use proptest::prelude::*;

/// A namespace as the API server would hold it.
#[derive(Clone, Debug, PartialEq)]
struct World {
    service: MedicalService,
    deployment: Option<Deployment>,
    core_service: Option<Service>,
    budget: Option<PodDisruptionBudget>,
    slices: Vec<EndpointSlice>,
    lookups: BTreeMap<String, Lookup>,
    health: BTreeMap<Endpoint, Health>,
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

impl World {
    fn new(spec: MedicalServiceSpec) -> Self {
        let mut service = MedicalService::new("pacs", spec);
        service.metadata.namespace = Some("radiology".to_owned());
        service.metadata.uid = Some("u1".to_owned());
        service.metadata.generation = Some(1);
        Self {
            service,
            deployment: None,
            core_service: None,
            budget: None,
            slices: Vec::new(),
            lookups: BTreeMap::new(),
            health: BTreeMap::new(),
        }
    }

    fn decide(&self, now: i64) -> ServiceDecision {
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
            guard: &AddressGuard::default(),
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
    fn settle(&mut self, now: i64) -> ServiceDecision {
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
    fn published(&self) -> Vec<(IpAddr, String)> {
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

const HOSTS: [&str; 6] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "a.example", "b.example", "c.example"];

fn interface(i: usize) -> Interface {
    let (name, port, protocol) =
        [("dicom", 104, Protocol::Dicom), ("web", 80, Protocol::Http), ("fhir", 8080, Protocol::Fhir)][i % 3];
    Interface {
        name: name.to_owned(),
        port,
        target_port: None,
        protocol,
        http: None,
        fhir: None,
        grpc: None,
        probe: None,
    }
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    prop::sample::subsequence(vec![0, 1, 2], 1..=3).prop_map(|list| list.into_iter().map(interface).collect())
}

fn external() -> impl Strategy<Value = MedicalServiceSpec> {
    let hosts = prop::sample::subsequence(HOSTS.to_vec(), 1..=HOSTS.len());
    (hosts, interfaces(), any::<bool>()).prop_map(|(hosts, interfaces, zoned)| MedicalServiceSpec {
        workload: None,
        select: None,
        external: Some(External {
            endpoints: hosts
                .into_iter()
                .map(|host| ExternalEndpoint {
                    host: host.to_owned(),
                    zone: zoned.then(|| format!("zone-of-{host}").replace(':', "-")),
                })
                .collect(),
        }),
        interfaces,
        urgency: None,
    })
}

fn any_spec() -> impl Strategy<Value = MedicalServiceSpec> {
    let workload = (interfaces(), prop::option::of(0..4_i32)).prop_map(|(interfaces, replicas)| MedicalServiceSpec {
        workload: Some(Workload {
            image: "reader:1".to_owned(),
            image_pull_policy: None,
            command: vec![],
            args: vec![],
            env: vec![],
            resources: None,
            replicas,
        }),
        select: None,
        external: None,
        interfaces,
        urgency: None,
    });
    let select = interfaces().prop_map(|interfaces| MedicalServiceSpec {
        workload: None,
        select: Some(Select { match_labels: [("app".to_owned(), "x".to_owned())].into() }),
        external: None,
        interfaces,
        urgency: None,
    });
    prop_oneof![external(), workload, select]
}

fn lookup() -> impl Strategy<Value = Option<Lookup>> {
    let addresses = prop::collection::btree_set(1_u8..6, 0..4)
        .prop_map(|list| list.into_iter().map(|n| format!("198.51.100.{n}").parse().unwrap()).collect());
    let failed = prop::option::of(prop_oneof![Just(LookupFailure::NotFound), Just(LookupFailure::Timeout)]);
    prop::option::of((addresses, failed).prop_map(|(addresses, failed)| Lookup { addresses, failed }))
}

fn lookups() -> impl Strategy<Value = BTreeMap<String, Lookup>> {
    prop::collection::vec(lookup(), 3).prop_map(|list| {
        let names = ["a.example", "b.example", "c.example"];
        names.into_iter().zip(list).filter_map(|(name, l)| Some((name.to_owned(), l?))).collect()
    })
}

/// Health of some of the endpoints that could be probed.
fn health() -> impl Strategy<Value = BTreeMap<Endpoint, Health>> {
    let one = Thresholds { failures: 1, successes: 1 };
    prop::collection::vec(0_u8..4, 24).prop_map(move |states| {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .into_iter()
            .map(str::to_owned)
            .chain((1..6).map(|n| format!("198.51.100.{n}")));
        let endpoints = addresses.flat_map(|address| {
            (0..3).map(move |i| Endpoint {
                address: address.parse().unwrap(),
                port: interface(i).port,
                interface: interface(i).name,
            })
        });
        endpoints
            .zip(states)
            .filter_map(|(endpoint, state)| {
                let mut health = Health::unknown(at(1));
                match state {
                    0 => return None,
                    1 => {}
                    2 => _ = health.observe(ProbeOutcome::Answered, at(2), one),
                    _ => _ = health.observe(ProbeOutcome::Failed(EndpointReason::TcpRefused), at(2), one),
                }
                Some((endpoint, health))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn deciding_on_its_own_result_asks_for_nothing(
        first in any_spec(),
        second in any_spec(),
        looked_up in lookups(),
        known in health(),
    ) {
        let mut world = World::new(first);
        world.settle(10);
        world.lookups = looked_up;
        world.health = known;
        world.settle(20);
        // another spec, another kind of backend even
        world.service.spec = second;
        world.service.metadata.generation = Some(2);
        let settled = world.settle(30);
        let again = world.decide(1000);
        prop_assert_eq!(&again.wanted, &settled.wanted, "time alone changes nothing");
        prop_assert_eq!(again.status, None);
        prop_assert!(again.notes.is_empty() && again.unwanted.is_empty());
    }

    #[test]
    fn only_healthy_endpoints_are_published_and_the_status_says_so(
        spec in external(),
        looked_up in lookups(),
        known in health(),
    ) {
        let mut world = World::new(spec);
        world.lookups = looked_up;
        world.health = known;
        world.settle(10);
        let published = world.published();
        for (endpoint, health) in &world.health {
            let is = published.contains(&(endpoint.address, endpoint.interface.clone()));
            prop_assert!(!is || health.state() == State::Healthy, "{:?} is {:?}", endpoint, health);
        }
        let status = world.service.status.clone().unwrap();
        let mut told: Vec<_> = status
            .endpoints
            .iter()
            .filter(|e| e.ready)
            .map(|e| (e.address.parse::<IpAddr>().unwrap(), e.interface.clone().unwrap()))
            .collect();
        told.sort();
        prop_assert_eq!(told, published.clone());
        prop_assert_eq!(status.ready, Some(u32::try_from(published.len()).unwrap()));
    }

    #[test]
    fn the_order_of_what_is_seen_does_not_matter(
        spec in external(),
        looked_up in lookups(),
        known in health(),
        turn in 0_usize..6,
        blind in any::<bool>(),
    ) {
        let mut world = World::new(spec);
        world.lookups = looked_up;
        world.health = known;
        world.settle(10);
        if blind {
            // the operator starts again and knows no name: everything that is published counts
            world.lookups.clear();
        }
        let mut other = world.clone();
        let hosts = &mut other.service.spec.external.as_mut().unwrap().endpoints;
        let n = hosts.len();
        hosts.rotate_left(turn % n);
        other.slices.reverse();
        for slice in &mut other.slices {
            slice.endpoints.as_mut().unwrap().reverse();
        }
        if let Some(status) = &mut other.service.status {
            status.endpoints.reverse();
        }
        let (a, b) = (world.decide(20), other.decide(20));
        let endpoints = |decided: &ServiceDecision, world: &World| {
            let status = decided.status.as_ref().or(world.service.status.as_ref());
            status.map(|s| s.endpoints.clone())
        };
        prop_assert_eq!(endpoints(&a, &world), endpoints(&b, &other));
        prop_assert_eq!(a.wanted, b.wanted);
        prop_assert_eq!(a.probes, b.probes);
        prop_assert_eq!(a.unwanted, b.unwanted);
    }

    #[test]
    fn an_operator_that_starts_blind_takes_nothing_away(
        spec in external(),
        looked_up in lookups(),
        known in health(),
        status_lost in any::<bool>(),
    ) {
        let mut world = World::new(spec);
        world.lookups = looked_up;
        world.health = known;
        world.settle(10);
        let before = world.published();
        world.lookups.clear();
        world.health.clear();
        // without a status only names tell nothing: literal addresses and unknown hosts account for all that is published
        if status_lost && world.service.spec.external.as_ref().unwrap().endpoints.iter().any(|e| e.host.ends_with("example")) {
            world.service.status = None;
        }
        world.settle(20);
        prop_assert_eq!(world.published(), before.clone());
        // every lookup fails: the same
        for host in ["a.example", "b.example", "c.example"] {
            world.lookups.insert(host.to_owned(), Lookup { addresses: vec![], failed: Some(LookupFailure::Timeout) });
        }
        world.settle(30);
        prop_assert_eq!(world.published(), before);
    }

    #[test]
    fn the_published_endpoints_of_a_new_leader_survive_failures_below_the_threshold(spec in external()) {
        let mut world = World::new(spec);
        let probes = world.settle(10).probes;
        for probing in &probes {
            let mut health = probing.seed;
            health.observe(ProbeOutcome::Answered, at(11), probing.target.thresholds);
            world.health.insert(probing.target.endpoint.clone(), health);
        }
        world.settle(12);
        let before = world.published();
        prop_assert_eq!(before.len(), probes.len());
        world.health.clear();
        for probing in world.settle(20).probes {
            let mut health = probing.seed;
            for i in 1..probing.target.thresholds.failures {
                health.observe(ProbeOutcome::Failed(EndpointReason::TcpTimeout), at(20 + i64::from(i)), probing.target.thresholds);
            }
            world.health.insert(probing.target.endpoint, health);
        }
        world.settle(40);
        prop_assert_eq!(world.published(), before);
    }

    #[test]
    fn what_belongs_to_somebody_else_is_never_touched(spec in any_spec(), which in 0..3, former in any::<bool>()) {
        let mut world = World::new(spec);
        let rendered = world.decide(1).wanted;
        let stranger = OwnerReference {
            api_version: "medley.health/v1alpha1".to_owned(),
            kind: "MedicalService".to_owned(),
            name: if former { "pacs" } else { "other" }.to_owned(),
            uid: "u0".to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        let mut blocked = None;
        for wanted in rendered {
            match wanted {
                Wanted::Service(mut o) if which == 0 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.core_service = Some(*o);
                    blocked = Some(OwnedKind::Service);
                }
                Wanted::Deployment(mut o) if which == 1 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.deployment = Some(*o);
                    blocked = Some(OwnedKind::Deployment);
                }
                Wanted::PodDisruptionBudget(mut o) if which == 2 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.budget = Some(*o);
                    blocked = Some(OwnedKind::PodDisruptionBudget);
                }
                _ => {}
            }
        }
        let decision = world.decide(2);
        if let Some(kind) = blocked {
            prop_assert!(decision.wanted.iter().all(|w| w.kind() != kind));
            prop_assert!(decision.unwanted.iter().all(|(k, _)| *k != kind));
            let status = decision.status.unwrap();
            let stalled = status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "NameTaken");
            prop_assert_eq!(stalled, !former, "only a stranger's object needs the user");
        }
    }

    #[test]
    fn probes_are_what_the_spec_says(spec in external(), failures in 1_u8..9, seconds in 1_u64..60) {
        let mut spec = spec;
        for interface in &mut spec.interfaces {
            interface.probe = Some(Probe {
                interval: Some(medley::api::Span::from_secs(seconds)),
                failure_threshold: Some(failures),
                ..Probe::default()
            });
        }
        for probing in World::new(spec).decide(1).probes {
            prop_assert_eq!(probing.target.interval.as_secs(), seconds);
            prop_assert_eq!(probing.target.thresholds.failures, failures);
        }
    }
}
