//! What admission costs on a real control plane: a heavy load beside the least that any engine could cost, a stat run that comes
//! while thousands wait, and a service that is offered more calls than it can take.
//!
//! `cluster run fake -- cargo bench --bench admission [load|stat|calls …]`: a table on standard output, the same as JSON in
//! `bench/admission.json` of the target directory. Figures depend on the machine and the build: both are told.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first surprise")]

#[allow(dead_code, reason = "benches each use their part")]
#[path = "coordination/bare.rs"]
mod bare;
#[path = "admission/calls.rs"]
mod calls;
#[path = "common/mod.rs"]
mod common;
#[path = "admission/load.rs"]
mod load;
#[path = "admission/stat.rs"]
mod stat;
#[path = "../tests/cluster/support/mod.rs"]
mod support;

use common::{WITH_A_CLUSTER, figures::Figures};
use support::stage::Stage;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |section: &str| asked.is_empty() || asked.iter().any(|a| a == section);
    let stage = Stage::set().await;
    let mut figures = Figures::of("admission", WITH_A_CLUSTER);
    if wanted("load") {
        load::of_thirty_queues(&stage, &mut figures).await;
    }
    if wanted("stat") {
        stat::while_thousands_wait(&stage, &mut figures).await;
    }
    if wanted("calls") {
        calls::in_excess(&stage, &mut figures).await;
    }
    figures.tell();
}

/// A pool with these shares of so many units.
fn pool(stage: &Stage, name: &str, resources: u32, shares: &[serde_json::Value]) {
    let pool = serde_json::json!({ "apiVersion": "medley.health/v1alpha1", "kind": "CapacityPool", "metadata": { "name": name },
        "spec": { "resources": { "units": resources.to_string() }, "shares": shares } });
    stage.cluster.kubectl_with_input(&["apply", "-f", "-"], &pool.to_string()).unwrap();
}

/// The share of a namespace.
fn share(space: &str, nominal: u32) -> serde_json::Value {
    serde_json::json!({ "name": "q".to_owned() + &space.replace('-', ""), "nominal": { "units": nominal.to_string() },
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": space } } })
}

/// A namespace of which all workflows use a pool.
fn policy(stage: &Stage, space: &str, pool: &str) {
    let policy = serde_json::json!({ "apiVersion": "medley.health/v1alpha1", "kind": "ServicePolicy", "metadata": { "name": "all" },
        "spec": { "scheduling": { "pool": pool } } });
    stage.apply(space, &policy.to_string());
}
