//! Does a pool have what its hours and its nodes say, and is nothing taken away when that is less?

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use medley::api::workflow_run::RunPhase;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    capacity::{admitted, give_capacity, held, run},
    stage::Stage,
};

const MINUTE: u64 = 60;

fn status(stage: &Stage) -> Value {
    stage.server.object("CapacityPool", "", "main").unwrap()["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn at_night_more_is_given_and_what_is_given_then_stays_until_its_end() {
    let stage = Stage::new();
    // the simulated world begins on a Thursday at midnight, UTC: one o'clock in Berlin
    let night = json!({"name": "night", "timeZone": "Europe/Berlin", "days": ["Thu"], "from": "01:10", "to": "01:20", "resources": {"slots": "3"}});
    let resources = json!({"slots": "1", "gpus": "7"});
    let pool = json!({"resources": resources, "shares": [{"name": "imaging"}], "windows": [night]});
    give_capacity(&stage, pool, json!({"pool": "main"})).await;
    stage.workflow("ct", [held("read", 15 * 60).step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(5 * MINUTE)).await;
    assert_eq!((&status(&stage)["supply"], &status(&stage)["window"]), (&resources, &Value::Null));
    let granted = |count: &'static str| move |s: &Stage| status(s)["granted"]["slots"] == count;
    stage.until("the night begins", Duration::from_secs(6 * MINUTE), granted("3")).await;
    assert_eq!(
        (&status(&stage)["supply"], &status(&stage)["window"]),
        (&json!({"slots": "3", "gpus": "7"}), &json!("night"))
    );
    stage.until("the night ends", Duration::from_secs(11 * MINUTE), |s| status(s)["window"] == Value::Null).await;
    // r1 has ended within the night, and r4 has its slot
    assert_eq!(status(&stage)["granted"], json!({"slots": "3"}), "nobody gives way");
    run(&stage, "r5", "ct", "stat").await;
    for name in ["r1", "r2", "r3", "r4", "r5"] {
        assert_eq!(stage.ended_within(name, 60 * MINUTE).await, RunPhase::Succeeded, "{name}");
    }
    let ends = |name: &str| stage.stored(name).status.unwrap().finished_at.unwrap().as_millisecond();
    let last = ["r2", "r3", "r4"].map(ends).into_iter().max().unwrap();
    assert!(admitted(&stage, "r5") >= last, "by day there is one slot: the last of three must be free");
    stage.assert_monotone();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_begins_within_a_window_knows_it_and_a_wrong_time_zone_is_told() {
    let stage = Stage::new();
    let windows = json!([
        {"name": "odd", "timeZone": "Europe/Atlantis", "from": "00:00", "to": "23:00", "resources": {"slots": "9"}},
        {"name": "calm", "from": "23:00", "to": "02:00", "reserved": {}},
    ]);
    let pool = json!({"resources": {"slots": "1"}, "reserved": {"stat": {"slots": "1"}}, "shares": [{"name": "imaging"}], "windows": windows});
    give_capacity(&stage, pool, json!({"pool": "main"})).await;
    stage.workflow("ct", [held("read", 60).step()]).await;
    stage.start("op-1");
    run(&stage, "r1", "ct", "batch").await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded, "nothing is reserved in these hours");
    assert_eq!(status(&stage)["window"], json!("calm"));
    let stalled = status(&stage)["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Stalled").cloned();
    assert_eq!(stalled.unwrap()["reason"], "UnknownTimeZone");
    sleep(Duration::from_secs(2 * 3600)).await;
    run(&stage, "r2", "ct", "batch").await;
    stage.rest().await;
    assert_eq!(stage.step("r2", "read")["admission"]["reason"], "Reserved", "it is reserved again");
}

/// A node registers, and its kubelet says what it has.
async fn join(nodes: &Api<Node>, name: &str, slots: u32) {
    let node = json!({"metadata": {"name": name, "labels": {"reader": "yes"}}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let status = json!({"allocatable": {"slots": slots.to_string(), "cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_and_go_bring_capacity_along() {
    let stage = Stage::new();
    let nodes: Api<Node> = Api::all(stage.server.client_as("admin"));
    join(&nodes, "a", 1).await;
    let spec = json!({"nodes": {"selector": {"matchLabels": {"reader": "yes"}}, "resources": ["slots"]}, "shares": [{"name": "imaging"}]});
    give_capacity(&stage, spec, json!({"pool": "main"})).await;
    stage.workflow("ct", [held("read", 15 * 60).step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    let granted = |count: &'static str| move |s: &Stage| status(s)["granted"]["slots"] == count;
    stage.until("one slot is granted", Duration::from_secs(60), granted("1")).await;
    assert_eq!(status(&stage)["supply"], json!({"slots": "1"}));
    join(&nodes, "b", 2).await;
    stage.until("three are", Duration::from_secs(10), granted("3")).await;
    let cordon = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch("b", &PatchParams::default(), &cordon).await.unwrap();
    stage.until("there is less", Duration::from_secs(10), |s| status(s)["supply"]["slots"] == "1").await;
    assert_eq!(status(&stage)["granted"], json!({"slots": "3"}), "nothing is taken away");
    for name in ["r1", "r2", "r3", "r4"] {
        assert_eq!(stage.ended_within(name, 60 * MINUTE).await, RunPhase::Succeeded, "{name}");
    }
}
