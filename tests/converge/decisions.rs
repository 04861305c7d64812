//! What people decide about a run: what became of a step that nobody knows of, and what is done anew.

use std::time::Duration;

use medley::api::workflow_run::RunPhase;
use serde_json::json;

use super::{
    stage::Stage,
    steps::{call, get, post, transform},
    undisturbed::prepared_with,
    world::{answer, reset},
};

async fn with_an_unknown_step() -> Stage {
    let charge = post("charge").retries(3).output("receipt", "String", "result.body.receipt").step();
    let stage = prepared_with(json!({ "steps": [charge, call("record").after(&["charge"]).step()] })).await;
    stage.world.replies("/charge", [reset(), answer(200, json!({"receipt": "second"}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let unknown = |s: &Stage| s.step("r1", "charge")["phase"] == "Unknown";
    stage.until("nobody knows what became of the charge", Duration::from_secs(60), unknown).await;
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Running), "OutcomeUnknown"));
    assert_eq!(stage.condition("r1", "Stalled"), "True OutcomeUnknown");
    assert_eq!((stage.world.asked("/charge"), stage.world.asked("/record")), (1, 0));
    stage
}

#[tokio::test(start_paused = true)]
async fn a_step_of_which_a_person_knows_that_it_took_effect_is_done() {
    let stage = with_an_unknown_step().await;
    let told = json!({"step": "charge", "attempt": 1, "outcome": "Succeeded", "outputs": {"receipt": "found"}});
    stage.set("r1", json!({"resolutions": [told]})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!((stage.world.asked("/charge"), stage.world.asked("/record")), (1, 1));
    assert_eq!(stage.step("r1", "charge")["outputs"]["receipt"], "found");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_resolution_without_the_outputs_of_the_step_changes_nothing() {
    let stage = with_an_unknown_step().await;
    stage.set("r1", json!({"resolutions": [{"step": "charge", "attempt": 1, "outcome": "Succeeded"}]})).await;
    stage.rest().await;
    let step = stage.step("r1", "charge");
    assert_eq!(step["phase"], "Unknown");
    assert!(step["message"].as_str().unwrap().contains("output `receipt` must be given"), "{step}");
}

#[tokio::test(start_paused = true)]
async fn a_step_of_which_a_person_knows_that_it_had_no_effect_is_done_again_with_a_new_key() {
    let stage = with_an_unknown_step().await;
    stage.set("r1", json!({"resolutions": [{"step": "charge", "attempt": 1, "outcome": "Retry"}]})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let requests = stage.world.requests();
    let keys: Vec<&String> = requests.iter().filter(|r| r.path == "/charge").map(|r| &r.key).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
    assert_eq!(stage.step("r1", "charge")["outputs"]["receipt"], "second");
}

#[tokio::test(start_paused = true)]
async fn a_resolution_of_another_attempt_changes_nothing() {
    let stage = with_an_unknown_step().await;
    stage.set("r1", json!({"resolutions": [{"step": "charge", "attempt": 2, "outcome": "Retry"}]})).await;
    stage.rest().await;
    assert_eq!((stage.step("r1", "charge")["phase"].as_str(), stage.world.asked("/charge")), (Some("Unknown"), 1));
    stage.set("r1", json!({"resolutions": [{"step": "charge", "attempt": 1, "outcome": "Failed"}]})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.assert_monotone();
}

/// left and right beside each other, then join, which fails the first time; left can be undone if `undo`.
async fn failed_at_the_join(undo: bool) -> Stage {
    let left = if undo { call("left").undone_by(get("/undo")) } else { call("left") };
    let join = call("join").after(&["left", "right"]).step();
    let steps = json!([
        left.step(),
        call("right").output("n", "Integer", "result.body.n").step(),
        join,
        transform("end", "steps.right.outputs.n").after(&["join"]).output("n", "Integer", "result").step()
    ]);
    let stage = prepared_with(json!({ "steps": steps })).await;
    stage.world.replies("/right", [answer(200, json!({"n": 7}))]);
    stage.world.replies("/join", [answer(422, json!({})), answer(200, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_up_another_leaves_what_is_done_alone() {
    let stage = failed_at_the_join(false).await;
    stage.run_with("r2", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": "join"}})).await;
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
    let asked = |path| stage.world.asked(path);
    assert_eq!((asked("/left"), asked("/right"), asked("/join")), (1, 1, 2));
    assert_eq!(stage.step("r2", "end")["outputs"]["n"], json!(7), "outputs are taken over");
    assert_eq!(stage.step("r1", "join")["phase"], "Failed", "the other run stays as it is");
}

#[tokio::test(start_paused = true)]
async fn what_was_undone_is_done_anew() {
    let stage = failed_at_the_join(true).await;
    stage.run_with("r2", json!({"workflow": "ct", "retryFrom": {"run": "r1", "step": "join"}})).await;
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
    let asked = |path| stage.world.asked(path);
    assert_eq!((asked("/left"), asked("/right"), asked("/join"), asked("/undo")), (2, 1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_taken_up_is_named() {
    let stage = failed_at_the_join(false).await;
    for (name, run, step, words) in
        [("r2", "nobody", "join", "there is no WorkflowRun `nobody`"), ("r3", "r1", "jion", "`jion` is not a step")]
    {
        stage.run_with(name, json!({"workflow": "ct", "retryFrom": {"run": run, "step": step}})).await;
        assert_eq!(stage.ended(name).await, RunPhase::Failed);
        assert_eq!(stage.reason(name), "InvalidRetryFrom");
        assert!(stage.message(name).contains(words), "{}", stage.message(name));
    }
}
