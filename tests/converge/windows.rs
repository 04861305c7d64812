//! Does a pool have other amounts in the hours that say so, and is nothing taken away when they end?

use std::time::Duration;

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
    let pool = json!({"resources": {"slots": "1"}, "shares": [{"name": "imaging"}], "windows": [night]});
    give_capacity(&stage, pool, json!({"pool": "main"})).await;
    stage.workflow("ct", [held("read", 15 * 60).step()]).await;
    stage.start("op-1");
    for name in ["r1", "r2", "r3", "r4"] {
        run(&stage, name, "ct", "routine").await;
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(5 * MINUTE)).await;
    assert_eq!((&status(&stage)["supply"], &status(&stage)["window"]), (&json!({"slots": "1"}), &Value::Null));
    let granted = |count: &'static str| move |s: &Stage| status(s)["granted"]["slots"] == count;
    stage.until("the night begins", Duration::from_secs(6 * MINUTE), granted("3")).await;
    assert_eq!((&status(&stage)["supply"], &status(&stage)["window"]), (&json!({"slots": "3"}), &json!("night")));
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
