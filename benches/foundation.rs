//! What the foundation costs, measured on the shipped program and a real control plane with played nodes.
//!
//! `cluster run fake -- cargo bench --bench foundation`: a table on standard output, the same as JSON in
//! `bench/foundation.json` of the target directory. Figures depend on the machine and the build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[path = "foundation/calls.rs"]
mod calls;
#[path = "common/mod.rs"]
mod common;
#[path = "foundation/idle.rs"]
mod idle;
#[path = "foundation/runs.rs"]
mod runs;
#[path = "../tests/cluster/support/mod.rs"]
mod support;

use common::{WITH_A_CLUSTER, figures::Figures, link::Link};
use support::stage::Stage;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let stage = Stage::set().await;
    let mut figures = Figures::of("foundation", WITH_A_CLUSTER);
    let link = Link::make();
    runs::writes(&stage, &mut figures).await;
    calls::chain(&stage, &link, &mut figures).await;
    runs::takeover(&stage, &mut figures).await;
    idle::cost(&stage, &link, &mut figures).await;
    figures.tell();
}
