//! Is what was done undone, and what must be done at the end done, however a run ends?

use std::time::Duration;

use medley::api::workflow_run::{RunPhase, StepPhase};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    stage::Stage,
    steps::{call, container, get, transform},
    undisturbed::prepared_with,
    world::{answer, hangs},
};

/// Paths that were asked for, in order.
fn asked(stage: &Stage) -> Vec<String> {
    stage.world.requests().into_iter().map(|r| r.path).collect()
}

/// book → pay → send, the first two with what undoes them, and a last word.
fn journey() -> Value {
    json!({
        "steps": [
            call("book").output("id", "String", "result.body.id").undone_by(get("/unbook/$( steps.book.outputs.id )")).step(),
            call("pay").after(&["book"]).undone_by(get("/refund")).step(),
            call("send").after(&["pay"]).step(),
        ],
        "finally": [{"name": "tell", "call": {"service": "archive", "http": {"path": "/tell/$( run.outcome )"}}}],
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone_in_reverse_order_before_the_end() {
    let stage = prepared_with(journey()).await;
    stage.world.replies("/book", [answer(200, json!({"id": "b7"}))]);
    stage.world.replies("/send", [answer(422, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(asked(&stage), ["/book", "/pay", "/send", "/refund", "/unbook/b7", "/tell/Failed"]);
    assert_eq!(stage.reason("r1"), "StepFailed");
    assert_eq!(stage.condition("r1", "Compensated"), "True AllUndone");
    assert_eq!(stage.step("r1", "tell")["phase"], "Succeeded");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_succeeds_undoes_nothing() {
    let stage = prepared_with(journey()).await;
    stage.world.replies("/book", [answer(200, json!({"id": "b7"}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(asked(&stage), ["/book", "/pay", "/send", "/tell/Succeeded"]);
    assert!(stage.stored("r1").status.unwrap().compensations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_fails_is_shown_and_stops_no_other() {
    let stage = prepared_with(journey()).await;
    stage.world.replies("/book", [answer(200, json!({"id": "b7"}))]);
    stage.world.replies("/send", [answer(422, json!({}))]);
    stage.world.replies("/refund", [answer(400, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(asked(&stage), ["/book", "/pay", "/send", "/refund", "/unbook/b7", "/tell/Failed"]);
    assert_eq!(stage.condition("r1", "Compensated"), "False NotAllUndone");
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_waits_for_its_service_goes_on_when_that_is_there() {
    let refund = json!({"call": {"service": "desk", "http": {"path": "/refund"}}});
    let steps = json!({ "steps": [call("pay").undone_by(refund).step(), call("send").after(&["pay"]).step()] });
    let stage = prepared_with(steps).await;
    stage.world.replies("/send", [answer(422, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    let undoing = |s: &Stage| s.stored("r1").status?.compensations.get("pay").map(|s| s.phase);
    stage.until("it waits", Duration::from_secs(10), |s| undoing(s) == Some(StepPhase::Waiting)).await;
    let came = Instant::now();
    stage.service("desk", &["10.0.0.2"]).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert!(came.elapsed() < Duration::from_secs(10), "at once, and not when its time is over");
    assert_eq!(stage.condition("r1", "Compensated"), "True AllUndone");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_waits_for_its_pod_before_it_undoes_and_says_the_last_word() {
    let mut spec = journey();
    spec["steps"][2] = container("send").after(&["pay"]).step();
    let stage = prepared_with(spec).await;
    stage.world.replies("/book", [answer(200, json!({"id": "b7"}))]);
    stage.world.fates("send", [hangs()]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the pod runs", Duration::from_secs(60), |s| s.step("r1", "send")["phase"] == "Running").await;
    stage.cancel("r1").await;
    stage.until("it undoes", Duration::from_secs(60), |s| s.world.asked("/refund") == 1).await;
    assert!(stage.server.objects("Pod").is_empty(), "the pod has gone first");
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    assert_eq!(asked(&stage), ["/book", "/pay", "/refund", "/unbook/b7", "/tell/Canceled"]);
    assert_eq!(stage.step("r1", "send")["phase"], "Canceled");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_last_word_that_fails_makes_a_good_run_fail_and_those_after_it_never_start() {
    let mut spec = json!({ "steps": [transform("work", "1").step()] });
    spec["finally"] = json!([call("release").step(), call("later").after(&["release"]).step(), call("other").step()]);
    let stage = prepared_with(spec).await;
    stage.world.replies("/release", [answer(400, json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.reason("r1"), "FinallyFailed");
    assert_eq!((stage.world.asked("/later"), stage.world.asked("/other")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_a_run_is_suspended() {
    let stage = prepared_with(json!({ "steps": [call("one").step(), call("two").after(&["one"]).step()] })).await;
    stage.world.replies("/one", [answer(200, json!({})).after(Duration::from_secs(5))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the call is under way", Duration::from_secs(30), |s| s.world.asked("/one") == 1).await;
    stage.set("r1", json!({"suspend": true})).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(stage.phase("r1"), Some(RunPhase::Suspended));
    assert_eq!((stage.step("r1", "one")["phase"].as_str(), stage.world.asked("/two")), (Some("Succeeded"), 0));
    stage.set("r1", json!({"suspend": false})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.world.asked("/two"), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_suspended_from_the_start_does_not_start() {
    let stage = prepared_with(json!({ "steps": [call("one").step()] })).await;
    stage.run_with("r1", json!({"workflow": "ct", "suspend": true})).await;
    stage.start("op-1");
    stage.rest().await;
    assert_eq!((stage.phase("r1"), stage.world.asked("/one")), (Some(RunPhase::Pending), 0));
    stage.set("r1", json!({"suspend": false})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}
