//! Pods as the items of a step: do the Job's deadlines hold, what does a pod cost that is taken away, and does a Job get the run's
//! volume?

use std::time::Duration;

use harness::simulated::Call;
use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    fan_out::{begun, items},
    stage::{NAMESPACE, Stage},
    steps::{call, container},
    undisturbed::{prepared, prepared_with},
    world::{evicted, hangs, unplaced, works},
};

fn job(stage: &Stage) -> Value {
    stage.server.object("Job", NAMESPACE, "r1-each").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_has_the_steps_timeout_and_its_item_fails_beyond_it() {
    let each = container("each").timeout("30s").each(json!({"count": 6, "maxParallel": 3, "tolerate": "1"}));
    let stage = prepared(vec![each.step()]).await;
    stage.world.fates("each[2]", [hangs()]);
    begun(&stage).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-1,3-5", "failed": "2"}));
    let spec = &job(&stage)["spec"];
    assert_eq!(spec["template"]["spec"]["activeDeadlineSeconds"], json!(30));
    assert_eq!(spec["activeDeadlineSeconds"], json!(60), "two rounds of three pods");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_pods_find_no_place_ends_at_its_deadline() {
    let each = container("each").timeout("30s").each(json!({"count": 6, "maxParallel": 3}));
    let stage = prepared(vec![each.step(), call("next").after(&["each"]).step()]).await;
    stage.world.fates("each[4]", [unplaced()]);
    begun(&stage).await;
    let made = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    assert!((58..65).contains(&made.elapsed().as_secs()), "{:?}", made.elapsed());
    let step = stage.step("r1", "each");
    assert_eq!((step["phase"].as_str(), step["reason"].as_str()), (Some("Failed"), Some("Timeout")));
    assert!(step["message"].as_str().unwrap().contains("DeadlineExceeded"), "{step}");
    assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-3,5"}));
    assert_eq!(stage.world.asked("/next"), 0);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_ends_is_stopped() {
    let each = container("unseen").timeout("30s").each(json!({"count": 2}));
    let stage = prepared(vec![each.step()]).await;
    begun(&stage).await;
    let made = Instant::now();
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    // a minute is the Job controller's to say that it has ended
    assert!((88..95).contains(&made.elapsed().as_secs()), "{:?}", made.elapsed());
    assert_eq!(stage.step("r1", "unseen")["reason"], "Timeout");
    stage.until("the Job is gone", Duration::from_secs(30), |s| s.server.objects("Job").is_empty()).await;
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_taken_away_costs_nothing_where_the_step_is_interruptible() {
    for interruptible in [true, false] {
        let mut each = container("each").each(json!({"count": 4, "maxParallel": 2})).step();
        each["interruptible"] = json!(interruptible);
        let stage = prepared(vec![each]).await;
        let away = || evicted(Duration::from_secs(3));
        stage.world.fates("each[1]", [away(), away(), works(Duration::from_secs(1), &json!({}))]);
        begun(&stage).await;
        let end = stage.ended("r1").await;
        let rules = &job(&stage)["spec"]["podFailurePolicy"]["rules"];
        if interruptible {
            assert_eq!((end, &items(&stage)["succeeded"]), (RunPhase::Succeeded, &json!(4)));
            assert_eq!(rules[0]["action"], "Ignore");
            assert_eq!(rules[0]["onPodConditions"][0]["type"], "DisruptionTarget");
        } else {
            assert_eq!((end, &items(&stage)["failed"]), (RunPhase::Failed, &json!(1)));
            assert_eq!(*rules, Value::Null);
        }
        stage.assert_monotone();
    }
}

/// A pod that writes, and a pod for each part that reads.
fn with_volume() -> Value {
    json!({
        "workspace": {"size": "1Gi", "mountPath": "/data"},
        "steps": [
            container("each").each(json!({"count": 3})).step(),
            container("sum").after(&["each"]).step(),
        ],
    })
}

fn claims(stage: &Stage) -> Vec<Value> {
    stage.server.objects("PersistentVolumeClaim")
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_job_have_the_runs_volume() {
    let stage = prepared_with(with_volume()).await;
    stage.world.fates("each", [works(Duration::from_secs(20), &json!({}))]);
    stage.run("r1", "ct").await;
    stage.start("op-1");
    stage.until("the Job is at work", Duration::from_secs(60), |s| s.step("r1", "each")["phase"] == "Running").await;
    let [claim] = claims(&stage).try_into().unwrap();
    assert_eq!(claim["metadata"]["name"], "r1-workspace");
    let pod = job(&stage)["spec"]["template"]["spec"].clone();
    let volume = json!([{"name": "workspace", "persistentVolumeClaim": {"claimName": "r1-workspace"}}]);
    assert_eq!(pod["volumes"], volume);
    assert_eq!(pod["containers"][0]["volumeMounts"], json!([{"name": "workspace", "mountPath": "/data"}]));
    let made: Vec<String> = stage
        .calls_of("op-1")
        .into_iter()
        .filter(|r| r.call.verb == "create" && r.changed)
        .map(|r| r.call.resource)
        .filter(|kind| kind == "jobs" || kind == "persistentvolumeclaims")
        .collect();
    assert_eq!(made, ["persistentvolumeclaims", "jobs"], "the claim is there first, and made once");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    stage.rest().await;
    assert_eq!(claims(&stage), Vec::<Value>::new());
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_a_job_leaves_no_volume_behind_and_is_made_once() {
    let counts = |call: &Call| call.user == "op-1" && call.is_write() && !call.is_event() && call.resource != "leases";
    let mut k = 0;
    loop {
        k += 1;
        let mut died = false;
        for after in [false, true] {
            let what = format!("killed {} write {k}", if after { "after" } else { "before" });
            let stage = prepared_with(with_volume()).await;
            stage.run("r1", "ct").await;
            stage.world.dies_at("op-1", k, after, counts);
            stage.start("op-1");
            let over = |s: &Stage| s.world.is_dead("op-1") || s.phase("r1").is_some_and(RunPhase::is_final);
            stage.until(&what, Duration::from_secs(300), over).await;
            died |= stage.world.is_dead("op-1");
            stage.start("op-2");
            assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "{what}");
            sleep(Duration::from_secs(5)).await;
            assert_eq!(items(&stage)["indexes"], json!({"succeeded": "0-2"}), "{what}");
            assert_eq!((claims(&stage), stage.server.objects("Pod")), (Vec::new(), Vec::new()), "{what}");
            let jobs = stage
                .server
                .calls()
                .into_iter()
                .filter(|r| r.call.resource == "jobs" && r.call.verb == "create" && r.changed);
            assert_eq!(jobs.count(), 1, "{what}");
            assert_eq!(stage.pods_created(), ["r1-sum-1"], "{what}");
            stage.assert_monotone();
        }
        if !died {
            break;
        }
    }
    println!("{} writes, each crashed before and after", k - 1);
    assert!(k > 7, "only {k} writes");
}
