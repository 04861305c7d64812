//! What a client sees on a real node when the process behind an endpoint dies and comes back, in the slices and in the answers of `CoreDNS`;
//! and what it sees while no operator runs.
//!
//! `cluster run node -- cargo bench --bench discovery_node [kill|away …]`: a table on standard output, the same as JSON in
//! `bench/discovery_node.json` of the target directory. It needs root: processes in pods are ended from outside.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[path = "discovery_node/away.rs"]
mod away;
#[path = "discovery_node/board.rs"]
mod board;
#[path = "common/mod.rs"]
mod common;
#[path = "discovery_node/field.rs"]
mod field;
#[path = "discovery_node/kill.rs"]
mod kill;
#[path = "discovery_node/names.rs"]
mod names;
#[path = "../tests/site/mod.rs"]
mod site;
#[path = "../tests/cluster/support/mod.rs"]
mod support;

use common::figures::Figures;
use field::Field;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let mut figures = Figures::of(
        "discovery_node",
        "operator, pods, node and control plane share the cores; probes every 1 s, out after 2 failures, in after 1 success; CoreDNS keeps answers for 5 s",
    );
    let mut field = Field::set().await;
    if wanted("kill") {
        kill::of_processes(&mut field, &mut figures).await;
    }
    if wanted("away") {
        away::of_the_operator(&mut field, &mut figures).await;
    }
    drop(field);
    figures.tell();
}
