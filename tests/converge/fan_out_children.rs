//! Child runs as the items of a step: are they stopped in time, and made once, whatever happens on the way?

use std::{collections::BTreeMap, time::Duration};

use harness::simulated::Call;
use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    fan_out::{asked, assert_bounded, begun, items},
    stage::Stage,
    steps::{call, child},
    undisturbed::prepared_with,
    world::answer,
};

/// A cluster with a workflow whose step `each` is so many child runs, each of which asks for `/look/<part>`.
async fn family(for_each: Value, more: Value) -> Stage {
    let mut each = child("each", "inner", json!([{"name": "part", "value": "index"}])).each(for_each).step();
    each.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let stage = prepared_with(json!({"steps": [each]})).await;
    let look = call("look").path("/look/$( params.part )").timeout("1h").step();
    let inner = json!({"parameters": [{"name": "part", "type": "Integer", "required": true}], "steps": [look]});
    stage.workflow_with("inner", inner).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_child_run_that_takes_too_long_is_stopped_and_made_again() {
    let retry = json!({"limit": 1, "errors": ["Timeout"], "backoff": {"initial": "10s", "jitter": 0}});
    let stage = family(json!({"count": 6, "maxParallel": 3}), json!({"timeout": "30s", "retry": retry})).await;
    let slow = || answer(200, json!({})).after(Duration::from_secs(600));
    stage.world.replies("/look/1", [slow(), answer(200, json!({}))]);
    stage.world.replies("/look/4", [slow(), slow()]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-3,5", "failed": "4"}));
    let failure = json!({"index": 4, "reason": "Timeout", "message": "the child run did not end within 30s"});
    assert_eq!(items(&stage)["failures"], json!([failure]));
    let reason = stage.step("r1", "each")["reason"].clone();
    assert_eq!(reason, "Timeout");
    let phases: BTreeMap<String, RunPhase> =
        ["r1-each-1-1", "r1-each-1-2", "r1-each-4-1", "r1-each-4-2", "r1-each-5-1"]
            .map(|name| (name.to_owned(), stage.phase(name).unwrap()))
            .into();
    let canceled: Vec<&str> =
        phases.iter().filter(|(_, p)| **p == RunPhase::Canceled).map(|(n, _)| n.as_str()).collect();
    assert_eq!(canceled, ["r1-each-1-1", "r1-each-4-1", "r1-each-4-2"], "{phases:?}");
    assert_eq!(stage.reason("r1-each-4-2"), "ParentStopped");
    assert_bounded(&stage, 3);
}

#[tokio::test(start_paused = true)]
async fn a_child_run_that_succeeds_while_it_is_told_to_stop_has_succeeded() {
    // the child's last write and the parent's word cross each other
    let stage = family(json!({"count": 2}), json!({"timeout": "30s"})).await;
    stage.world.replies("/look/1", [answer(200, json!({})).after(Duration::from_secs(30))]);
    begun(&stage).await;
    let end = stage.ended("r1").await;
    stage.rest().await;
    let of_child = stage.phase("r1-each-1-1").unwrap();
    let (succeeded, failed) = (items(&stage)["succeeded"].clone(), items(&stage)["failed"].clone());
    match end {
        RunPhase::Succeeded => assert_eq!((of_child, succeeded), (RunPhase::Succeeded, json!(2))),
        _ => assert_eq!((of_child, failed), (RunPhase::Canceled, json!(1))),
    }
    stage.assert_monotone();
}

/// A write of the first operator that makes a run, or tells of one.
fn counts(call: &Call) -> bool {
    call.user == "op-1" && call.is_write() && call.resource == "workflowruns"
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_each_child_run_is_made_once() {
    const ITEMS: usize = 4;
    let fresh = || family(json!({"count": ITEMS, "maxParallel": 2}), json!({}));
    let mut k = 0;
    loop {
        k += 1;
        let mut died = false;
        for after in [false, true] {
            let what = format!("killed {} write {k}", if after { "after" } else { "before" });
            let stage = fresh().await;
            stage.run("r1", "ct").await;
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            let over = |s: &Stage| s.world.is_dead("op-1") || s.phase("r1").is_some_and(RunPhase::is_final);
            stage.until(&what, Duration::from_secs(300), over).await;
            died |= stage.world.is_dead("op-1");
            stage.start("op-2");
            assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{what}");
            sleep(Duration::from_secs(5)).await;
            assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-3"}), "{what}");
            let made = |r: &&harness::simulated::Record| {
                r.call.resource == "workflowruns" && r.call.verb == "create" && r.changed && r.call.user != "somebody"
            };
            let mut names: Vec<String> =
                stage.server.calls().iter().filter(made).map(|r| r.call.name.clone()).collect();
            names.sort();
            let wanted: Vec<String> = (0..ITEMS).map(|i| format!("r1-each-{i}-1")).collect();
            assert_eq!(names, wanted, "{what}");
            for run in stage.server.objects("WorkflowRun") {
                assert_eq!(run["status"]["phase"], "Succeeded", "{what}: {run:#}");
            }
            // a call may be repeated after the crash, and then with the same key
            let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
            stage.world.requests().into_iter().for_each(|r| keys.entry(r.path).or_default().push(r.key));
            assert_eq!(keys.len(), ITEMS, "{what}: {:?}", asked(&stage));
            for (path, keys) in keys {
                assert!(keys.len() <= 2 && keys.iter().all(|key| *key == keys[0]), "{what}: {path}: {keys:?}");
            }
            assert_bounded(&stage, 2);
        }
        if !died {
            break;
        }
    }
    println!("{} writes, each crashed before and after", k - 1);
    assert!(k > 2 * ITEMS, "only {k} writes");
}
