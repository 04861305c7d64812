//! What the answer to a query costs: ranking, and one change of health among thousands of services and hundreds of queries, in one
//! thread, without a cluster.
//!
//! `cargo bench --bench discovery [rank|change …]`: a table on standard output, the same as JSON in `bench/discovery.json` of the
//! target directory. Figures depend on the machine and the build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[path = "discovery/change.rs"]
mod change;
#[allow(dead_code, reason = "benches each use their part")]
#[path = "common/figures.rs"]
mod figures;
#[path = "discovery/rank.rs"]
mod rank;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use figures::Figures;
use medley::{api::MedicalService, core::discovery::query::known::Known};
use serde_json::json;

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
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let mut figures = Figures::of("discovery", "one thread, no cluster");
    if wanted("rank") {
        rank::of_many_candidates(&mut figures);
    }
    if wanted("change") {
        change::of_one_endpoint(&mut figures);
    }
    figures.tell();
}
