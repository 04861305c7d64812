//! What runs cost the operator in memory.

use std::time::Duration;

use super::{
    bare::{create, load},
    common::{figures::Figures, observer::Observer, processor},
    pods::gone,
    support::{operator::Operator, stage::Stage, until},
};

const RUNS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(900);

/// 10,000 runs under way, and as many that have ended.
pub(crate) async fn of_runs(stage: &Stage, figures: &mut Figures) {
    under_way(stage, figures).await;
    ended(stage, figures).await;
}

/// All that the process holds after it has seen them come and has started each.
async fn under_way(stage: &Stage, figures: &mut Figures) {
    let operator = Operator::leading(stage, "one").await;
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
    settled(&operator).await;
    figures.at_most(&format!("{RUNS} runs under way: resident"), processor::resident_mib(operator.pid()), "MiB", 200.0);
    operator.stop().await;
    stage.remove_namespace(&space);
    gone(stage, &space).await;
}

/// What a process that has started beside them and has looked at each holds more than one that has found a single one: no peak of
/// earlier work, and no code that is read into memory when the first one comes.
async fn ended(stage: &Stage, figures: &mut Figures) {
    let space = stage.namespace("bench-ended");
    let operator = Operator::leading(stage, "one").await;
    stage.apply(
        &space,
        "{apiVersion: medley.health/v1alpha1, kind: Workflow, metadata: {name: ended}, spec: {steps: [{name: one, transform: {expression: '1'}}]}}",
    );
    stage.ready(&space, "mwf/ended");
    let mut observer = Observer::of(stage, &space, false);
    create(stage, &space, "ended", "first").await;
    observer.ended(1, LIMIT).await;
    operator.stop().await;
    let one = afresh(stage, 1).await;
    let operator = Operator::leading(stage, "one").await;
    load(stage, &space, "ended", RUNS).await;
    observer.ended(RUNS + 1, LIMIT).await;
    drop(observer);
    operator.stop().await;
    let each = (afresh(stage, RUNS + 1).await - one) * 1024.0 / RUNS as f64;
    figures.at_most(&format!("{RUNS} runs that have ended: memory"), each, "KiB/run", 1.0);
    stage.remove_namespace(&space);
    gone(stage, &space).await;
}

/// Resident memory of a new process that has looked at this many runs, in MiB.
async fn afresh(stage: &Stage, runs: usize) -> f64 {
    let operator = Operator::leading(stage, "one").await;
    let looks = "medley_reconciles_total{kind=\"WorkflowRun\",outcome=\"ok\"}";
    until("all runs are looked at", LIMIT, async || (operator.metric(looks).await >= runs as f64).then_some(())).await;
    settled(&operator).await;
    let resident = processor::resident_mib(operator.pid());
    operator.stop().await;
    resident
}

/// Waits until the operator has nothing to do: it uses less than a hundredth of a processor for ten seconds, in which a workflow
/// writes its counts and the lease is renewed.
async fn settled(operator: &Operator) {
    until("the operator has nothing to do", LIMIT, async || {
        let before = processor::seconds(operator.pid());
        tokio::time::sleep(Duration::from_secs(10)).await;
        (processor::seconds(operator.pid()) - before < 0.1).then_some(())
    })
    .await;
}
