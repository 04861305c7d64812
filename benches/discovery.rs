//! What discovery costs. Without a cluster, in one thread: ranking, and one change of health among thousands of services and hundreds of
//! queries. With the shipped program and a real control plane: probes of 10,000
//! endpoints, and the way from a probe to the answers of queries.
//!
//! `cluster run fake -- cargo bench --bench discovery [rank|change|probe|answers …]`: a table on standard output, the same as JSON in
//! `bench/discovery.json` of the target directory. Figures depend on the machine and the build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[path = "discovery/answers.rs"]
mod answers;
#[path = "discovery/change.rs"]
mod change;
#[path = "common/mod.rs"]
mod common;
#[path = "discovery/field.rs"]
mod field;
#[path = "discovery/peers.rs"]
mod peers;
#[path = "discovery/probe.rs"]
mod probe;
#[path = "discovery/protocols.rs"]
mod protocols;
#[path = "discovery/rank.rs"]
mod rank;
#[path = "../tests/cluster/support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::figures::{self, Figures};
use field::Field;
use medley::{api::MedicalService, core::discovery::query::known::Known};
use serde_json::json;
use support::stage::Stage;

/// Service number `i`: what it can do, a site, and an HTTP interface.
fn service(i: usize, capability: &str) -> MedicalService {
    let mut service: MedicalService = serde_json::from_value(json!({
        "apiVersion": "medley.health/v1alpha1", "kind": "MedicalService",
        "metadata": {"name": format!("s{i:05}"), "namespace": "radiology", "generation": 1},
        "spec": {
            "external": {"endpoints": [{"host": "pacs.example"}]},
            "interfaces": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
            "capabilities": [capability], "attributes": {"site": format!("site-{}", i % 7)},
            "data": {"maxConfidentiality": "R", "purposes": ["TREAT"]},
        },
    }))
    .unwrap();
    service.metadata.uid = Some(format!("uid-{i}"));
    service
}

/// Endpoint number `n` of service number `i`.
fn endpoint(i: usize, n: u8, ready: bool) -> Known {
    let [.., high, low] = u32::try_from(i).unwrap().to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(10, high, low, n));
    Known { endpoint: SocketAddr::new(address, 8080), zone: Some(format!("zone-{}", i % 5)), ready }
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if asked.iter().any(|a| a == peers::ARGUMENT) {
        return peers::serve();
    }
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let setting =
        "rank and change: one thread, no cluster; the rest: operator, endpoints and control plane share the cores";
    let mut figures = Figures::of("discovery", setting);
    if wanted("rank") {
        rank::of_many_candidates(&mut figures);
    }
    if wanted("change") {
        change::of_one_endpoint(&mut figures);
    }
    let sections = ["probe", "answers"].map(wanted);
    if sections.contains(&true) {
        with_a_cluster(sections, &mut figures);
    }
    figures.tell();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_cluster([probe, answers]: [bool; 2], figures: &mut Figures) {
    let stage = Stage::set().await;
    match Field::set(&stage).await {
        Ok(mut field) => {
            if probe {
                probe::of_ten_thousand_endpoints(&mut field, figures).await;
            }
            if answers {
                answers::of_one_endpoint(&mut field, figures).await;
            }
            field.end().await;
        }
        Err(reason) => figures.skipped("10,000 endpoints, and queries beside them", &reason),
    }
}
