//! Steps that ask a DICOM service for an echo, or what it has.

use std::{collections::HashSet, time::Duration};

use medley::{
    api::{MedicalService, medical_service::EndpointReason, workflow_run::RunPhase},
    core::{
        discovery::{
            capability::{Contexts, Facts, refused},
            target::{ProbeKind, Probed},
        },
        monitoring::health::ProbeOutcome,
    },
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    questions::{SOON, ask, behind},
    stage::{NAMESPACE, Stage},
    world::{busy, echoed, found},
};

/// What a probe of who is there finds: a DICOM service accepts all that is proposed but these SOP classes.
pub(super) fn probed(kind: &ProbeKind, refuses: &HashSet<String>) -> Probed {
    let ProbeKind::Dicom { proposal, .. } = kind else { return ProbeOutcome::Answered.into() };
    if proposal.is_empty() {
        return ProbeOutcome::Answered.into();
    }
    let taken = proposal.classes.iter().filter(|c| !refuses.contains(*c));
    let accepted = taken.map(|c| (c.clone(), proposal.syntaxes.clone())).collect();
    let contexts = Contexts { proposed: proposal.clone(), accepted };
    let fits = refused(&contexts).is_empty();
    let outcome = if fits { ProbeOutcome::Answered } else { ProbeOutcome::Failed(EndpointReason::CapabilityMismatch) };
    Probed { facts: Some(Facts::Dicom(contexts)), ..Probed::from(outcome) }
}

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

fn find(step: Value) -> Value {
    let mut whole = json!({"name": "find", "call": {"service": "pacs", "dicom": {"find": {
        "matchingKeys": [{"name": "ModalitiesInStudy", "value": "CT"}],
        "returnKeys": ["StudyInstanceUID", "NumberOfStudyRelatedInstances"]}}}});
    if let (Value::Object(whole), Value::Object(step)) = (&mut whole, step) {
        whole.extend(step);
    }
    whole
}

const ASKED: &str = "C-FIND WARD -> ARCHIVE";

#[tokio::test(start_paused = true)]
async fn a_query_gives_references_and_counts_and_no_more_of_it_is_kept() {
    let stage = stage(find(json!({"outputs": [
        {"name": "studies", "type": "Integer", "value": "result.count"},
        {"name": "first", "type": "String", "value": "result.matches[0].StudyInstanceUID"},
        {"name": "all", "type": "Boolean", "value": "result.complete"}]})))
    .await;
    let matches = json!([
        {"StudyInstanceUID": "1.2.3", "NumberOfStudyRelatedInstances": 40},
        {"StudyInstanceUID": "1.2.4"}]);
    stage.world.replies(ASKED, [found(0, matches, false)]);
    assert_eq!(stage.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(stage.step("r1", "find")["outputs"], json!({"studies": 2, "first": "1.2.3", "all": false}));
    let request = stage.world.requests().remove(0);
    assert_eq!(request.to.port(), 104);
    let body = request.body.unwrap();
    assert!(body.contains(r#"ModalitiesInStudy: "CT""#) && body.contains("limit: 100"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_answer_now_is_asked_again_and_one_that_does_not_understand_is_not() {
    let retry = || find(json!({"retry": {"limit": 3}}));
    let tried = stage(retry()).await;
    let no = |status| found(status, json!([]), true);
    tried.world.replies(ASKED, [no(0xA700), no(0xC001), busy(), found(0, json!([]), true)]);
    assert_eq!(tried.ended("r1").await, RunPhase::Succeeded);
    assert_eq!(tried.world.asked(ASKED), 4);

    let refused = stage(retry()).await;
    refused.world.replies(ASKED, [no(0xA900)]);
    assert_eq!(refused.ended("r1").await, RunPhase::Failed);
    let step = refused.step("r1", "find");
    assert_eq!((refused.world.asked(ASKED), &step["reason"]), (1, &json!("Rejected")));
    assert_eq!(step["message"], "the service answered the query with status 0xA900");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_would_find_more_than_was_asked_for_is_never_sent() {
    for value in ["", "*", "1.2\\1.3", "1.2?"] {
        let stage = stage(json!({"name": "find", "call": {"service": "pacs", "dicom": {"find": {
            "matchingKeys": [{"name": "StudyInstanceUID", "value": format!("$( \"{}\" )", value.replace('\\', "\\\\"))}]}}}}))
        .await;
        stage.until("it fails", Duration::from_secs(60), |s| s.step("r1", "find")["phase"] == "Failed").await;
        let step = stage.step("r1", "find");
        assert_eq!(step["reason"], "Configuration", "{value}");
        let message = step["message"].as_str().unwrap();
        assert!(
            message.starts_with("call.dicom.find.matchingKeys: the value of StudyInstanceUID must be one UID"),
            "{message}"
        );
        assert!(value.is_empty() || !message.contains(value), "{message}");
        assert!(stage.world.requests().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_finds_an_archive_by_what_it_accepts_and_loses_it_when_it_accepts_that_no_longer() {
    const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";
    let stage = Stage::new();
    let says = |stage: &Stage, type_: &str| {
        let service = stage.server.object("MedicalService", NAMESPACE, "pacs").unwrap();
        let all = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|c| c["type"] == type_).cloned().unwrap_or_default();
        (
            found["status"].as_str().unwrap_or_default().to_owned(),
            found["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let interface = json!({"name": "dicom", "port": 104, "protocol": "DICOM",
        "probe": {"interval": "1s", "timeout": "1s", "failureThreshold": 2},
        "dicom": {"calledAeTitle": "PACS", "sopClasses": ["1.2.840.10008.5.1.4.1.1.2", SEGMENTATION],
            "transferSyntaxes": ["1.2.840.10008.1.2.1"]}});
    let spec = json!({"external": {"endpoints": [{"host": "10.0.0.1"}]}, "interfaces": [interface]});
    let takes = format!("service.dicom.exists(d, d.contexts.exists(c, c.sopClass == '{SEGMENTATION}'))");
    let question = json!({"capability": null, "protocol": "DICOM", "where": takes});
    ask(&stage, "answer", question).await;
    stage.create::<MedicalService>("pacs", spec).await;
    stage.start("op-1");
    stage.until("it is found", SOON, |s| behind(s, "answer") == ["10.0.0.1"]).await;
    assert_eq!(
        (says(&stage, "CapabilityMatch").0.as_str(), says(&stage, "CapabilityDrift").0.as_str()),
        ("True", "False")
    );
    stage.world.refuse(SEGMENTATION);
    stage.until("the change is told", SOON, |s| says(s, "CapabilityDrift").0 == "True").await;
    assert_eq!(says(&stage, "CapabilityMatch"), ("False".to_owned(), format!("dicom at 10.0.0.1: no {SEGMENTATION}")));
    stage.until("it is out of its service", SOON, |s| behind(s, "pacs").is_empty()).await;
    stage.rest().await;
    let writes = || stage.server.calls().iter().filter(|r| r.call.resource == "medicalservices" && r.changed).count();
    let before = writes();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(writes(), before, "not with every probe");
}
