//! Is a turn to call lost, or kept from others, when looks fail, effects fail, or runs stop?

use std::time::Duration;

use harness::simulated::{Call, Fault};
use medley::{api::workflow_run::RunPhase, telemetry};
use serde_json::json;
use tokio::time::sleep;

use super::{
    capacity::run,
    queues::{all_succeed, bounded, reads},
    stage::Stage,
    steps::{call, container, get},
};

fn fails() -> Fault {
    Fault::Respond { code: 500, reason: "InternalError".to_owned(), retry_after: None }
}

fn writes_status(call: &Call, run: &str) -> bool {
    call.user == "op-1" && call.subresource == "status" && call.resource == "workflowruns" && call.name.starts_with(run)
}

#[tokio::test(start_paused = true)]
async fn items_that_are_refused_before_any_has_begun_are_tried_again_later() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1, "queue": {"max": 1}})).await;
    for path in ["/read", "/part"] {
        stage.world.replies(path, [reads(5)]);
    }
    stage.workflow("ct", [call("read").step()]).await;
    let items = json!({"count": 3, "maxParallel": 3});
    stage.workflow("many", [call("part").each(items).retries(8).step()]).await;
    let started = stage.start("op-1");
    for name in ["r1", "r2", "r3"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    run(&stage, "m", "many", "routine").await;
    stage.until("it is refused", Duration::from_secs(2), |s| s.step("m", "part")["phase"] == "Retrying").await;
    let items = &stage.step("m", "part")["items"];
    assert_eq!(items["attempts"][0]["indexes"], "0-2", "all that it had ready, in one write: {items}");
    all_succeed(&stage, &["r1", "r2", "r3", "m"]).await;
    let looks = telemetry::Reconcile { kind: "WorkflowRun", outcome: "ok" };
    let looks = started.metrics.reconciles.get_or_create(&looks).get();
    assert!(looks < 150, "{looks} looks at four runs");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn the_turn_of_a_call_that_could_not_start_is_given_back() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(5)]);
    stage.workflow("both", [container("scan").step(), call("read").step()]).await;
    stage.workflow("ct", [call("read").step()]).await;
    let mut left = 12;
    stage.world.faults(move |call| {
        let strikes = call.user == "op-1" && call.verb == "create" && call.resource == "pods" && left > 0;
        left -= i32::from(strikes);
        if strikes { fails() } else { Fault::None }
    });
    stage.start("op-1");
    run(&stage, "r1", "both", "routine").await;
    sleep(Duration::from_millis(200)).await;
    for name in ["r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
    }
    all_succeed(&stage, &["r2", "r3", "r4", "r1"]).await;
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 1);
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn runs_whose_status_cannot_be_written_keep_no_place_from_others() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(5)]);
    stage.workflow("ct", [call("read").step()]).await;
    stage.world.faults(|call| if writes_status(call, "bad") { fails() } else { Fault::None });
    stage.start("op-1");
    for name in ["bad-1", "bad-2", "bad-3", "bad-4"] {
        run(&stage, name, "ct", "urgent").await;
    }
    sleep(Duration::from_secs(10)).await;
    run(&stage, "r1", "ct", "routine").await;
    run(&stage, "r2", "ct", "routine").await;
    all_succeed(&stage, &["r1", "r2"]).await;
    stage.world.no_faults();
    all_succeed(&stage, &["bad-1", "bad-2", "bad-3", "bad-4"]).await;
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_after_a_change_of_leader_is_not_sent() {
    for items in [None, Some(json!({"count": 2, "maxParallel": 2}))] {
        let stage = Stage::new();
        stage.service("archive", &["10.0.0.1"]).await;
        let step = items.map_or_else(|| call("read").step(), |items| call("read").each(items).step());
        // the run is not over with its steps
        let spec = json!({"steps": [step], "finally": [{"name": "rest", "wait": {"for": "5s"}}]});
        stage.workflow_with("ct", spec).await;
        // the intent is written, and the process dies with it
        stage.world.dies_at("op-1", 1, true, |call| writes_status(call, "r1"));
        stage.start("op-1");
        run(&stage, "r1", "ct", "routine").await;
        stage.until("the intent is there", Duration::from_secs(60), |s| s.world.is_dead("op-1")).await;
        stage.cancel("r1").await;
        stage.start("op-2");
        assert_eq!(stage.ended("r1").await, RunPhase::Canceled);
        stage.rest().await;
        assert_eq!(stage.world.asked("/read"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_misses_its_deadline_in_a_queue_leaves_it() {
    let stage = bounded(&["10.0.0.1"], json!({"concurrency": 1})).await;
    for path in ["/read", "/first"] {
        stage.world.replies(path, [reads(25)]);
    }
    stage.workflow("ct", [call("read").step()]).await;
    let first = call("first").undone_by(get("/undo"));
    let soon = json!({"deadline": "60s", "steps": [first.step(), call("second").after(&["first"]).step()]});
    stage.workflow_with("soon", soon).await;
    stage.start("op-1");
    run(&stage, "s", "soon", "routine").await;
    stage.until("it has begun", Duration::from_secs(30), |s| s.world.asked("/first") == 1).await;
    for name in ["r1", "r2", "r3"] {
        run(&stage, name, "ct", "asap").await;
    }
    assert_eq!(stage.ended("s").await, RunPhase::Failed);
    assert_eq!(stage.world.asked("/second"), 0);
    assert_eq!(stage.world.asked("/undo"), 1, "what undoes a step has its turn");
    all_succeed(&stage, &["r1", "r2", "r3"]).await;
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn of_a_service_that_nothing_bounds_the_quicker_endpoint_is_preferred() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1", "10.0.0.2"]).await;
    stage.world.answers(|call, _| reads(if call.endpoint.ip().to_string() == "10.0.0.1" { 1 } else { 20 }));
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    let names: Vec<String> = (0..30).map(|i| format!("r{i}")).collect();
    let mut at_last = 0;
    for name in &names {
        run(&stage, name, "ct", "routine").await;
        assert_eq!(stage.ended(name).await, RunPhase::Succeeded);
        let target = &stage.step(name, "read")["target"];
        if target["endpoint"] == "10.0.0.1:8080" {
            at_last = target["probability"].as_u64().unwrap();
        }
    }
    assert_eq!(at_last, 99, "1/20 of the time: (1/20)^2 of the weight");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_went_elsewhere_than_it_was_meant_to_says_so_at_its_end() {
    let stage = bounded(&["10.0.0.1", "10.0.0.2"], json!({"concurrency": 1})).await;
    stage.world.replies("/read", [reads(30)]);
    stage.world.set_well("10.0.0.2", false);
    stage.workflow("ct", [call("read").step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "routine").await;
    stage.until("one is at work", Duration::from_secs(30), |s| s.world.asked("/read") == 1).await;
    run(&stage, "r2", "ct", "routine").await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.step("r2", "read")["target"], json!({"endpoint": "10.0.0.1:8080", "probability": 100}));
    assert_eq!(stage.world.asked("/read"), 1, "it stands at the gate");
    stage.world.set_well("10.0.0.2", true);
    stage.until("the other endpoint takes it", Duration::from_secs(10), |s| s.world.asked("/read") == 2).await;
    all_succeed(&stage, &["r1", "r2"]).await;
    assert_eq!(stage.step("r2", "read")["target"], json!({"endpoint": "10.0.0.2:8080", "probability": 100}));
    assert_eq!(stage.world.most_at_work("op-1", "10.0.0.1"), 1);
    stage.assert_monotone();
}
