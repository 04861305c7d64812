//! What runs cost the operator in memory.

use std::time::Duration;

use super::{
    bare::load,
    common::{figures::Figures, observer::Observer, processor},
    pods::gone,
    support::{operator::Operator, stage::Stage, until},
};

const RUNS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(900);

/// 10,000 runs under way, and as many that have ended.
pub(crate) async fn of_runs(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
    let empty = processor::resident_mib(operator.pid());
    let space = stage.namespace("bench-memory");
    stage.apply(
        &space,
        "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: live}, spec: {steps: [{name: wait, wait: {for: 24h}}]}}",
    );
    stage.ready(&space, "mwf/live");
    load(stage, &space, "live", RUNS).await;
    until("all runs are under way", LIMIT, async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let path = ["get", "-n", &space, "mwf/live", "-o", "jsonpath={.status.active}"];
        (stage.kubectl(&path).trim() == RUNS.to_string()).then_some(())
    })
    .await;
    figures.at_most(&format!("{RUNS} runs under way: resident"), processor::resident_mib(operator.pid()), "MiB", 200.0);
    stage.remove_namespace(&space);
    gone(stage, &space).await;

    let space = stage.namespace("bench-ended");
    stage.apply(
        &space,
        "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: ended}, spec: {retention: {succeeded: 10000}, steps: [{name: one, transform: {expression: '1'}}]}}",
    );
    stage.ready(&space, "mwf/ended");
    let mut observer = Observer::of(stage, &space, false);
    load(stage, &space, "ended", RUNS).await;
    observer.ended(RUNS, LIMIT).await;
    drop(observer);
    operator.stop().await;
    // a fresh process holds what it needs and nothing that an earlier peak left
    let operator = Operator::leading(stage, "one").await;
    let full = processor::resident_mib(operator.pid());
    let each = (full - empty) * 1024.0 / RUNS as f64;
    figures.at_most(&format!("{RUNS} runs that have ended: memory"), each, "KiB/run", 1.0);
    stage.remove_namespace(&space);
    gone(stage, &space).await;
    operator.stop().await;
}
