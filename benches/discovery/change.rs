//! One endpoint fails among 2,000 services with 500 queries in one namespace: which queries are looked at, and how long that takes.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use medley::{
    api::{MedicalService, ServiceQuery},
    core::discovery::query::{
        decide::decide,
        filter,
        known::Known,
        view::{QueryDecision, QueryView, ServiceFacts},
    },
    render::{Owner, service::of_query},
};
use serde_json::json;

use super::{
    endpoint,
    figures::{Figures, quantile},
    service,
};

const SERVICES: usize = 2000;
const QUERIES: usize = 500;
const CAPABILITIES: usize = 50;
const TIMES: usize = 20;

struct Namespace {
    services: Vec<(MedicalService, Vec<Known>)>,
    queries: Vec<(ServiceQuery, Service)>,
}

fn query(i: usize) -> (ServiceQuery, Service) {
    let capability = format!("c{}", i % CAPABILITIES);
    let mut query: ServiceQuery = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "ServiceQuery",
        "metadata": {"name": format!("q{i}"), "namespace": "radiology", "uid": format!("q-uid-{i}"), "generation": 1},
        "spec": {
            "capability": capability, "protocol": "HTTP", "port": 80, "purpose": "ETREAT", "confidentiality": "N",
            "prefer": {"health": 2},
        },
    }))
    .unwrap();
    if i.is_multiple_of(2) {
        query.spec.where_ = Some("'site' in service.attributes && service.attributes.site != 'site-3'".to_owned());
    }
    let owner = Owner {
        kind: "ServiceQuery",
        namespace: "radiology".to_owned(),
        name: format!("q{i}"),
        uid: format!("q-uid-{i}"),
    };
    let core_service = of_query(&owner, &query.spec);
    (query, core_service)
}

impl Namespace {
    fn new() -> Self {
        let service =
            |i| (service(i, &format!("c{}", i % CAPABILITIES)), vec![endpoint(i, 1, true), endpoint(i, 2, true)]);
        Self { services: (0..SERVICES).map(service).collect(), queries: (0..QUERIES).map(query).collect() }
    }

    /// As the operator does it: endpoints are read only where the service may match.
    fn decide(&self, (query, core_service): &(ServiceQuery, Service)) -> QueryDecision {
        let facts: Vec<ServiceFacts<'_>> = self
            .services
            .iter()
            .map(|(service, known)| {
                let matches = filter::interface(&query.spec, service).is_ok();
                ServiceFacts { service, known: if matches { known.clone() } else { Vec::new() } }
            })
            .collect();
        let view = QueryView {
            query,
            cluster_domain: "cluster.local",
            services: &facts,
            signals: &[],
            core_service: Some(core_service),
            slices: Vec::new(),
            refused: None,
            epoch: 1,
        };
        decide(&view, Timestamp::UNIX_EPOCH)
    }
}

pub(crate) fn of_one_endpoint(figures: &mut Figures) {
    println!("  {SERVICES} services with two endpoints each, {QUERIES} queries, half of them with `where`");
    let mut namespace = Namespace::new();
    let begun = Instant::now();
    for i in 0..QUERIES {
        let status = namespace.decide(&namespace.queries[i]).status;
        assert!(status.is_some(), "the first answer is news");
        namespace.queries[i].0.status = status;
    }
    figures.add("first answers of 500 queries", begun.elapsed().as_secs_f64() * 1e3, "ms");
    let (mut whole, mut finding, mut deciding) = (Vec::new(), Vec::new(), Vec::new());
    let (mut looked_at, mut written, mut beside) = (0, 0, 0);
    for time in 0..TIMES {
        let failing = time * 97 % SERVICES;
        namespace.services[failing].1[0].ready = false;
        let begun = Instant::now();
        let service = &namespace.services[failing].0;
        let concerned: Vec<usize> =
            (0..QUERIES).filter(|i| filter::interface(&namespace.queries[*i].0.spec, service).is_ok()).collect();
        let found = begun.elapsed().as_secs_f64() * 1e3;
        let mut decisions = Vec::new();
        for i in &concerned {
            let each = Instant::now();
            decisions.push(namespace.decide(&namespace.queries[*i]));
            deciding.push(each.elapsed().as_secs_f64() * 1e3);
        }
        whole.push(begun.elapsed().as_secs_f64() * 1e3);
        finding.push(found);
        looked_at += concerned.len();
        written += decisions.iter().filter(|d| d.status.is_some()).count();
        let others = (0..QUERIES).filter(|i| !concerned.contains(i));
        beside += others.filter(|i| namespace.decide(&namespace.queries[*i]).status.is_some()).count();
        namespace.services[failing].1[0].ready = true;
    }
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    let mean = |n: usize| n as f64 / TIMES as f64;
    figures.add("one endpoint fails: queries that are looked at", mean(looked_at), "");
    figures.add("  of which have news for their status", mean(written), "");
    figures.at_most("  status writes of all other queries", mean(beside), "", 0.0);
    figures.at_most("  finding the queries, p50", quantile(&mut finding, 0.5), "ms", 1.0);
    figures.add("  one decision over 2,000 services, p50", quantile(&mut deciding, 0.5), "ms");
    figures.add("  one decision over 2,000 services, p99", quantile(&mut deciding, 0.99), "ms");
    figures.at_most("  all decisions together, p99", quantile(&mut whole, 0.99), "ms", 100.0);
}
