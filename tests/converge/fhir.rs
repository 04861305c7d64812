//! Steps that talk to a FHIR server: read, decide, write with the version that was read.

use std::time::Duration;

use medley::api::{MedicalService, workflow_run::RunPhase};
use serde_json::{Value, json};

use super::{
    stage::Stage,
    steps::fhir,
    world::{self, answer},
};

async fn stage(steps: Vec<Value>) -> Stage {
    let stage = Stage::new();
    let interfaces = json!([
        {"name": "web", "port": 80, "protocol": "HTTP"},
        {"name": "api", "port": 8080, "protocol": "FHIR", "fhir": {"basePath": "/r4/"}},
    ]);
    let spec = json!({"external": {"endpoints": [{"host": "10.0.0.9"}]}, "interfaces": interfaces});
    stage.create::<MedicalService>("ehr", spec).await;
    stage.workflow("order", steps).await;
    stage.run("r1", "order").await;
    stage.start("op-1");
    stage
}

fn outcome(code: &str) -> Value {
    json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": "CANARY"}]})
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_overloaded_is_left_alone_as_long_as_it_asks() {
    let stage = stage(vec![fhir("read", json!({"read": {"type": "Task", "id": "t1"}})).retries(2).step()]).await;
    let busy = world::fhir(429, outcome("throttled")).saying("retry-after", "75");
    stage.world.replies("/r4/Task/t1", [busy, world::fhir(200, json!({"resourceType": "Task", "id": "t1"}))]);
    stage.until("it waits", Duration::from_secs(60), |s| s.step("r1", "read")["phase"] == "Retrying").await;
    let waits = tokio::time::Instant::now();
    let message = stage.step("r1", "read")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("throttled") && message.ends_with(" and asks to wait for 75 s"), "{message}");
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert!((74..77).contains(&waits.elapsed().as_secs()), "{:?}", waits.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_task_is_read_and_written_back_with_the_version_that_was_read() {
    let stage = stage(vec![
        fhir("read", json!({"read": {"type": "Task", "id": "t1"}}))
            .output("version", "String", "result.resource.meta.versionId")
            .step(),
        fhir(
            "write",
            json!({"update": {"type": "Task", "id": "t1", "ifMatch": "$( steps.read.outputs.version )",
            "resource": "{\"resourceType\": \"Task\", \"note\": \"$( run.name + '\"' )\"}"}}),
        )
        .after(&["read"])
        .step(),
    ])
    .await;
    let task = json!({"resourceType": "Task", "id": "t1", "meta": {"versionId": "3"}});
    let replies = [world::fhir(200, task.clone()), world::fhir(200, task)];
    stage.world.replies("/r4/Task/t1", replies);
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    let requests = stage.world.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|r| r.to.to_string() == "10.0.0.9:8080"), "the FHIR interface: {requests:#?}");
    let write = &requests[1];
    assert!(write.headers.contains(&("If-Match".to_owned(), "W/\"3\"".to_owned())), "{:?}", write.headers);
    let body: Value = serde_json::from_str(write.body.as_deref().unwrap()).unwrap();
    assert_eq!(body, json!({"resourceType": "Task", "id": "t1", "note": "r1\""}));
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_and_a_wrong_version_is_final() {
    let write =
        json!({"update": {"type": "Task", "id": "t1", "ifMatch": "3", "resource": "{\"resourceType\": \"Task\"}"}});
    let stage = stage(vec![fhir("write", write).retries(5).step()]).await;
    stage
        .world
        .replies("/r4/Task/t1", [world::fhir(409, outcome("lock-error")), world::fhir(412, outcome("conflict"))]);
    assert_eq!(stage.ended("r1").await, RunPhase::Failed);
    stage.rest().await;
    assert_eq!(stage.world.asked("/r4/Task/t1"), 2);
    let step = stage.step("r1", "write");
    assert_eq!((&step["reason"], &step["attempt"]), (&json!("Rejected"), &json!(2)));
    let told = stage.stored("r1");
    assert!(!serde_json::to_string(&told).unwrap().contains("CANARY"), "{told:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_page_after_a_create_is_no_success_and_is_not_repeated() {
    let create = json!({"create": {"resource": "{\"resourceType\": \"Task\"}"}});
    let stage = stage(vec![fhir("create", create).retries(5).step()]).await;
    stage.world.replies("/r4/Task", [answer(200, json!("<h1>Sign in</h1>"))]);
    let unknown = |s: &Stage| s.step("r1", "create")["phase"] == "Unknown";
    stage.until("nobody knows what came of it", Duration::from_secs(600), unknown).await;
    stage.rest().await;
    assert_eq!(stage.world.asked("/r4/Task"), 1);
}
