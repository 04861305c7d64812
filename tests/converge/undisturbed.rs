//! What does a run cost and give when nothing goes wrong?

use std::time::Duration;

use medley::api::workflow_run::RunPhase;
use serde_json::json;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, container, story},
    world::{answer, works},
};

/// A cluster with the service `archive` and the workflow `ct`.
pub(crate) async fn prepared(workflow: Vec<serde_json::Value>) -> Stage {
    prepared_with(json!({ "steps": workflow })).await
}

/// As `prepared`, with the workflow's whole spec.
pub(crate) async fn prepared_with(spec: serde_json::Value) -> Stage {
    let stage = Stage::new();
    stage.world.replies("/count", [answer(200, json!({"images": 21}))]);
    stage.world.fates("measure", [works(Duration::from_millis(300), &json!({"noise": 7}))]);
    stage.service("archive", &["10.0.0.1"]).await;
    stage.workflow_with("ct", spec).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_run_of_all_kinds_of_steps_succeeds() {
    let stage = prepared(story()).await;
    stage.run("r1", "ct").await;
    let operator = stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(stage.step("r1", "double")["outputs"]["all"], json!(42));
    assert_eq!(stage.step("r1", "measure")["outputs"]["noise"], json!(7));
    assert_eq!((stage.world.asked("/count"), stage.world.asked("/record")), (1, 1));
    assert_eq!(stage.pods_created(), ["r1-measure-1"]);
    let workflow = stage.server.object("Workflow", NAMESPACE, "ct").unwrap();
    assert_eq!(workflow["status"]["active"], json!(0), "the workflow carries the fate of its run");
    assert_eq!(workflow["status"]["lastRun"]["phase"], "Succeeded");
    stage.assert_monotone();
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_n_calls_costs_n_and_one_status_writes() {
    for n in [1, 2, 5, 9] {
        let names: Vec<String> = (0..n).map(|i| format!("s{i}")).collect();
        let step = |i: usize| if i == 0 { call(&names[0]) } else { call(&names[i]).after(&[&names[i - 1]]) };
        let stage = prepared((0..n).map(|i| step(i).step()).collect()).await;
        let operator = stage.start("op-1");
        // the service is known and the workflow stored before the run comes
        tokio::time::sleep(Duration::from_secs(30)).await;
        stage.run("r1", "ct").await;
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
        stage.rest().await;
        assert_eq!(stage.status_writes(), n + 1, "a chain of {n} calls");
        assert_eq!(stage.world.requests().len(), n);
        operator.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_one_pod_costs_one_create_and_two_status_writes() {
    // a pod that works longer than a second is told to be running
    for (runs, writes) in [(300, 2), (5000, 3)] {
        let stage = prepared(vec![container("tool").step()]).await;
        stage.world.fates("tool", [works(Duration::from_millis(runs), &json!({}))]);
        let operator = stage.start("op-1");
        tokio::time::sleep(Duration::from_secs(30)).await;
        stage.run("r1", "ct").await;
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
        stage.rest().await;
        assert_eq!(stage.status_writes(), writes, "a pod of {runs} ms");
        assert_eq!(stage.pods_created(), ["r1-tool-1"]);
        operator.stop().await;
    }
}
