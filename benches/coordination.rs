//! What a run costs, beside the least that any engine could cost, on a real control plane with a fake kubelet.
//!
//! `cluster run fake -- cargo bench --bench coordination [pods|writes|latency|calls|large|memory …]`: a table on standard output,
//! the same as JSON in `bench/coordination.json` of the target directory. The least is measured by a bare loop: a loader without
//! any logic that makes exactly the requests a perfect engine would make for the same load. Figures depend on the machine and the
//! build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[path = "coordination/bare.rs"]
mod bare;
#[path = "coordination/calls.rs"]
mod calls;
#[path = "common/mod.rs"]
mod common;
#[path = "coordination/large.rs"]
mod large;
#[path = "coordination/latency.rs"]
mod latency;
#[path = "coordination/memory.rs"]
mod memory;
#[path = "coordination/pods.rs"]
mod pods;
#[path = "../tests/cluster/support/mod.rs"]
mod support;
#[path = "coordination/writes.rs"]
mod writes;

use std::time::Duration;

use common::{WITH_A_CLUSTER, figures::Figures, kubelet::Kubelet, link::Link};
use support::stage::Stage;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let stage = Stage::set().await;
    let mut figures = Figures::of("coordination", WITH_A_CLUSTER);
    let link = Link::make();
    let kubelet = Kubelet::start(&stage, Duration::from_millis(100)).await;
    if wanted("latency") {
        latency::of_pods(&stage, &mut figures).await;
    }
    if wanted("writes") {
        writes::of_shapes(&stage, &mut figures).await;
    }
    if wanted("calls") {
        calls::against_the_bare_loop(&stage, &link, &mut figures).await;
    }
    if wanted("pods") {
        pods::against_the_bare_loop(&stage, &mut figures).await;
    }
    let shape = |short: &str| wanted("large") || asked.iter().any(|a| a == short);
    large::runs(&stage, &link, shape, &mut figures).await;
    if wanted("memory") {
        memory::of_runs(&stage, &mut figures).await;
    }
    kubelet.stop(&stage).await;
    figures.tell();
}
