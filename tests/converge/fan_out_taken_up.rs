//! A run that takes up another one (`retryFrom`): are the items of a step kept that is done, and done anew where it is not?

use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};

use super::{
    fan_out::{asked, begun},
    stage::{NAMESPACE, Stage},
    steps::{call, child, container},
    undisturbed::{prepared, prepared_with},
    world::{answer, exits, works},
};

/// Two steps for many items, and one after them.
fn workflow() -> Vec<Value> {
    let each = |name: &str| {
        call(name).path(&format!("/{name}/$( index )")).each(json!({"count": 4, "maxParallel": 2, "tolerate": "1"}))
    };
    vec![
        each("first").output("bad", "Integer", "result.failed").step(),
        each("second").after(&["first"]).step(),
        call("last").after(&["second"]).path("/last/$( steps.first.outputs.bad )").step(),
    ]
}

async fn taken_up(stage: &Stage, step: &str) -> RunPhase {
    stage.run_with("r2", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": step}})).await;
    let end = stage.ended("r2").await;
    stage.rest().await;
    end
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_items_are_done_is_kept_with_its_counts_and_outputs() {
    let stage = prepared(workflow()).await;
    stage.world.replies("/first/3", [answer(404, json!({}))]);
    stage.world.replies("/last/1", [answer(422, json!({})), answer(200, json!({}))]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let before = stage.world.requests().len();
    assert_eq!(taken_up(&stage, "last").await, RunPhase::Succeeded);
    assert_eq!(stage.world.requests().len(), before + 1, "{:?}", asked(&stage));
    let first = stage.step("r2", "first");
    assert_eq!(first["items"], stage.step("r1", "first")["items"]);
    assert_eq!(first["items"]["indexes"], json!({"succeeded": "0-2", "failed": "3"}));
    assert_eq!((&first["outputs"]["bad"], &first["message"]), (&json!(1), &json!("taken over from run `r1`")));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_step_with_too_many_failed_items_is_done_anew_as_a_whole() {
    let stage = prepared(workflow()).await;
    for path in ["/second/0", "/second/1"] {
        stage.world.replies(path, [answer(404, json!({})), answer(200, json!({}))]);
    }
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "second")["items"]["failed"], json!(2));
    assert_eq!(taken_up(&stage, "second").await, RunPhase::Succeeded);
    let asked = asked(&stage);
    assert!((0..4).all(|i| asked[&format!("/first/{i}")] == 1), "{asked:?}");
    assert_eq!([asked["/second/0"], asked["/second/1"], asked["/second/2"], asked["/second/3"]], [2, 2, 1, 1]);
    assert_eq!(stage.step("r2", "second")["items"]["indexes"], json!({"succeeded": "0-3"}));
    let of_second = |r: &super::world::Request| r.path == "/second/0";
    let keys: Vec<String> = stage.world.requests().into_iter().filter(of_second).map(|r| r.key).collect();
    assert_ne!(keys[0], keys[1], "another run is another request");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn the_run_named_step_is_done_anew_although_it_was_done() {
    let stage = prepared(workflow()).await;
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(taken_up(&stage, "first").await, RunPhase::Succeeded);
    assert!(asked(&stage).values().all(|&n| n == 2), "{:?}", asked(&stage));
}

#[tokio::test(start_paused = true)]
async fn jobs_and_child_runs_of_the_new_run_are_its_own() {
    let each = |step: super::steps::Step| step.each(json!({"count": 2}));
    let stage = prepared_with(json!({"steps": [
        each(child("runs", "inner", json!([]))).step(),
        each(container("pods")).after(&["runs"]).step(),
    ]}))
    .await;
    stage.workflow_with("inner", json!({"steps": [call("look").step()]})).await;
    stage.world.fates("pods[1]", [exits(1)]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.world.fates("pods[1]", [works(std::time::Duration::from_secs(1), &json!({}))]);
    assert_eq!(taken_up(&stage, "pods").await, RunPhase::Succeeded);
    assert_eq!(stage.world.asked("/look"), 2, "child runs that are done are not made again");
    assert_eq!((&stage.step("r2", "runs")["run"], &stage.step("r2", "pods")["job"]), (&Value::Null, &json!("r2-pods")));
    assert!(stage.server.object("Job", NAMESPACE, "r1-pods").is_some(), "the other run keeps what it has made");
    stage.run_with("r3", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": "runs"}})).await;
    assert_eq!(stage.ended("r3").await, RunPhase::Succeeded);
    assert_eq!(stage.world.asked("/look"), 4);
    assert_eq!(stage.step("r3", "runs")["run"], "r3-runs");
    stage.assert_monotone();
}
