//! Steps that send HL7 messages.

use std::time::Duration;

use medley::{
    api::{MedicalService, workflow_run::RunPhase},
    core::hl7::ack::Code,
};
use serde_json::{Value, json};

use super::{
    stage::Stage,
    world::{acknowledged, reset},
};

/// What stands for the path of a message.
const PLACE: &str = "HL7v2";

async fn stage(message: &str, rest: Value) -> Stage {
    let stage = Stage::new();
    let interfaces = json!([
        {"name": "web", "port": 80, "protocol": "HTTP"},
        {"name": "feed", "port": 2575, "protocol": "HL7v2"},
    ]);
    let spec = json!({"external": {"endpoints": [{"host": "10.0.0.9"}]}, "interfaces": interfaces});
    stage.create::<MedicalService>("engine", spec).await;
    let mut step = json!({"name": "send", "call": {"service": "engine", "hl7v2": {"message": message}}});
    step.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    stage.workflow("tell", vec![step]).await;
    stage.run("r1", "tell").await;
    stage.start("op-1");
    stage
}

fn message(fields: &str) -> String {
    format!("MSH|^~\\&|MEDLEY|OPS|WARD|NORTH|||{fields}\nOBX|1|TX|run||$( run.name + \"|x\" )\n")
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_the_interface_of_hl7_and_its_acknowledgement_is_the_result() {
    let outputs = json!({"outputs": [{"name": "code", "type": "String", "value": "result.code"}]});
    let stage = stage(&message("ORU^R01||P|2.5"), outputs).await;
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.step("r1", "send")["outputs"]["code"], json!("AA"));
    let requests = stage.world.requests();
    assert_eq!((requests.len(), requests[0].to.port()), (1, 2575));
    let sent = requests[0].body.as_deref().unwrap();
    assert_eq!(sent, "MSH|^~\\&|MEDLEY|OPS|WARD|NORTH|||ORU^R01||P|2.5\rOBX|1|TX|run||r1\\F\\x\r");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_sent_again_as_the_same_message_and_what_is_refused_is_not() {
    let tried = stage(&message("ORU^R01||P|2.5"), json!({"retry": {"limit": 3}})).await;
    tried.world.replies(PLACE, [reset(), acknowledged(Code::Committed)]);
    assert_eq!(tried.ended("r1").await, RunPhase::Succeeded);
    let keys: Vec<String> = tried.world.requests().into_iter().map(|r| r.key).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "its MSH-10 follows from the key");

    let refused = stage(&message("ORU^R01||P|2.5"), json!({"retry": {"limit": 3}})).await;
    refused.world.replies(PLACE, [acknowledged(Code::Rejected)]);
    assert_eq!(refused.ended("r1").await, RunPhase::Failed);
    let step = refused.step("r1", "send");
    assert_eq!((refused.world.asked(PLACE), &step["reason"]), (1, &json!("Rejected")));
    assert_eq!(step["message"], "the receiver answered AR");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_what_it_must_have_is_not_sent() {
    let stage = stage(&message("ORU^R01||P"), json!({})).await;
    stage.until("it fails", Duration::from_secs(60), |s| s.step("r1", "send")["phase"] == "Failed").await;
    let step = stage.step("r1", "send");
    assert_eq!(step["reason"], "Configuration");
    assert_eq!(step["message"], "call.hl7v2.message: MSH-12 (version) must have a value");
    assert!(stage.world.requests().is_empty());
}
