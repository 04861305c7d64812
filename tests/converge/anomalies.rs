//! What does a status tell of measurements, and what does that cost?

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::stage::{NAMESPACE, Stage};

fn status(stage: &Stage) -> Value {
    stage.server.object("MedicalService", NAMESPACE, "archive").unwrap()["status"].clone()
}

fn anomalous(stage: &Stage) -> Value {
    let status = status(stage);
    let found = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Anomalous");
    found.map_or(Value::Null, |c| json!([c["status"], c["reason"]]))
}

fn status_writes(stage: &Stage) -> usize {
    let calls = stage.server.calls();
    calls.iter().filter(|r| r.call.resource == "medicalservices" && r.call.subresource == "status" && r.changed).count()
}

#[tokio::test(start_paused = true)]
async fn an_anomaly_is_in_the_status_at_once_outlives_its_leader_and_ends() {
    let stage = Stage::new();
    stage.service("archive", &["10.0.0.1", "10.0.0.2"]).await;
    stage.start("op-1");
    stage.until("it is known", Duration::from_secs(10), |s| status(s)["ready"] == 2).await;
    sleep(Duration::from_secs(30)).await;
    let before = status_writes(&stage);
    sleep(Duration::from_secs(7200)).await;
    let usual = json!(["False", "AsBefore"]);
    assert_eq!((status_writes(&stage) - before, anomalous(&stage)), (1, usual.clone()), "in two hours");
    let size = status(&stage)["measurements"].to_string().len();
    assert!(size < 400, "{size}");

    stage.world.set_well("10.0.0.2", false);
    let failing = json!(["True", "FailsMoreThanBefore"]);
    stage.until("it is noticed", Duration::from_secs(1000), |s| anomalous(s) == failing).await;
    let events = stage.events().await;
    assert!(events.iter().any(|e| e.starts_with("Anomalous more probes fail than before since ")), "{events:?}");
    stage.world.kill("op-1");
    stage.start("op-2");
    let before = status_writes(&stage);
    sleep(Duration::from_secs(3000)).await;
    assert_eq!((status_writes(&stage) - before, anomalous(&stage)), (0, failing), "what stays costs nothing");
    stage.world.set_well("10.0.0.2", true);
    stage.until("it ends", Duration::from_secs(1500), |s| anomalous(s) == usual).await;
}
