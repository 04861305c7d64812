//! Laws of the decision about a `MedicalService`: for all services, hosts, lookups and probe results.
#![allow(clippy::unwrap_used)] // helpers of tests: a failure is a failed test

#[path = "laws_service/specs.rs"]
mod specs;
#[path = "laws_service/world.rs"]
mod world;

use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use medley::{
    api::{interface::Probe, medical_service::EndpointReason},
    core::{
        discovery::{
            decision::{OwnedKind, ServiceDecision, Wanted},
            lookup::{Lookup, LookupFailure},
        },
        monitoring::health::{ProbeOutcome, State},
    },
};
use proptest::prelude::*;
use specs::{any_spec, external, health, lookups};
use world::{World, at};

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
    fn what_belongs_to_somebody_else_is_never_touched(spec in any_spec(), which in 0..4, former in any::<bool>()) {
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
                Wanted::Service(mut o) if which == 0 && o.metadata.name.as_deref() == Some("pacs") => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.core_service = Some(*o);
                    blocked = Some((OwnedKind::Service, "pacs"));
                }
                Wanted::Deployment(mut o) if which == 1 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.deployment = Some(*o);
                    blocked = Some((OwnedKind::Deployment, "pacs"));
                }
                Wanted::StatefulSet(mut o) if which == 1 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.stateful_set = Some(*o);
                    blocked = Some((OwnedKind::StatefulSet, "pacs"));
                }
                Wanted::Service(mut o) if which == 3 && o.metadata.name.as_deref() == Some("pacs-instances") => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.instances = Some(*o);
                    blocked = Some((OwnedKind::Service, "pacs-instances"));
                }
                Wanted::PodDisruptionBudget(mut o) if which == 2 => {
                    o.metadata.owner_references = Some(vec![stranger.clone()]);
                    world.budget = Some(*o);
                    blocked = Some((OwnedKind::PodDisruptionBudget, "pacs"));
                }
                _ => {}
            }
        }
        let decision = world.decide(2);
        if let Some((kind, name)) = blocked {
            prop_assert!(decision.wanted.iter().all(|w| (w.kind(), w.name()) != (kind, name)));
            prop_assert!(decision.unwanted.iter().all(|(k, n)| (*k, n.as_str()) != (kind, name)));
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
