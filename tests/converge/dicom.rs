//! Steps that ask a DICOM service for an echo.

use std::time::Duration;

use medley::api::{MedicalService, workflow_run::RunPhase};
use serde_json::{Value, json};

use super::{
    stage::Stage,
    world::{busy, echoed},
};

async fn stage(step: Value) -> Stage {
    let stage = Stage::new();
    let interfaces = json!([
        {"name": "web", "port": 80, "protocol": "HTTP"},
        {"name": "dicom", "port": 104, "protocol": "DICOM", "dicom": {"calledAeTitle": "ARCHIVE", "callingAeTitle": "WARD"}},
        {"name": "silent", "port": 105, "protocol": "DICOM"},
    ]);
    let spec = json!({"external": {"endpoints": [{"host": "10.0.0.9"}]}, "interfaces": interfaces});
    stage.create::<MedicalService>("pacs", spec).await;
    stage.workflow("check", vec![step]).await;
    stage.run("r1", "check").await;
    stage.start("op-1");
    stage
}

#[tokio::test(start_paused = true)]
async fn an_echo_goes_to_the_interface_of_dicom_and_its_status_is_the_result() {
    let stage = stage(json!({
        "name": "echo", "call": {"service": "pacs", "dicom": {"callingAeTitle": "STEP", "echo": {}}},
        "outputs": [{"name": "status", "type": "Integer", "value": "result.status"}]
    }))
    .await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.step("r1", "echo")["outputs"]["status"], json!(0));
    let requests = stage.world.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].path.as_str(), requests[0].to.port()), ("C-ECHO STEP -> ARCHIVE", 104));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_busy_is_asked_again_and_one_that_says_no_is_not() {
    let echo = || json!({"name": "echo", "retry": {"limit": 3}, "call": {"service": "pacs", "dicom": {"echo": {}}}});
    let place = "C-ECHO WARD -> ARCHIVE";
    let tried = stage(echo()).await;
    tried.world.replies(place, [busy(), busy(), echoed(0)]);
    assert_eq!(tried.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(tried.world.asked(place), 3);

    let refused = stage(echo()).await;
    refused.world.replies(place, [echoed(0x0122)]);
    assert_eq!(refused.ended("r1").await, RunPhase::Failed);
    let step = refused.step("r1", "echo");
    assert_eq!((refused.world.asked(place), &step["reason"]), (1, &json!("Rejected")));
    assert_eq!(step["message"], "the service answered the echo with status 0x0122");
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_does_not_say_its_title_is_not_called() {
    let stage =
        stage(json!({"name": "echo", "call": {"service": "pacs", "interface": "silent", "dicom": {"echo": {}}}})).await;
    stage.until("it fails", Duration::from_secs(60), |s| s.step("r1", "echo")["phase"] == "Failed").await;
    let step = stage.step("r1", "echo");
    assert_eq!(step["reason"], "Configuration");
    assert_eq!(step["message"], "the interface `silent` does not say its AE title: set dicom.calledAeTitle of it");
    assert!(stage.world.requests().is_empty());
}
