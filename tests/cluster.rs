//! Does the shipped program keep its promises on a real control plane? Nodes and pods are played, everything else is real:
//! API server, controllers, garbage collector, and the operator as a process with the chart's own permissions.
//!
//! One test of ordered scenarios, since the last one judges the requests of all: which permissions were used or missing.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "cluster/capacity.rs"]
mod capacity;
#[path = "cluster/changes.rs"]
mod changes;
#[path = "cluster/fan_out.rs"]
mod fan_out;
#[path = "cluster/gitops.rs"]
mod gitops;
#[path = "cluster/kueue.rs"]
mod kueue;
#[path = "cluster/malformed.rs"]
mod malformed;
#[path = "cluster/permissions.rs"]
mod permissions;
#[path = "cluster/support/mod.rs"]
mod support;
#[path = "cluster/takeover.rs"]
mod takeover;
#[path = "cluster/workspaces.rs"]
mod workspaces;
#[path = "cluster/writes.rs"]
mod writes;

use std::time::Instant;

use support::{operator::Operator, stage::Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real control plane: make test-cluster"]
async fn the_operator_keeps_its_promises() {
    let stage = Stage::set().await;
    let begun = Instant::now();
    let told = |scenario: &str| println!("{:>6.1} s  {scenario}", begun.elapsed().as_secs_f64());

    let operator = Operator::leading(&stage, "one").await;
    told("a run of one pod costs one create and two status writes");
    writes::of_a_run_with_one_pod(&stage, &operator).await;
    told("a run's workspace is made, used and removed");
    workspaces::is_made_used_and_removed(&stage).await;
    told("a malformed object is named and left alone");
    malformed::is_named_and_left_alone(&stage, &operator).await;
    told("applying the example again changes nothing");
    gitops::applying_again_changes_nothing(&stage).await;
    told("changes of a spec reach what was made from it");
    changes::reach_what_was_made(&stage, &operator).await;
    told("the pods of many items are one Job");
    fan_out::is_one_job(&stage, &operator).await;
    told("a stat run takes the slot of a batch pod");
    capacity::goes_to_the_stat_run(&stage).await;
    capacity::example_keeps_urgent_pods_out(&stage);
    told("what is handed over waits for Kueue");
    kueue::holds_what_is_handed_over(&stage).await;
    let ended = operator.stop().await;
    assert!(ended.success(), "after SIGTERM the operator ended with {ended}");

    told("another replica takes over from one that was killed");
    takeover::from_a_killed_leader(&stage).await;
    told("a leader that was stopped past its lease writes nothing when it goes on");
    takeover::from_a_stopped_leader(&stage).await;

    told("the chart's permissions are those that were used");
    permissions::are_those_that_were_used(&stage).await;
    told("done");
}
