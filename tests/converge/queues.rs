//! Do calls wait for their turn, go to whom they should, and is no turn lost?

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::simulated::Call;
use kube::{Api, api::DeleteParams};
use medley::api::{ServicePolicy, workflow_run::RunPhase};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    capacity::run,
    stage::{NAMESPACE, Stage},
    steps::{call, post},
    world::{answer, refused},
};

/// A cluster whose service `archive` has these endpoints and says so much of its capacity.
pub(super) async fn bounded(hosts: &[&str], capacity: Value) -> Stage {
    let stage = Stage::new();
    stage.bounded_service("archive", hosts, capacity).await;
    stage
}

pub(super) fn reads(seconds: u64) -> super::world::Reply {
    answer(200, json!({})).after(Duration::from_secs(seconds))
}

pub(super) async fn all_succeed(stage: &Stage, runs: &[&str]) {
    for run in runs {
        assert_eq!(stage.ended(run).await, RunPhase::Succeeded, "{run}");
    }
}

/// When a run's call began, in milliseconds.
fn began(stage: &Stage, run: &str) -> i64 {
    let all = stage.history_of(run);
    let mut starts =
        all.iter().flat_map(|s| s.steps.values()).filter(|s| s.target.is_some()).filter_map(|s| s.started_at);
    starts.next().unwrap_or_else(|| panic!("{run} did not call")).as_millisecond()
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_no_more_calls_than_it_takes_and_the_most_urgent_first() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 2})).await;
    stage.world.replies("/read", [reads(10)]);
    stage.workflow("ct", [call("read").step()]).await;
    let started = stage.start("op-1");
    let shows = |waiting: u32, at_work: u32| {
        let text = started.metrics.render();
        for (name, count) in [("waiting", waiting), ("at_work", at_work)] {
            let line =
                format!("medley_service_calls_{name}{{namespace=\"{NAMESPACE}\",service=\"archive\"}} {count}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
    };
    let names = ["r1", "r2", "r3", "r4", "r5"];
    for name in names {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    stage.until("two are at work", Duration::from_secs(60), |s| s.world.asked("/read") == 2).await;
    for (name, urgency) in [("old", "batch"), ("soon", "urgent"), ("now", "stat")] {
        run(&stage, name, "ct", urgency).await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(6)).await;
    shows(6, 2);
    all_succeed(&stage, &names).await;
    all_succeed(&stage, &["old", "soon", "now"]).await;
    sleep(Duration::from_secs(6)).await;
    shows(0, 0);
    let mut order = ["old", "soon", "now", "r5"];
    order.sort_by_key(|name| stage.stored(name).status.unwrap().finished_at);
    assert_eq!(order, ["now", "soon", "r5", "old"]);
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 2);
    assert_eq!(stage.history_of("now").len(), 2, "a wait that is soon over costs no write");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn places_that_are_reserved_are_for_stat_alone() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1, "statReserve": 1})).await;
    stage.world.replies("/read", [reads(30)]);
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "routine").await;
    run(&stage, "r2", "ct", "asap").await;
    stage.until("one is at work", Duration::from_secs(60), |s| s.world.asked("/read") == 1).await;
    sleep(Duration::from_secs(5)).await;
    run(&stage, "now", "ct", "stat").await;
    stage.until("stat is at work, too", Duration::from_secs(1), |s| s.world.asked("/read") == 2).await;
    all_succeed(&stage, &["r1", "r2", "now"]).await;
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_long_is_told_where_it_stands_and_for_what() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(25)]);
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    stage.until("r4 is told", Duration::from_secs(30), |s| s.step("r4", "read")["admission"] != Value::Null).await;
    let step = stage.step("r4", "read");
    assert_eq!(
        (&step["phase"], &step["admission"]["reason"], &step["admission"]["position"]),
        (&json!("Waiting"), &json!("ServiceBusy"), &json!(2)),
        "one at work, one with its turn ahead, one before it"
    );
    assert_eq!(step["message"], "waits for its turn: its service has as many calls as it is sent at a time");
    assert_eq!((stage.phase("r4"), stage.reason("r4").as_str()), (Some(RunPhase::Pending), "WaitingForCapacity"));
    all_succeed(&stage, &["r1", "r2", "r3", "r4"]).await;
    assert_eq!(stage.step("r4", "read")["admission"], Value::Null);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn too_many_and_those_that_wait_too_long_are_refused_and_try_again() {
    let capacity = json!({"concurrency": 1, "queue": {"max": 2, "timeout": "30s"}});
    let stage = bounded(&["10.0.0.1"], capacity).await;
    stage.world.replies("/read", [reads(20)]);
    stage.workflow("ct", [call("read").retries(1).step()]).await;
    stage.workflow("once", [call("read").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "once", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    run(&stage, "r5", "ct", "routine").await;
    stage.until("r5 is refused", Duration::from_secs(5), |s| s.step("r5", "read")["phase"] == "Retrying").await;
    let step = stage.step("r5", "read");
    assert_eq!(
        (&step["reason"], step["message"].as_str().unwrap()),
        (&json!("Overloaded"), "2 steps wait for MedicalService `archive`, and more may not (queue.max)")
    );
    all_succeed(&stage, &["r1", "r2"]).await;
    // r3 had its turn ahead after 20 s; r4 stood for longer than it may
    all_succeed(&stage, &["r3"]).await;
    assert_eq!(stage.ended("r4").await, RunPhase::Failed);
    let step = stage.step("r4", "read");
    assert_eq!(
        (&step["reason"], step["message"].as_str().unwrap()),
        (&json!("Overloaded"), "it has waited for MedicalService `archive` for 30s (queue.timeout)")
    );
    stage.ended("r5").await;
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_or_deleted_leaves_the_queue() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(600)]);
    stage.workflow("ct", [call("read").timeout("1h").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4", "r5"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    stage.until("one is at work", Duration::from_secs(60), |s| s.world.asked("/read") == 1).await;
    // r2 has its turn ahead, r3 and r4 wait
    stage.cancel("r3").await;
    stage.cancel("r2").await;
    stage.server.delete("WorkflowRun", NAMESPACE, "r4", 0).unwrap();
    sleep(Duration::from_secs(1)).await;
    stage.cancel("r1").await;
    let next = |s: &Stage| s.world.asked("/read") == 2;
    stage.until("r5 is at work", Duration::from_secs(2), next).await;
    assert_eq!(stage.step("r5", "read")["phase"], "Starting");
    for name in ["r1", "r2", "r3"] {
        assert_eq!(stage.ended(name).await, RunPhase::Canceled, "{name}");
    }
    assert_eq!(stage.ended("r5").await, RunPhase::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn the_items_of_a_step_share_a_service_with_others() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 2})).await;
    stage.world.answers(|_, _| reads(4));
    stage.workflow("many", [call("part").each(json!({"count": 20, "maxParallel": 10})).step()]).await;
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    run(&stage, "m", "many", "routine").await;
    stage
        .until("it has begun", Duration::from_secs(60), |s| s.step("m", "part")["items"]["active"] != Value::Null)
        .await;
    run(&stage, "r1", "ct", "routine").await;
    all_succeed(&stage, &["r1"]).await;
    assert_eq!(stage.phase("m"), Some(RunPhase::Running), "one call does not wait for all items");
    all_succeed(&stage, &["m"]).await;
    assert_eq!(stage.step("m", "part")["items"]["succeeded"], json!(20));
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 2);
    assert!(
        stage.history_of("m").len() < 45,
        "a write for each item that starts at most: {}",
        stage.history_of("m").len()
    );
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_left_alone_for_a_while() {
    let breaker = json!({"breaker": {"failures": 3, "pause": "10m"}});
    let stage = bounded(&["10.0.0.1", "10.0.0.2"], breaker).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    stage.world.answers(move |call, _| {
        if call.endpoint.ip().to_string() == "10.0.0.1" {
            count.fetch_add(1, Ordering::Relaxed);
            return refused();
        }
        reads(1)
    });
    stage.workflow("ct", [call("read").retries(5).step()]).await;
    let started = stage.start("op-1");
    let names: Vec<String> = (0..20).map(|i| format!("r{i}")).collect();
    for name in &names {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_secs(2)).await;
    }
    for name in &names {
        assert_eq!(stage.ended(name).await, RunPhase::Succeeded, "{name}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3, "after the third failure it was left alone");
    assert_eq!(started.metrics.endpoints_paused.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_endpoints_are_left_alone_calls_wait_until_one_is_tried() {
    let stage = bounded(&["10.0.0.1"], json!({"breaker": {"failures": 2, "pause": "1m"}})).await;
    stage.world.replies("/read", [answer(503, json!({})), answer(500, json!({})), reads(1)]);
    stage.workflow("ct", [call("read").retries(4).step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "routine").await;
    stage.until("it has failed twice", Duration::from_secs(60), |s| s.world.asked("/read") == 2).await;
    sleep(Duration::from_secs(45)).await;
    let step = stage.step("r1", "read");
    assert_eq!((&step["phase"], &step["admission"]["reason"]), (&json!("Waiting"), &json!("ServicePaused")), "{step}");
    all_succeed(&stage, &["r1"]).await;
    assert_eq!(stage.step("r1", "read")["attempt"], json!(3), "waiting costs no attempt");
}

#[tokio::test(start_paused = true)]
async fn a_policy_bounds_the_services_that_it_selects_and_their_status_names_it() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 8, "rate": {"calls": 1000, "per": "1s"}})).await;
    stage.create::<ServicePolicy>("gentle", json!({"calls": {"concurrency": 1, "statReserve": 0}})).await;
    let other = json!({"selector": {"matchLabels": {"old": "yes"}}, "calls": {"rate": {"calls": 1, "per": "1h"}}});
    stage.create::<ServicePolicy>("other", other).await;
    stage.world.replies("/read", [reads(3600)]);
    stage.workflow("ct", [call("read").timeout("2h").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
    }
    stage.until("one is at work", Duration::from_secs(60), |s| s.world.asked("/read") == 1).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(stage.world.asked("/read"), 1);
    let service = stage.server.object("MedicalService", NAMESPACE, "archive").unwrap();
    assert_eq!(service["status"]["decidedBy"], json!({"concurrency": "gentle"}));
    let policies: Api<ServicePolicy> = Api::namespaced(stage.server.client_as("admin"), NAMESPACE);
    policies.delete("gentle", &DeleteParams::default()).await.unwrap();
    stage.until("all are at work", Duration::from_secs(5), |s| s.world.asked("/read") == 4).await;
    let service =
        |s: &Stage| s.server.object("MedicalService", NAMESPACE, "archive").unwrap()["status"]["decidedBy"].clone();
    stage.until("no policy decides", Duration::from_secs(5), |s| service(s) == Value::Null).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_service_that_goes_says_so_and_goes_on_when_it_comes_back() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(30)]);
    stage.workflow("ct", [call("read").timeout("10m").step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    stage.until("one is at work", Duration::from_secs(60), |s| s.world.asked("/read") == 1).await;
    stage.world.set_well("10.0.0.1", false);
    let message = "MedicalService `archive` has no endpoint that is ready";
    stage.until("r3 says why", Duration::from_secs(30), |s| s.step("r3", "read")["message"] == message).await;
    stage.world.set_well("10.0.0.1", true);
    all_succeed(&stage, &["r1", "r2", "r3"]).await;
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn what_holds_capacity_and_calls_has_both_before_it_begins() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    let pool = json!({"resources": {"slots": "2"}, "shares": [{"name": "imaging"}]});
    super::capacity::give_capacity(&stage, pool, json!({"pool": "main"})).await;
    stage.world.replies("/read", [reads(20)]);
    stage.workflow("ct", [call("read").with("holds", json!({"slots": "1"})).step()]).await;
    stage.start("op-1");
    let names = ["r1", "r2", "r3", "r4"];
    for name in names {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    all_succeed(&stage, &names).await;
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 1);
    let begins: Vec<i64> = names.iter().map(|name| began(&stage, name)).collect();
    assert!(begins.is_sorted(), "{begins:?}");
    stage.assert_monotone();
}

/// A write that moves a run.
fn counts(call: &Call) -> bool {
    call.user == "op-1" && call.is_write() && call.resource == "workflowruns"
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_write_every_call_is_made_and_none_too_many_at_a_time() {
    let scene = async |stage: &Stage| {
        stage.world.replies("/read", [reads(5)]);
        stage.world.replies("/store", [reads(5)]);
        stage.workflow("ct", [call("read").step(), post("store").step()]).await;
        for name in ["r1", "r2", "r3"] {
            run(stage, name, "ct", "routine").await;
        }
        stage.start("op-1");
    };
    let capacity = json!({"concurrency": 1});
    let stage = bounded(&["10.0.0.1"], capacity.clone()).await;
    scene(&stage).await;
    all_succeed(&stage, &["r1", "r2", "r3"]).await;
    let writes = stage.server.calls().iter().filter(|r| counts(&r.call)).count();
    for k in 1..=writes {
        // each write is tried in one of the two ways
        let after = k % 2 == 0;
        let what = format!("killed {} write {k} of {writes}", if after { "after" } else { "before" });
        let stage = bounded(&["10.0.0.1"], capacity.clone()).await;
        stage.world.dies_at("op-1", k, after, counts);
        scene(&stage).await;
        stage.start("op-2");
        for run in ["r1", "r2", "r3"] {
            // what may take effect once at most and was under way then is nobody's to repeat
            let settled = |s: &Stage| {
                s.phase(run) == Some(RunPhase::Succeeded)
                    || (s.step(run, "store")["phase"] == "Unknown" && s.step(run, "read")["phase"] == "Succeeded")
            };
            stage.until(&format!("{what}: {run}"), Duration::from_secs(600), settled).await;
        }
        for operator in ["op-1", "op-2"] {
            assert!(stage.world.most_at_work(operator, "10.0.0.1") <= 1, "{what}: {operator}");
        }
        stage.assert_monotone();
    }
}
