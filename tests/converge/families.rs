//! Runs that belong together: parents and children, those of which only so many are under way, and those that are not kept.

use std::time::Duration;

use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, child, container, get},
    undisturbed::prepared_with,
    world::{answer, hangs},
};

async fn parent_and_child(inner: Value, outer: Value) -> Stage {
    let stage = prepared_with(outer).await;
    stage.workflow_with("inner", inner).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage
}

#[tokio::test(start_paused = true)]
async fn a_child_run_gets_its_parameters_and_gives_its_outputs() {
    let inner = json!({
        "parameters": [{"name": "study", "type": "String", "required": true}],
        "steps": [call("look").output("n", "Integer", "result.body.n").step()],
        "outputs": [{"name": "n", "value": "steps.look.outputs.n"}, {"name": "study", "value": "params.study"}],
    });
    let outer = json!({"steps": [
        child("each", "inner", json!([{"name": "study", "value": "\"s\" + \"1\""}])).output("n", "Integer", "result.n").step(),
        call("record").after(&["each"]).step(),
    ], "outputs": [{"name": "n", "value": "steps.each.outputs.n"}]});
    let stage = parent_and_child(inner, outer).await;
    stage.world.replies("/look", [answer(200, json!({"n": 12}))]);
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.stored("r1").status.unwrap().outputs["n"], json!(12));
    assert_eq!(stage.stored("r1-each-1").status.unwrap().outputs["study"], json!("s1"));
    stage.server.delete("WorkflowRun", NAMESPACE, "r1", 0).unwrap();
    stage.rest().await;
    assert!(stage.server.objects("WorkflowRun").is_empty(), "a child goes with its parent");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_run_cancels_its_child_and_waits_for_what_that_undoes() {
    let inner = json!({"steps": [call("reserve").undone_by(get("/free")).step(), container("long").after(&["reserve"]).step()]});
    let outer = json!({"steps": [call("open").undone_by(get("/close")).step(), child("each", "inner", json!([])).after(&["open"]).step()]});
    let stage = parent_and_child(inner, outer).await;
    stage.world.fates("long", [hangs()]);
    stage.until("the pod runs", Duration::from_secs(60), |s| s.server.objects("Pod").len() == 1).await;
    stage.rest().await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    assert_eq!(stage.phase("r1-each-1"), Some(RunPhase::Canceled));
    let asked: Vec<String> = stage.world.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(asked, ["/open", "/reserve", "/free", "/close"]);
    assert!(stage.server.objects("Pod").is_empty());
    assert_eq!(stage.reason("r1-each-1"), "ParentStopped");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_fails_its_step_and_one_that_takes_too_long_is_stopped_first() {
    let inner = json!({"steps": [call("look").step()]});
    let stage = parent_and_child(inner.clone(), json!({"steps": [child("each", "inner", json!([])).step()]})).await;
    stage.world.replies("/look", [answer(422, json!({}))]);
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "each")["reason"], "ChildFailed");

    let inner = json!({"steps": [container("long").step()]});
    let stage =
        parent_and_child(inner, json!({"steps": [child("each", "inner", json!([])).timeout("30s").step()]})).await;
    stage.world.fates("long", [hangs()]);
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "each")["reason"], "Timeout");
    assert_eq!(stage.phase("r1-each-1"), Some(RunPhase::Canceled), "it has ended before its parent");
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_runs_itself_comes_to_an_end() {
    let stage = prepared_with(json!({"steps": [child("again", "ct", json!([])).step()]})).await;
    stage.run("r1", "ct").await;
    stage.start("op-1");
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.server.objects("WorkflowRun").len(), 9, "the run, and eight nested in it");
}

fn limited(limit: u32, policy: &str) -> Value {
    json!({
        "parameters": [{"name": "patient", "type": "String", "default": "p1"}],
        "concurrency": {"key": "params.patient", "limit": limit, "policy": policy},
        "steps": [call("work").timeout("1h").step()],
    })
}

/// How many runs were under way together at most, as the calls tell.
fn started(stage: &Stage) -> Vec<String> {
    let mut started: Vec<(String, jiff::Timestamp)> = stage
        .server
        .objects("WorkflowRun")
        .iter()
        .filter_map(|r| {
            let at = r["status"]["startedAt"].as_str()?.parse().ok()?;
            Some((r["metadata"]["name"].as_str()?.to_owned(), at))
        })
        .collect();
    started.sort_by_key(|(_, at)| *at);
    started.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(start_paused = true)]
async fn runs_with_the_same_key_wait_for_each_other_and_the_urgent_one_goes_first() {
    let stage = prepared_with(limited(1, "Queue")).await;
    stage.world.replies("/work", [answer(200, json!({})).after(Duration::from_secs(30))]);
    stage.start("op-1");
    stage.run("r1", "ct").await;
    stage.until("the first is at work", Duration::from_secs(30), |s| s.world.asked("/work") == 1).await;
    stage.run("r2", "ct").await;
    stage.run_with("r3", json!({"workflow": "ct", "urgency": "stat"})).await;
    stage.run_with("other", json!({"workflow": "ct", "parameters": {"patient": "p2"}})).await;
    stage.rest().await;
    for run in ["r1", "r2", "r3", "other"] {
        assert_eq!(stage.ended(run).await, RunPhase::Succeeded, "{run}");
    }
    assert_eq!(started(&stage), ["r1", "other", "r3", "r2"]);
    let ends = |run: &str| stage.stored(run).status.unwrap().finished_at.unwrap();
    let starts = |run: &str| stage.stored(run).status.unwrap().started_at.unwrap();
    assert!(starts("r3") >= ends("r1") && starts("r2") >= ends("r3"));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn many_runs_at_once_never_exceed_the_limit() {
    let stage = prepared_with(limited(3, "Queue")).await;
    stage.world.replies("/work", [answer(200, json!({})).after(Duration::from_secs(10))]);
    for n in 0..20 {
        stage.run(&format!("r{n:02}"), "ct").await;
    }
    stage.start("op-1");
    for n in 0..20 {
        assert_eq!(stage.ended(&format!("r{n:02}")).await, RunPhase::Succeeded);
    }
    let times: Vec<_> = (0..20)
        .map(|n| stage.stored(&format!("r{n:02}")).status.unwrap())
        .map(|s| (s.started_at.unwrap(), s.finished_at.unwrap()))
        .collect();
    let together = times.iter().map(|(at, _)| times.iter().filter(|(s, e)| s <= at && at < e).count()).max();
    assert_eq!(together, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_newer_run_replaces_the_one_under_way_or_is_rejected() {
    let stage = prepared_with(limited(1, "Replace")).await;
    stage.world.replies("/work", [answer(200, json!({})).after(Duration::from_secs(600)), answer(200, json!({}))]);
    stage.start("op-1");
    stage.run("r1", "ct").await;
    stage.until("the first is at work", Duration::from_secs(30), |s| s.world.asked("/work") == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.run("r2", "ct").await;
    assert_eq!(stage.ended("r2").await, RunPhase::Succeeded);
    assert_eq!((stage.phase("r1"), stage.reason("r1").as_str()), (Some(RunPhase::Canceled), "Replaced"));

    let stage = prepared_with(limited(1, "Reject")).await;
    stage.world.replies("/work", [answer(200, json!({})).after(Duration::from_secs(60))]);
    stage.start("op-1");
    stage.run("r1", "ct").await;
    stage.until("the first is at work", Duration::from_secs(30), |s| s.world.asked("/work") == 1).await;
    stage.run("r2", "ct").await;
    assert_eq!(stage.ended("r2").await, RunPhase::Failed);
    assert_eq!(stage.reason("r2"), "ConcurrencyLimit");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn finished_runs_beyond_what_is_kept_go() {
    let spec = json!({"steps": [call("work").step()], "retention": {"succeeded": 2, "keep": "1h"}});
    let stage = prepared_with(spec).await;
    stage.start("op-1");
    for n in 0..5 {
        let name = format!("r{n}");
        stage.run(&name, "ct").await;
        stage
            .until("it has ended", Duration::from_secs(60), |s| {
                s.server.object("WorkflowRun", NAMESPACE, &name).is_none_or(|r| r["status"]["phase"] == "Succeeded")
            })
            .await;
    }
    stage.rest().await;
    let names = |s: &Stage| -> Vec<String> {
        s.server.objects("WorkflowRun").iter().map(|r| r["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&stage), ["r3", "r4"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(names(&stage).is_empty(), "an hour after its end a run goes");
}
