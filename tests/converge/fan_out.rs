//! Is a step that is done for many items done once for each, as many at a time as it may, and told in few words?

use std::{collections::BTreeMap, time::Duration};

use medley::{api::workflow_run::RunPhase, core::coordination::fan_out::indexes::Indexes};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    stage::{NAMESPACE, Stage},
    steps::{call, child, container, get, post, transform},
    undisturbed::{prepared, prepared_with},
    world::{answer, exits, hangs, refused, reset},
};

/// How often each path was asked for.
pub(crate) fn asked(stage: &Stage) -> BTreeMap<String, usize> {
    stage.world.requests().into_iter().fold(BTreeMap::new(), |mut all, r| {
        *all.entry(r.path).or_default() += 1;
        all
    })
}

pub(crate) fn items(stage: &Stage) -> Value {
    stage.step("r1", "each")["items"].clone()
}

/// A run of the workflow has begun after the operator has come to rest.
pub(crate) async fn begun(stage: &Stage) {
    stage.start("op-1");
    sleep(Duration::from_secs(30)).await;
    stage.run("r1", "ct").await;
}

/// Never were more items under way than may be, and never was an object large.
pub(crate) fn assert_bounded(stage: &Stage, parallel: u32) {
    for status in stage.history_of("r1") {
        let Some(each) = status.steps.get("each").and_then(|s| s.items.clone()) else { continue };
        let at_work = Indexes::parse(each.indexes.running.as_deref()).len();
        assert!(at_work <= parallel && each.active <= parallel, "{each:?}");
        assert!(serde_json::to_string(&status).unwrap().len() < 16 * 1024);
    }
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn each_item_is_called_once_and_some_may_fail() {
    let each = call("each")
        .path("/item/$( item )?n=$( index )")
        .each(json!({"items": "[\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"]", "maxParallel": 2, "tolerate": "50%"}));
    let stage = prepared(vec![each.output("bad", "Integer", "result.failed").step()]).await;
    stage.world.replies("/item/b?n=1", [answer(400, json!({}))]);
    stage.world.replies("/item/e?n=4", [answer(404, json!({}))]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(asked(&stage).len(), 6);
    assert!(asked(&stage).values().all(|&n| n == 1), "{:?}", asked(&stage));
    assert_eq!(stage.step("r1", "each")["outputs"]["bad"], json!(2));
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0,2-3,5", "failed": "1,4"}));
    assert_eq!(
        items(&stage)["failures"][0],
        json!({"index": 1, "reason": "Rejected", "message": "the service answered HTTP 400"})
    );
    assert_bounded(&stage, 2);
}

#[tokio::test(start_paused = true)]
async fn beyond_what_may_fail_no_item_starts_and_those_at_work_end() {
    let each = call("each").path("/item/$( index )").each(json!({"count": 100, "maxParallel": 4, "tolerate": "1"}));
    let stage = prepared(vec![each.step()]).await;
    stage.world.replies("/item/5", [answer(400, json!({}))]);
    stage.world.replies("/item/9", [answer(400, json!({}))]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    let step = stage.step("r1", "each");
    assert_eq!((step["phase"].as_str(), step["reason"].as_str()), (Some("Failed"), Some("Rejected")));
    assert!(stage.world.requests().len() < 20, "{:?}", asked(&stage));
    assert_eq!(step["items"]["indexes"]["failed"], "5,9");
    assert!(step["message"].as_str().unwrap().starts_with("2 of 100 items failed, and 1 may"), "{step}");
    assert_eq!(step["items"]["active"], json!(0));
    assert_bounded(&stage, 4);
}

#[tokio::test(start_paused = true)]
async fn an_item_is_tried_again_with_its_own_key() {
    let each = call("each").path("/item/$( index )").retries(4).each(json!({"count": 3}));
    let stage = prepared(vec![each.step()]).await;
    let replies = [refused(), answer(503, json!({})), reset(), answer(503, json!({})), answer(200, json!({}))];
    stage.world.replies("/item/1", replies);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let uid = stage.stored("r1").metadata.uid.unwrap();
    let keys: Vec<String> = stage
        .world
        .requests()
        .into_iter()
        .filter(|r| r.path == "/item/1")
        .map(|r| r.key.replace(&uid, "run"))
        .collect();
    // after the connection broke nobody knows whether it took effect: the same key, whatever comes of those that follow
    assert_eq!(keys, ["run-each.1-0", "run-each.1-1", "run-each.1-2", "run-each.1-2", "run-each.1-2"]);
    assert_bounded(&stage, 10);
}

#[tokio::test(start_paused = true)]
async fn results_that_come_together_cost_one_write() {
    for (count, parallel) in [(1000, 100), (1000, 10), (2000, 10)] {
        let wall = std::time::Instant::now();
        let each = call("each").path("/item/$( index )").each(json!({"count": count, "maxParallel": parallel}));
        let stage = prepared(vec![each.step()]).await;
        begun(&stage).await;
        assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
        stage.rest().await;
        assert!(asked(&stage).len() == count && asked(&stage).values().all(|&n| n == 1));
        let status = stage.stored("r1").status.unwrap();
        let took = status.finished_at.unwrap().duration_since(status.started_at.unwrap());
        let bound = 4 * count / parallel + usize::try_from(took.as_millis() / 100).unwrap() + 2;
        let writes = stage.status_writes();
        println!(
            "{count} calls, {parallel} at a time: {writes} status writes, bound {bound}, {took:?}, {:?} of wall time",
            wall.elapsed()
        );
        assert!(writes <= bound, "{writes} status writes, and {bound} are allowed");
        assert_bounded(&stage, u32::try_from(parallel).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_waits_for_others_is_not_asked_for_again() {
    let each = call("each").path("/item/$( index )").each(json!({"count": 12, "maxParallel": 12}));
    let stage = prepared(vec![each.step()]).await;
    // the first answer waits for a write until others have come, or for 100 ms
    for i in 0..12 {
        let after = Duration::from_millis(if i == 0 { 10 } else { 500 });
        stage.world.replies(&format!("/item/{i}"), [answer(200, json!({})).after(after)]);
    }
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!(asked(&stage).values().all(|&n| n == 1), "{:?}", asked(&stage));
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_each_item_is_done_with_one_key() {
    let workflow = || {
        vec![call("each").path("/item/$( index )").timeout("1h").each(json!({"count": 20, "maxParallel": 5})).step()]
    };
    let counts = |call: &harness::simulated::Call| {
        call.user == "op-1" && call.resource == "workflowruns" && call.subresource == "status" && call.is_write()
    };
    let mut k = 0;
    loop {
        k += 1;
        let mut died = false;
        for after in [false, true] {
            let stage = prepared(workflow()).await;
            stage.run("r1", "ct").await;
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            let over = |s: &Stage| s.world.is_dead("op-1") || s.phase("r1").is_some_and(RunPhase::is_final);
            stage.until("it dies or ends", Duration::from_secs(300), over).await;
            died |= stage.world.is_dead("op-1");
            stage.start("op-2");
            assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "write {k}");
            stage.rest().await;
            assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-19"}), "write {k}");
            let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
            stage.world.requests().into_iter().for_each(|r| keys.entry(r.path).or_default().push(r.key));
            assert_eq!(keys.len(), 20, "write {k}");
            for (path, keys) in keys {
                assert!(keys.len() <= 2 && keys.iter().all(|key| *key == keys[0]), "write {k}: {path}: {keys:?}");
            }
            assert_bounded(&stage, 5);
        }
        if !died {
            break;
        }
    }
    assert!(k > 4, "only {k} writes");
}

#[tokio::test(start_paused = true)]
async fn items_of_unknown_outcome_wait_for_a_person() {
    for (outcome, requests, end) in
        [("Succeeded", 4, RunPhase::Succeeded), ("Retry", 5, RunPhase::Succeeded), ("Failed", 4, RunPhase::Failed)]
    {
        let stage = prepared(vec![post("each").path("/item/$( index )").each(json!({"count": 4})).step()]).await;
        stage.world.replies("/item/2", [reset(), answer(200, json!({}))]);
        begun(&stage).await;
        let unknown = |s: &Stage| s.step("r1", "each")["phase"] == "Unknown";
        stage.until("nobody knows", Duration::from_secs(60), unknown).await;
        stage.rest().await;
        assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-1,3", "unknown": "2"}));
        assert_eq!(stage.reason("r1"), "OutcomeUnknown");
        let attempt = stage.step("r1", "each")["attempt"].clone();
        stage.set("r1", json!({"resolutions": [{"step": "each", "attempt": attempt, "outcome": outcome}]})).await;
        assert_eq!(stage.ended("r1").await, end, "{outcome}");
        stage.rest().await;
        assert_eq!(stage.world.requests().len(), requests, "{outcome}");
        stage.assert_monotone();
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_values_are_computed_at_once_and_fit_into_a_few_kilobytes() {
    let each = transform("each", "item % 2 == 0 ? index * 2 : index / (index % 100 - 33)")
        .each(json!({"items": "params.n", "tolerate": "1%"}))
        .output("sum", "Object", "{\"all\": result.total, \"bad\": result.failed, \"last\": result.items[9998]}");
    let spec = json!({"parameters": [{"name": "n", "type": "Integer", "default": 10000}], "steps": [each.step()]});
    let stage = prepared_with(spec).await;
    begun(&stage).await;
    let wall = std::time::Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    println!("10,000 transforms: {:?} of wall time", wall.elapsed());
    assert_eq!(stage.step("r1", "each")["outputs"]["sum"], json!({"all": 10000, "bad": 100, "last": 19996}));
    assert_eq!(items(&stage)["failures"].as_array().unwrap().len(), 10, "the rest is counted");
    let size = stage.server.object("WorkflowRun", NAMESPACE, "r1").unwrap().to_string().len();
    assert!(size < 12 * 1024, "{size}");
    assert_eq!(stage.status_writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn pods_of_many_items_are_one_job() {
    let mut each = container("each").each(json!({"count": 100, "maxParallel": 10, "tolerate": "2"})).step();
    each["retry"] = json!({"limit": 1});
    each["container"]["args"] = json!(["--part=$( index )"]);
    let stage = prepared(vec![each]).await;
    stage.world.fates("each", [super::world::works(Duration::from_secs(1), &json!({}))]);
    stage.world.fates("each[7]", [exits(1)]);
    stage.world.fates("each[8]", [exits(1), super::world::works(Duration::from_secs(1), &json!({}))]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-6,8-99", "failed": "7"}));
    assert_eq!(items(&stage)["failures"][0]["reason"], "ContainerFailed");
    let job = stage.server.object("Job", NAMESPACE, "r1-each").unwrap();
    let spec = &job["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&json!(100), &json!(10)));
    assert_eq!((&spec["backoffLimitPerIndex"], &spec["maxFailedIndexes"]), (&json!(1), &json!(2)));
    let pod = &spec["template"];
    assert_eq!(pod["spec"]["containers"][0]["args"], json!(["--part=$(JOB_COMPLETION_INDEX)"]));
    assert!(pod["metadata"]["labels"]["medley.health/run"].is_null(), "its pods wake no run");
    let of_run = |r: &harness::simulated::Record| {
        r.call.is_write()
            && r.call.user == "op-1"
            && matches!(r.call.resource.as_str(), "jobs" | "workflowruns" | "pods")
    };
    let writes = stage.server.calls().iter().filter(|r| of_run(r)).count();
    println!("100 indexed pods: {writes} writes");
    assert!(writes <= 12, "{writes} writes");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_goes_before_the_run_ends() {
    let each = container("each").each(json!({"count": 50, "maxParallel": 5}));
    let stage = prepared(vec![each.step()]).await;
    stage.world.fates("each[3]", [hangs()]);
    begun(&stage).await;
    stage.until("it runs", Duration::from_secs(60), |s| s.step("r1", "each")["phase"] == "Running").await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    assert!(stage.server.objects("Job").is_empty());
    let deleted = stage.server.calls().into_iter().filter(|r| r.call.resource == "jobs" && r.call.verb == "delete");
    assert_eq!(deleted.count(), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn too_many_failed_pods_fail_the_step() {
    let stage = prepared(vec![container("each").each(json!({"count": 30, "tolerate": "5%"})).step()]).await;
    stage.world.fates("each", [exits(3)]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert_eq!(stage.step("r1", "each")["reason"], "ContainerFailed");
    stage.assert_monotone();
}

fn parent(count: u32, parallel: u32) -> Value {
    let argument = json!([{"name": "part", "value": "index"}]);
    let each = child("each", "inner", argument).each(json!({"count": count, "maxParallel": parallel}));
    json!({"steps": [call("open").undone_by(get("/close")).step(), each.after(&["open"]).step()]})
}

async fn with_inner(outer: Value) -> Stage {
    let stage = prepared_with(outer).await;
    let inner = json!({"parameters": [{"name": "part", "type": "Integer", "required": true}],
        "steps": [call("look").path("/look/$( params.part )").step()]});
    stage.workflow_with("inner", inner).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn two_hundred_child_runs_of_one_run_succeed() {
    let stage = with_inner(parent(200, 40)).await;
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(stage.server.objects("WorkflowRun").len(), 201);
    assert_eq!(asked(&stage).values().filter(|&&n| n == 1).count(), 201, "each looked once, and the first step");
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-199"}));
    assert_bounded(&stage, 40);
}

#[tokio::test(start_paused = true)]
async fn cancelling_in_the_middle_cancels_the_child_runs_and_then_undoes() {
    let stage = with_inner(parent(30, 5)).await;
    for part in 0..30 {
        stage.world.replies(&format!("/look/{part}"), [answer(200, json!({})).after(Duration::from_secs(5))]);
    }
    begun(&stage).await;
    let middle = |s: &Stage| items(s)["succeeded"].as_u64().is_some_and(|n| n >= 10);
    stage.until("some are done", Duration::from_secs(120), middle).await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    stage.rest().await;
    assert_eq!(asked(&stage)["/close"], 1);
    assert!(asked(&stage).len() < 25, "no item started afterwards: {:?}", asked(&stage));
    for run in stage.server.objects("WorkflowRun") {
        assert!(["Succeeded", "Canceled"].contains(&run["status"]["phase"].as_str().unwrap()), "{run:#}");
    }
    assert_bounded(&stage, 5);
}

#[tokio::test(start_paused = true)]
async fn cancelling_in_the_middle_drops_the_calls() {
    let stage =
        prepared(vec![call("each").path("/item/$( index )").each(json!({"count": 50, "maxParallel": 5})).step()]).await;
    stage.world.replies("/item/12", [answer(200, json!({})).after(Duration::from_secs(20))]);
    begun(&stage).await;
    stage.until("it waits for one", Duration::from_secs(60), |s| items(s)["succeeded"] == json!(49)).await;
    stage.cancel("r1").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
    assert_eq!(items(&stage)["indexes"]["canceled"], "12");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn while_a_run_is_suspended_no_item_starts() {
    let stage =
        prepared(vec![call("each").path("/item/$( index )").each(json!({"count": 50, "maxParallel": 5})).step()]).await;
    stage.world.replies("/item/7", [answer(200, json!({})).after(Duration::from_secs(5))]);
    begun(&stage).await;
    stage.until("some are done", Duration::from_secs(60), |s| s.world.asked("/item/7") == 1).await;
    stage.set("r1", json!({"suspend": true})).await;
    sleep(Duration::from_secs(60)).await;
    let before = stage.world.requests().len();
    sleep(Duration::from_secs(600)).await;
    assert_eq!((stage.world.requests().len(), items(&stage)["active"].clone()), (before, json!(0)));
    assert!(before < 50);
    stage.set("r1", json!({"suspend": false})).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!(asked(&stage).values().all(|&n| n == 1));
}

#[tokio::test(start_paused = true)]
async fn items_wait_for_a_service_and_fail_when_it_does_not_come() {
    let each = call("each")
        .path("/item/$( index )")
        .timeout("30s")
        .each(json!({"count": 30, "maxParallel": 5, "tolerate": "7"}));
    let mut each = each.step();
    each["call"]["service"] = "nowhere".into();
    let stage = prepared(vec![each]).await;
    begun(&stage).await;
    stage.until("it waits", Duration::from_secs(10), |s| s.step("r1", "each")["phase"] == "Waiting").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    let step = stage.step("r1", "each");
    assert_eq!((step["reason"].as_str(), &step["items"]["failed"]), (Some("Connection"), &json!(8)));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn no_items_are_soon_done() {
    let stage =
        prepared(vec![call("each").each(json!({"items": "[]"})).output("n", "Integer", "result.total").step()]).await;
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!((stage.step("r1", "each")["outputs"]["n"].clone(), stage.world.requests().len()), (json!(0), 0));
}
