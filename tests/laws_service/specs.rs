//! Any service, and anything that may be known of its hosts.

use std::collections::BTreeMap;

use medley::{
    api::{
        MedicalServiceSpec, Protocol,
        instances::Identity,
        interface::Interface,
        medical_service::{EndpointReason, External, ExternalEndpoint, Select, Workload},
    },
    core::{
        discovery::{
            lookup::{Lookup, LookupFailure},
            target::Endpoint,
        },
        monitoring::health::{Health, ProbeOutcome, Thresholds},
    },
};
use proptest::prelude::*;

use super::world::at;

const HOSTS: [&str; 6] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "a.example", "b.example", "c.example"];

fn interface(i: usize) -> Interface {
    let (name, port, protocol) =
        [("dicom", 104, Protocol::Dicom), ("web", 80, Protocol::Http), ("fhir", 8080, Protocol::Fhir)][i % 3];
    Interface {
        name: name.to_owned(),
        port,
        target_port: None,
        protocol,
        tls: None,
        http: None,
        fhir: None,
        grpc: None,
        hl7v2: None,
        dicom: None,
        probe: None,
    }
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    prop::sample::subsequence(vec![0, 1, 2], 1..=3).prop_map(|list| list.into_iter().map(interface).collect())
}

pub(crate) fn external() -> impl Strategy<Value = MedicalServiceSpec> {
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
        autoscaling: None,
        capacity: None,
        interfaces,
        urgency: None,
        capabilities: vec![],
        attributes: BTreeMap::new(),
        data: None,
        objectives: None,
    })
}

pub(crate) fn any_spec() -> impl Strategy<Value = MedicalServiceSpec> {
    let workload =
        (interfaces(), prop::option::of(0..4_i32), any::<bool>()).prop_map(|(interfaces, replicas, stable)| {
            MedicalServiceSpec {
                workload: Some(Workload {
                    image: "reader:1".to_owned(),
                    image_pull_policy: None,
                    command: vec![],
                    args: vec![],
                    env: vec![],
                    resources: None,
                    replicas,
                    identity: stable.then_some(Identity::Stable),
                    volumes: vec![],
                }),
                select: None,
                external: None,
                autoscaling: None,
                capacity: None,
                interfaces,
                urgency: None,
                capabilities: vec![],
                attributes: BTreeMap::new(),
                data: None,
                objectives: None,
            }
        });
    let select = interfaces().prop_map(|interfaces| MedicalServiceSpec {
        workload: None,
        select: Some(Select { match_labels: [("app".to_owned(), "x".to_owned())].into() }),
        external: None,
        autoscaling: None,
        capacity: None,
        interfaces,
        urgency: None,
        capabilities: vec![],
        attributes: BTreeMap::new(),
        data: None,
        objectives: None,
    });
    prop_oneof![external(), workload, select]
}

fn lookup() -> impl Strategy<Value = Option<Lookup>> {
    let addresses = prop::collection::btree_set(1_u8..6, 0..4)
        .prop_map(|list| list.into_iter().map(|n| format!("198.51.100.{n}").parse().unwrap()).collect());
    let failed = prop::option::of(prop_oneof![Just(LookupFailure::NotFound), Just(LookupFailure::Timeout)]);
    prop::option::of((addresses, failed).prop_map(|(addresses, failed)| Lookup { addresses, failed }))
}

pub(crate) fn lookups() -> impl Strategy<Value = BTreeMap<String, Lookup>> {
    prop::collection::vec(lookup(), 3).prop_map(|list| {
        let names = ["a.example", "b.example", "c.example"];
        names.into_iter().zip(list).filter_map(|(name, l)| Some((name.to_owned(), l?))).collect()
    })
}

/// Health of some of the endpoints that could be probed.
pub(crate) fn health() -> impl Strategy<Value = BTreeMap<Endpoint, Health>> {
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
                pod: None,
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
