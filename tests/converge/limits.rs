//! Is no more at work than policies allow, the most urgent first, whatever happens?

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use medley::api::{ServicePolicy, workflow_run::RunPhase};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    capacity::{give_capacity, run},
    queues::{all_succeed, reads},
    stage::{NAMESPACE, Stage},
    steps::{call, child, container},
    world::{answer, works},
};

/// A cluster of which a policy allows so much to be at work.
async fn limited(limits: Value) -> Stage {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1"]).await;
    stage.create::<ServicePolicy>("few", json!({ "scheduling": { "limits": limits } })).await;
    stage
}

/// Runs under way, as their statuses tell, at most at a time.
fn most_runs(stage: &Stage, of: impl Fn(&str) -> bool) -> usize {
    let mut under_way: BTreeMap<String, bool> = BTreeMap::new();
    let mut most = 0;
    stage.each_version(|run| {
        let name = run.metadata.name.clone().unwrap();
        let status = run.status.as_ref();
        let is = status.is_some_and(|s| s.started_at.is_some() && s.finished_at.is_none());
        if of(&name) {
            under_way.insert(name, is);
        }
        most = most.max(under_way.values().filter(|is| **is).count());
    });
    most
}

/// Steps and items that work, as statuses tell, at most at a time.
fn most_steps(stage: &Stage) -> u32 {
    let mut at_work: BTreeMap<String, u32> = BTreeMap::new();
    let mut most = 0;
    stage.each_version(|run| {
        let steps = run.status.iter().flat_map(|s| s.steps.values()).filter(|s| s.phase.is_at_work());
        let parts = steps.map(|s| s.capacity.as_ref().map_or(1, |c| c.parts.unwrap_or(1)));
        at_work.insert(run.metadata.name.clone().unwrap(), parts.sum());
        most = most.max(at_work.values().sum());
    });
    most
}

#[tokio::test(start_paused = true)]
async fn so_many_runs_are_under_way_and_the_most_urgent_begin_first() {
    let stage = limited(json!({"runs": 2})).await;
    stage.world.replies("/read", [reads(20)]);
    stage.workflow("part", [call("read").step()]).await;
    stage.workflow("ct", [child("part", "part", json!([])).step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    stage.until("two are under way", Duration::from_secs(30), |s| s.world.asked("/read") == 2).await;
    run(&stage, "now", "ct", "stat").await;
    assert_eq!(stage.phase("r3"), None, "a wait that is new is not told");
    sleep(Duration::from_secs(16)).await;
    assert_eq!((stage.phase("r3"), stage.reason("r3").as_str()), (Some(RunPhase::Pending), "WaitingForCapacity"));
    let told = json!(stage.stored("r3").status.unwrap().admission);
    assert_eq!((&told["reason"], &told["position"]), (&json!("PolicyLimit"), &json!(2)), "{told}");
    all_succeed(&stage, &["r1", "r2", "r3", "r4", "now"]).await;
    assert_eq!(most_runs(&stage, |name| !name.contains("-part-")), 2, "a run that is part of another counts with that");
    let ends = |name: &str| stage.stored(name).status.unwrap().finished_at;
    assert!(ends("now") < ends("r3") && ends("r3") < ends("r4"));
    assert_eq!(json!(stage.stored("r3").status.unwrap().admission), Value::Null);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn so_many_pods_are_at_work_and_what_is_urgent_displaces() {
    let stage = limited(json!({"pods": 3})).await;
    stage.world.fates("scan", [works(Duration::from_secs(60), &json!({}))]);
    stage.workflow("ct", [container("scan").with("interruptible", json!(true)).step()]).await;
    stage.workflow("many", [container("scan").each(json!({"count": 6, "maxParallel": 6})).step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "batch").await;
    sleep(Duration::from_secs(1)).await;
    run(&stage, "m", "many", "routine").await;
    stage.until("the items have begun", Duration::from_secs(30), |s| s.step("m", "scan")["job"] != Value::Null).await;
    assert_eq!(stage.step("m", "scan")["capacity"]["parts"], json!(2), "as many as there is room for");
    let job = stage.server.objects("Job").remove(0);
    assert_eq!(job["spec"]["parallelism"], json!(2));
    run(&stage, "now", "ct", "stat").await;
    stage.until("it is at work", Duration::from_secs(5), |s| s.step("now", "scan")["phase"] == "Starting").await;
    all_succeed(&stage, &["now", "m", "r1"]).await;
    assert_eq!(stage.step("r1", "scan")["attempt"], json!(2), "it has given way");
    assert_eq!(most_steps(&stage), 3);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_are_at_work_whichever_services_they_go_to() {
    let stage = limited(json!({"calls": 3})).await;
    stage.service("other", &["10.0.0.2"]).await;
    for path in ["/read", "/part"] {
        stage.world.replies(path, [reads(5)]);
    }
    let elsewhere = json!({"name": "read", "call": {"service": "other", "http": {"path": "/read"}}});
    stage.workflow("ct", [call("read").step()]).await;
    stage.workflow("mr", [elsewhere]).await;
    stage.workflow("many", [call("part").each(json!({"count": 9, "maxParallel": 9})).step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2"] {
        run(&stage, name, if name == "r1" { "ct" } else { "mr" }, "routine").await;
    }
    stage.until("both are at work", Duration::from_secs(30), |s| s.world.asked("/read") == 2).await;
    run(&stage, "m", "many", "routine").await;
    run(&stage, "r3", "mr", "urgent").await;
    all_succeed(&stage, &["r1", "r2", "r3", "m"]).await;
    assert!(most_steps(&stage) <= 3, "{}", most_steps(&stage));
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|at| stage.world.most_at_work("op-1", at));
    assert!(a <= 3 && b <= 2, "{a} {b}");
    assert_eq!(stage.step("m", "part")["items"]["succeeded"], json!(9));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_limit_holds_at_once_and_all_that_hold_count() {
    let stage = limited(json!({"runs": 1})).await;
    let labels = json!({"matchLabels": {"kind": "none"}});
    let other = json!({"selector": labels, "scheduling": {"limits": {"runs": 1}}});
    stage.create::<ServicePolicy>("other", other).await;
    stage.world.replies("/read", [reads(3600)]);
    stage.workflow("ct", [call("read").timeout("2h").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
    }
    let at_work = |n: usize| move |s: &Stage| s.world.asked("/read") == n;
    stage.until("one is at work", Duration::from_secs(30), at_work(1)).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(stage.world.asked("/read"), 1);
    assert_eq!(json!(stage.stored("r1").status.unwrap().decided_by), json!({"limits.runs": "few"}));
    let policies: Api<ServicePolicy> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    let more = json!({"spec": {"scheduling": {"limits": {"runs": 2}}}});
    policies.patch("few", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    stage.until("two are at work", Duration::from_secs(5), at_work(2)).await;
    policies.delete("few", &DeleteParams::default()).await.unwrap();
    stage.until("all are at work", Duration::from_secs(5), at_work(4)).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_limit_keeps_nothing_of_a_pool() {
    let stage = limited(json!({"pods": 1})).await;
    let pool = json!({"resources": {"slots": "2"}, "shares": [{"name": "imaging"}]});
    give_capacity(&stage, pool, json!({"pool": "main"})).await;
    stage.world.fates("scan", [works(Duration::from_secs(60), &json!({}))]);
    stage.workflow("ct", [container("scan").with("holds", json!({"slots": "1"})).step()]).await;
    stage.workflow("wait", [super::capacity::held("rest", 5).step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "urgent").await;
    stage.until("one is at work", Duration::from_secs(30), |s| s.step("r1", "scan")["phase"] == "Running").await;
    run(&stage, "r2", "ct", "urgent").await;
    sleep(Duration::from_secs(1)).await;
    run(&stage, "old", "wait", "batch").await;
    all_succeed(&stage, &["old"]).await;
    assert_eq!(stage.phase("r1"), Some(RunPhase::Running), "it did not wait for those that are limited");
    all_succeed(&stage, &["r1", "r2"]).await;
    assert_eq!(stage.step("r2", "scan")["capacity"], Value::Null);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_no_limit_is_exceeded() {
    let scene = async |stage: &Stage| {
        stage.world.replies("/read", [reads(5)]);
        stage.world.fates("scan", [works(Duration::from_secs(5), &json!({}))]);
        stage.workflow("ct", [container("scan").step(), call("read").after(&["scan"]).step()]).await;
        for name in ["r1", "r2", "r3", "r4"] {
            run(stage, name, "ct", "routine").await;
        }
        stage.start("op-1");
    };
    let counts =
        |call: &harness::simulated::Call| call.user == "op-1" && call.resource == "workflowruns" && call.is_write();
    let limits = json!({"runs": 2, "pods": 1, "calls": 1});
    let stage = limited(limits.clone()).await;
    scene(&stage).await;
    all_succeed(&stage, &["r1", "r2", "r3", "r4"]).await;
    let writes = stage.server.calls().iter().filter(|r| counts(&r.call)).count();
    for k in 1..=writes {
        let after = k % 2 == 0;
        let what = format!("killed {} write {k} of {writes}", if after { "after" } else { "before" });
        let stage = limited(limits.clone()).await;
        stage.world.dies_at("op-1", k, after, counts);
        scene(&stage).await;
        stage.start("op-2");
        all_succeed(&stage, &["r1", "r2", "r3", "r4"]).await;
        assert_eq!((most_runs(&stage, |_| true), most_steps(&stage) <= 2), (2, true), "{what}");
        stage.assert_monotone();
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_are_tried_again_exceed_no_limit_and_all_are_done() {
    let stage = limited(json!({"calls": 3})).await;
    let fails: Vec<_> = (0..4).map(|_| answer(503, json!({}))).collect();
    stage.world.replies("/part", fails.into_iter().chain([reads(4)]));
    stage.world.replies("/read", [reads(30)]);
    stage.workflow("many", [call("part").each(json!({"count": 12, "maxParallel": 4})).retries(5).step()]).await;
    stage.workflow("ct", [call("read").timeout("1m").step()]).await;
    stage.start("op-1");
    run(&stage, "m", "many", "routine").await;
    stage.until("they have failed", Duration::from_secs(30), |s| s.step("m", "part")["phase"] == "Retrying").await;
    for name in ["r1", "r2"] {
        run(&stage, name, "ct", "urgent").await;
    }
    all_succeed(&stage, &["r1", "r2", "m"]).await;
    assert!(stage.world.most_at_work("op-1", "10.0.0.1") <= 3);
    assert_eq!(stage.step("m", "part")["items"]["succeeded"], json!(12));
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn items_wait_for_a_busy_service_within_a_limit_and_a_suspended_run_keeps_nothing() {
    let stage = limited(json!({"calls": 2})).await;
    stage.bounded_service("slow", &["10.0.0.3"], json!({"concurrency": 1})).await;
    for path in ["/part", "/read"] {
        stage.world.replies(path, [reads(25)]);
    }
    let slow = |step: &str| json!({"name": step, "call": {"service": "slow", "http": {"path": format!("/{step}")}}, "timeout": "1m"});
    let mut each = slow("part");
    each["forEach"] = json!({"count": 3, "maxParallel": 2});
    stage.workflow("many", [each]).await;
    stage.workflow("ct", [slow("read")]).await;
    stage.workflow("other", [call("read").timeout("1m").step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "urgent").await;
    stage.until("the service is busy", Duration::from_secs(30), |s| s.world.asked("/read") == 1).await;
    run(&stage, "m", "many", "routine").await;
    stage.until("an item is at work", Duration::from_secs(120), |s| s.world.asked("/part") == 1).await;
    stage.set("m", json!({"suspend": true})).await;
    let idle = |s: &Stage| {
        s.step("m", "part")["items"]["succeeded"] == json!(1) && s.step("m", "part")["capacity"] == Value::Null
    };
    stage.until("nothing of it is at work", Duration::from_secs(120), idle).await;
    for name in ["r2", "r3"] {
        run(&stage, name, "other", "routine").await;
    }
    all_succeed(&stage, &["r1", "r2", "r3"]).await;
    stage.set("m", json!({"suspend": false})).await;
    for name in ["r4", "r5", "r6"] {
        run(&stage, name, "ct", "asap").await;
    }
    all_succeed(&stage, &["m", "r4", "r5", "r6"]).await;
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_begin_leaves_its_place_to_others() {
    let stage = limited(json!({"runs": 1})).await;
    let pool = json!({"resources": {"slots": "2"}, "shares": [{"name": "imaging"}]});
    give_capacity(&stage, pool, json!({"pool": "main"})).await;
    let large = json!({"name": "rest", "holds": {"slots": "9"}, "wait": {"for": "1s"}});
    stage.workflow("large", [large]).await;
    stage.workflow("small", [super::capacity::held("rest", 5).step()]).await;
    stage.start("op-1");
    run(&stage, "never", "large", "stat").await;
    stage.until("it is told", Duration::from_secs(60), |s| s.step("never", "rest")["admission"] != Value::Null).await;
    run(&stage, "r1", "small", "routine").await;
    all_succeed(&stage, &["r1"]).await;
}
